"""Draw the free energy of a study."""

from hessgeo import store
from hessgeo.figures import free_energy, save_figure
from hessgeo.pipeline import script_context


def main(dataset, output):
    figure, table = free_energy.draw(dataset)
    save_figure(figure, table, output.svg, output.png, output.csv, verdict=dataset.attrs["verdict"])


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(store.read_dataset(step.input.free_energy), step.output)
