"""Create the metadata of the embedding of a study's predictions."""

from hessgeo import store
from hessgeo.features import embedding_dimension
from hessgeo.pipeline import script_context


def main(path, array, item, params):
    store.create_array(path, array, samples=params.size, item=item, dtype="f4", shard=params.shard)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, source, keys = step.params, step.params.embedder, step.wildcards
        dimension = embedding_dimension(source.settings, source.path, tuple(params.image_shape))
        array = f"features-{keys.history}-{keys.key}"
        main(params.store, array, (len(params.steps), dimension), params)
