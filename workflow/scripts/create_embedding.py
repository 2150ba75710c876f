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
        dimension = embedding_dimension(source.settings, source.path, tuple(params.image_shape))
        main(params.store, array, params.size, dimension, params.shard)
