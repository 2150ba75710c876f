"""Embed one shard of a study's samples."""

import time

from hessgeo import store
from hessgeo.embeddings import embed, load_embedding
from hessgeo.systems.batches import even_batch
from hessgeo.workflow import pick_device, script_context
from hessgeo.workflow.digest import digest


def main(path, array, shard, embedding, batch_size, threads, about):
    start = time.perf_counter()
    images = store.open_array(path, "image", store.shard_rows(path, "image", shard))
    batch_size = even_batch(len(images), batch_size)
    vectors = embed(images.rechunk({0: batch_size}), embedding, threads=threads)
    seconds = time.perf_counter() - start
    store.write_shard(path, array, shard, vectors, about={"seconds": seconds, **about})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, device, key = step.params, pick_device(), step.wildcards.key
        source, shape = params.embedder, tuple(params.image_shape)
        with source.reading(key) as model:
            embedding = load_embedding(source.settings, source.path, shape, device=device)
        about = {"device": device, "settings": digest(params.embedding), "model": model}
        batch_size = source.settings["batch_size"]
        main(
            params.store,
            f"embedding/{key}",
            int(step.wildcards.shard),
            embedding,
            batch_size,
            step.threads,
            about,
        )
