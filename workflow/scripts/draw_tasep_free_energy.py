"""Draw the free energy of TASEP beside minus the current, which the paper compares it with."""

from hessgeo.evaluation.tables import per_site
from hessgeo.figures import save_figure, tasep_free_energy
from hessgeo.pipeline import script_context
from hessgeo.pipeline.score_tables import read_figure


def main(record, truth, output):
    figure = tasep_free_energy.draw(
        per_site(record.estimate, truth.sites),
        truth.potential("paper"),
        truth.grid,
        quantity="$-J$",
        gauge_coordinates=truth.gauge(record.natural),
    )
    save_figure(*figure, output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        (record,), (truth,), _ = read_figure(step)
        main(record, truth, step.output)
