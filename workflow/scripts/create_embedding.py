"""Create the metadata of an embedding in a study's sample store."""

from hessgeo import store
from hessgeo.embeddings import embedding_dimension
from hessgeo.workflow import script_context


def main(path, array, size, dimension, shard):
    store.create_array(path, array, samples=size, item=(dimension,), dtype="f4", shard=shard)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        array = f"embedding/{step.wildcards.key}"
        settings = params.embedding
        source = (settings["kind"], params.checkpoint, settings["model"])
        dimension = embedding_dimension(*source, tuple(params.image_shape))
        main(params.store, array, params.size, dimension, params.shard)
