"""Draw the Fisher metric of a study."""

from hessgeo import store
from hessgeo.figures import metric, save_figure
from hessgeo.pipeline import script_context


def main(dataset, boundaries, output):
    figure, table = metric.draw(dataset, boundaries)
    save_figure(figure, table, output.svg, output.png, output.csv, verdict=dataset.attrs["verdict"])


if __name__ == "__main__":
    with script_context(snakemake) as step:
        boundaries = store.read_json(step.input.phases)["boundaries"]
        main(store.read_dataset(step.input.metric), boundaries, step.output)
