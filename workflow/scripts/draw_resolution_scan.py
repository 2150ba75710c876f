"""Draw how a study moves with its resolution."""

from hessgeo import store
from hessgeo.plotting import resolution_scan, save_figure
from hessgeo.workflow import script_context


def main(table, output):
    save_figure(*resolution_scan.draw(table), output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(store.read_table(step.input.table), step.output)
