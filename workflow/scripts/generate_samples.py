"""Generate shards of a study's samples with one model."""

import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hessgeo import store
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.loading import load_system


def main(path, shard, system, seed, about):
    start = time.perf_counter()
    rows = store.shard_rows(path, "image", shard)
    index = np.arange(rows.start, rows.stop)
    t = store.read_array(path, "t")[index]
    cuts = range(system.batch_size, len(index), system.batch_size)
    blocks = zip(np.split(t, cuts), np.split(index, cuts), strict=True)
    images = [system.sample(*block, seed) for block in tqdm(blocks, desc="batches", total=len(cuts) + 1)]
    seconds = time.perf_counter() - start
    store.write_shard(path, "image", shard, np.concatenate(images), about={"seconds": seconds, **about})


if __name__ == "__main__":
    with script_context(snakemake, spread=True) as step:
        params, device, source = step.params, pick_device(), step.params.system
        anchors = store.read_npy(step.input.anchors)
        with source.reading(step.output.shards[0]) as model:
            options = {"device": device, "most": params.shard, "model": model}
            system = load_system(source.settings, source.path, anchors, params.plane, **options)
        about = {"device": device, "settings": digest(params.sampling), "model": model}
        about["batch_size"] = system.batch_size
        for sidecar in step.output.sidecars:
            main(params.store, int(Path(sidecar).stem), system, params.seed, about)
