"""Embed the predictions of a shard of a study's samples, step by step."""

import time

import numpy as np

from hessgeo import store
from hessgeo.features import load_embedding
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.history_chain import embed_steps


def main(path, arrays, shard, embedding, batch_size, about):
    start = time.perf_counter()
    source, target = arrays
    images = store.read_array(path, source, store.shard_rows(path, source, shard))
    vectors = embed_steps(images, embedding, batch_size)
    seconds = time.perf_counter() - start
    store.write_shard(path, target, shard, np.asarray(vectors), about={"seconds": seconds, **about})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, device, source, keys = step.params, pick_device(), step.params.embedder, step.wildcards
        with source.reading(step.output.shard) as model:
            embedding = load_embedding(source.settings, source.path, tuple(params.image_shape), device=device)
        arrays = f"prediction-{keys.history}", f"features-{keys.history}-{keys.key}"
        about = {"device": device, "settings": digest(params.embedding), "model": model}
        main(params.store, arrays, int(keys.shard), embedding, source.settings["batch_size"], about)
