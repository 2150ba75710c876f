"""Embed shards of a study's samples with one model."""

import time
from pathlib import Path

from hessgeo import store
from hessgeo.features import embed, load_embedding
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.digest import digest
from hessgeo.systems.batches import even_batch


def main(path, array, shard, embedding, batch_size, threads, about):
    start = time.perf_counter()
    images = store.open_array(path, "image", store.shard_rows(path, "image", shard))
    batch_size = even_batch(len(images), batch_size)
    vectors = embed(images.rechunk({0: batch_size}), embedding, threads=threads)
    seconds = time.perf_counter() - start
    store.write_shard(path, array, shard, vectors, about={"seconds": seconds, **about})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, device, source = step.params, pick_device(), step.params.embedder
        shape = tuple(params.image_shape)
        with source.reading(step.output.shards[0]) as model:
            embedding = load_embedding(source.settings, source.path, shape, device=device)
        about = {"device": device, "settings": digest(params.embedding), "model": model}
        work = (embedding, source.settings["batch_size"], step.threads, about)
        for sidecar in step.output.sidecars:
            main(params.store, params.array, int(Path(sidecar).stem), *work)
