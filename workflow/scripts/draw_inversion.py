"""Draw the images that a study starts from beside what its slice makes of them."""

import numpy as np

from hessgeo import store
from hessgeo.figures import inversion, save_figure
from hessgeo.pipeline import script_context
from hessgeo.systems.images import load_image
from hessgeo.systems.slices import is_image


def main(images, reconstructions, numbers, output):
    save_figure(*inversion.draw(images, reconstructions, numbers), output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        shape = tuple(step.params.image_shape)
        images = np.stack([load_image(source, shape) for source in step.params.sources if is_image(source)])
        files = dict(zip(("anchors", "numbers", "reconstructions"), step.input.anchors, strict=True))
        main(images, store.read_npy(files["reconstructions"]), store.read_json(files["numbers"]), step.output)
