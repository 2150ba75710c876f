"""Draw the free energies and metrics of several studies beside each other."""

from hessgeo import store
from hessgeo.figures import routes, save_figure
from hessgeo.pipeline import script_context


def main(labels, free_energies, metrics, phases, output):
    """The files of each study stand at the same place of each list."""
    rows = [
        routes.Route(
            label,
            store.read_dataset(free_energy),
            store.read_dataset(metric),
            store.read_json(phase)["boundaries"],
        )
        for label, free_energy, metric, phase in zip(labels, free_energies, metrics, phases, strict=True)
    ]
    verdicts = {row.label: row.free_energy.attrs["verdict"] for row in rows}
    verdict = "; ".join(f"{label}: {words}" for label, words in verdicts.items() if words != "resolved")
    figure, table = routes.draw(rows)
    save_figure(figure, table, output.svg, output.png, output.csv, verdict=verdict or "resolved")


if __name__ == "__main__":
    with script_context(snakemake) as step:
        files = step.input
        main(step.params.labels, files.free_energy, files.metric, files.phases, step.output)
