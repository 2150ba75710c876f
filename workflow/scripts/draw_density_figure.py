"""Draw a figure of the geodesics of densities from the results it shows."""

from importlib import import_module

from hessgeo import store
from hessgeo.figures import save_figure
from hessgeo.pipeline import script_context


def main(figure, results, output):
    read = {"nc": store.read_dataset, "csv": store.read_table}
    shown = [read[path.rpartition(".")[2]](path) for path in results]
    module = import_module(f"hessgeo.figures.{figure}")
    save_figure(*module.draw(*shown), output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.wildcards.density_figure, step.input.results, step.output)
