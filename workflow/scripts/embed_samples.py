"""Embed one shard of a study's samples."""

import time

from hessgeo import store
from hessgeo.embeddings import embed, embedding_loader
from hessgeo.workflow import pick_device, script_context
from hessgeo.workflow.digest import digest


def main(path, array, shard, embedding, batch_size, threads, about):
    start = time.perf_counter()
    images = store.open_array(path, "image", store.shard_rows(path, "image", shard))
    vectors = embed(images.rechunk({0: batch_size}), embedding, threads=threads)
    seconds = time.perf_counter() - start
    store.write_shard(path, array, shard, vectors, about={"seconds": seconds, **about})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, device = step.params, pick_device()
        settings, batch_size = params.embedding, params.embedding["batch_size"]
        options = {key: settings[key] for key in ("model", "dtype")}
        load = embedding_loader(settings["kind"])
        shape = tuple(params.image_shape)
        embedding = load(params.checkpoint, **options, device=device, image_shape=shape)
        about = {"device": device, "settings": digest(params.settings)}
        array, shard = f"embedding/{step.wildcards.key}", int(step.wildcards.shard)
        main(params.store, array, shard, embedding, batch_size, step.threads, about)
