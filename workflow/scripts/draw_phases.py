"""Draw the phases of a study."""

import numpy as np

from hessgeo import store
from hessgeo.figures import phases, save_figure
from hessgeo.pipeline import script_context


def main(fields, found, path, output):
    medoids = np.array([phase["medoid"] for phase in phases.largest(found)])
    images = store.read_rows(path, "image", medoids)
    figure, table = phases.draw(fields, found, images)
    save_figure(figure, table, output.svg, output.png, output.csv, verdict=found["verdict"])


if __name__ == "__main__":
    with script_context(snakemake) as step:
        fields, found = store.read_dataset(step.input.fields), store.read_json(step.input.phases)
        main(fields, found, step.params.store, step.output)
