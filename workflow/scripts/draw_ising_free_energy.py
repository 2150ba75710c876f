"""Draw the free energy of the Ising model and its derivatives beside the exact ones."""

from hessgeo.estimators.names import ESTIMATORS
from hessgeo.evaluation.tables import per_site
from hessgeo.figures import ising_free_energy, save_figure
from hessgeo.pipeline import script_context
from hessgeo.pipeline.score_tables import parameter_names, read_figure, system_title


def main(record, truth, settings, output):
    figure = ising_free_energy.draw(
        per_site(record.estimate, truth.sites),
        truth.potential("potential"),
        truth.grid,
        names=parameter_names(settings),
        gauge_coordinates=truth.gauge(record.natural),
        title=f"{ESTIMATORS[record.estimator].title}, {system_title(settings)}",
    )
    save_figure(*figure, output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        (record,), (truth,), (settings,) = read_figure(step)
        main(record, truth, settings, step.output)
