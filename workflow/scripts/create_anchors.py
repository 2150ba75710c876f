"""Create the anchors of a study's slice: from seeds, from latents in files, from images by inversion."""

import logging

import numpy as np

from hessgeo import store
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.derived import anchor_sources
from hessgeo.systems.slices import is_image, load_anchors


def main(plane, latent_shape, image_shape, load_model, output):
    sources = anchor_sources(plane["anchors"])
    if any(map(is_image, sources)):
        # Imported here: random latents need no torch.
        from hessgeo.pipeline.anchors import invert_images

        anchors, numbers, made = invert_images(sources, latent_shape, image_shape, plane, load_model())
        logging.info("inversion: %s", numbers)
    else:
        anchors, numbers = load_anchors(plane["anchors"], latent_shape), {}
        made = np.zeros((0, *image_shape), np.uint8)
    store.write_npy(output.anchors, anchors)
    store.write_npy(output.reconstructions, made)
    radius = np.sqrt(np.square(anchors).reshape(3, -1).mean(axis=1))
    store.write_json(output.numbers, {"radius": radius, **numbers})


if __name__ == "__main__":
    with script_context(snakemake, spread=True) as step:
        params, made = step.params, step.output.anchors

        def load():
            from hessgeo.pipeline.loading import load_model

            source = params.system
            with source.reading(made):
                return load_model(source.settings, source.path, device=pick_device())

        shapes = tuple(params.latent_shape), tuple(params.image_shape)
        with params.anchors.reading(made):
            main(params.anchors.settings, *shapes, load, step.output)
