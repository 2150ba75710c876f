"""Create the metadata of an embedding in a study's sample store."""

import math

from hessgeo import store
from hessgeo.workflow import script_context


def dimension(kind, checkpoint, image_shape):
    if kind == "pixels":
        return math.prod(image_shape)
    # Imported here: pixels need no torch.
    from hessgeo.embeddings.open_clip import open_clip_dimension

    return open_clip_dimension(checkpoint)


def main(path, array, size, dimension, shard):
    store.create_array(path, array, samples=size, item=(dimension,), dtype="f4", shard=shard)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        array = f"embedding/{step.wildcards.key}"
        length = dimension(params.kind, params.checkpoint, params.image_shape)
        main(params.store, array, params.size, length, params.shard)
