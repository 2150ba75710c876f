"""Draw the standard errors of a study."""

from hessgeo import store
from hessgeo.plotting import error_bars, save_figure
from hessgeo.workflow import script_context


def main(dataset, output):
    save_figure(*error_bars.draw(dataset), output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(store.read_dataset(step.input.free_energy), step.output)
