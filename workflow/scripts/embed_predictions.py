"""Embed the predictions of a shard of a study's samples, those of every step."""

import time

import dask.array as da

from hessgeo import store
from hessgeo.features import embed, load_embedding
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.digest import digest


def main(path, arrays, shard, embedding, batch_size, threads, about):
    start = time.perf_counter()
    source, target = arrays
    images = store.read_array(path, source, store.shard_rows(path, source, shard))
    flat = da.from_array(images.reshape(-1, *images.shape[2:]), chunks=(batch_size, -1, -1, -1))
    vectors = embed(flat, embedding, threads=threads).reshape(*images.shape[:2], -1)
    seconds = time.perf_counter() - start
    store.write_shard(path, target, shard, vectors, about={"seconds": seconds, **about})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, device, source, keys = step.params, pick_device(), step.params.embedder, step.wildcards
        settings, shape = source.settings, tuple(params.image_shape)
        with source.reading(step.output.shard) as model:
            embedding = load_embedding(settings, source.path, shape, device=device)
        arrays = f"prediction-{keys.history}", f"features-{keys.history}-{keys.key}"
        about = {"device": device, "settings": digest(params.embedding), "model": model}
        work = (embedding, settings["batch_size"], step.threads, about)
        main(params.store, arrays, int(keys.shard), *work)
