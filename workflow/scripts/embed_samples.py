"""Embed shards of a study's samples with one model, or take their features from a file."""

import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from hessgeo import store
from hessgeo.features import embed, load_embedding
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.own import feature_rows
from hessgeo.systems.batches import even_batch


def embedded(path, rows, embedding, batch_size, threads):
    images = store.open_array(path, "image", rows)
    batch_size = even_batch(len(images), batch_size)
    return embed(images.rechunk({0: batch_size}), embedding, threads=threads)


def main(path, array, shard, embed_rows, about):
    start = time.perf_counter()
    vectors = embed_rows(store.shard_rows(path, "image", shard))
    seconds = time.perf_counter() - start
    store.write_shard(path, array, shard, vectors, about={"seconds": seconds, **about})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, device, source = step.params, pick_device(), step.params.embedder
        settings, shape = source.settings, tuple(params.image_shape)
        with source.reading(step.output.shards[0]) as model:
            if settings["kind"] == "file":
                embed_rows = feature_rows(source.path, settings["own"])
            else:
                embedding = load_embedding(settings, source.path, shape, device=device)
                work = {"batch_size": settings["batch_size"], "threads": step.threads}
                embed_rows = partial(embedded, params.store, embedding=embedding, **work)
        about = {"device": device, "settings": digest(params.embedding), "model": model}
        # Of a file of features each shard reads its rows, a model is in memory.
        with source.reading() if settings["kind"] == "file" else nullcontext():
            for sidecar in step.output.sidecars:
                main(params.store, params.array, int(Path(sidecar).stem), embed_rows, about)
