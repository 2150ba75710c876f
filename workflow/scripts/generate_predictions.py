"""Sample a shard of a study again, and keep the sampler's states and its predictions of the clean image."""

import time

import numpy as np
from tqdm import tqdm

from hessgeo import store
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.loading import load_system
from hessgeo.systems.diffusion.predictions import RecordedSystem, check_same_images, joined


def main(path, arrays, shard, system, seed, about):
    start = time.perf_counter()
    rows = store.shard_rows(path, "image", shard)
    index = np.arange(rows.start, rows.stop)
    t = store.read_array(path, "t")[index]
    cuts = range(system.batch_size, len(index), system.batch_size)
    blocks = zip(np.split(t, cuts), np.split(index, cuts), strict=True)
    made = joined(system.record(*block, seed) for block in tqdm(blocks, desc="batches", total=len(cuts) + 1))
    check_same_images(made.images, store.read_array(path, "image", rows), f"shard {shard} of {path}")
    levels = {"signal": made.signal.tolist(), "noise": made.noise.tolist()}
    seconds = time.perf_counter() - start
    for array, data in zip(arrays, (made.predictions, made.trajectory), strict=True):
        store.write_shard(path, array, shard, data, about={"seconds": seconds, **levels, **about})


if __name__ == "__main__":
    with script_context(snakemake, spread=True) as step:
        params, device, source = step.params, pick_device(), step.params.system
        anchors = store.read_npy(step.input.anchors)
        with source.reading(step.output.prediction) as model:
            options = {"device": device, "most": params.shard, "model": model}
            system = load_system(source.settings, source.path, anchors, params.plane, **options)
        arrays = [f"{array}-{step.wildcards.history}" for array in ("prediction", "trajectory")]
        about = {"device": device, "settings": digest(params.sampling), "model": model}
        recorded = RecordedSystem(system, params.steps)
        main(params.store, arrays, int(step.wildcards.shard), recorded, params.seed, about)
