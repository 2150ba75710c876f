"""Draw the phases of a study."""

from hessgeo import store
from hessgeo.plotting import phases, save_figure
from hessgeo.workflow import script_context


def main(fields, found, images, output):
    save_figure(*phases.draw(fields, found, images), output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        fields, found = store.read_dataset(step.input.fields), store.read_json(step.input.phases)
        main(fields, found, store.read_array(step.params.store, "image"), step.output)
