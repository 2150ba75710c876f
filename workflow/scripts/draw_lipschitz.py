"""Draw the Lipschitz field of a study."""

from hessgeo import store
from hessgeo.figures import lipschitz, save_figure
from hessgeo.pipeline import script_context


def main(fields, boundaries, output):
    figure, table = lipschitz.draw(fields, boundaries)
    save_figure(figure, table, output.svg, output.png, output.csv, verdict=fields.attrs["verdict"])


if __name__ == "__main__":
    with script_context(snakemake) as step:
        boundaries = store.read_json(step.input.phases)["boundaries"]
        main(store.read_dataset(step.input.fields), boundaries, step.output)
