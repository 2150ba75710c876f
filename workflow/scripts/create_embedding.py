"""Create the metadata of an embedding in a study's sample store."""

from hessgeo import store
from hessgeo.features import embedding_dimension
from hessgeo.pipeline import script_context


def main(path, array, size, dimension, shard):
    store.create_array(path, array, samples=size, item=(dimension,), dtype="f4", shard=shard)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, source = step.params, step.params.embedder
        array = f"embedding/{step.wildcards.key}"
        model = (source.settings["kind"], source.path, source.settings["model"])
        shape, smaller = tuple(params.image_shape), source.settings["size"]
        dimension = embedding_dimension(*model, shape, size=smaller)
        main(params.store, array, params.size, dimension, params.shard)
