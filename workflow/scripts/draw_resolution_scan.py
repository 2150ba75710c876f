"""Draw how a study moves with its resolution."""

from hessgeo import store
from hessgeo.figures import resolution_scan, save_figure
from hessgeo.pipeline import script_context


def main(table, output):
    poor = table.loc[~(table["converged"] & table["resolved"]), "N"]
    verdict = "at N = " + ", ".join(f"{n:.4g}" for n in poor) if len(poor) else "resolved"
    figure, shown = resolution_scan.draw(table)
    save_figure(figure, shown, output.svg, output.png, output.csv, verdict=verdict)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(store.read_table(step.input.table), step.output)
