"""Generate one shard of a study's samples."""

import time

import numpy as np
from tqdm import tqdm

from hessgeo import store
from hessgeo.systems.diffusion import latent_shape, load_diffusion
from hessgeo.systems.slices import LatentSlice, load_anchors, random_anchors
from hessgeo.workflow import pick_device, script_context
from hessgeo.workflow.layout import digest


def load_system(checkpoint, system, latent_slice, device):
    anchors, shape = latent_slice["anchors"], latent_shape(checkpoint)
    read = load_anchors if isinstance(anchors, str) else random_anchors
    extent = tuple(map(tuple, latent_slice["extent"]))
    plane = LatentSlice(read(anchors, shape), extent, latent_slice["normalisation"])
    options = {key: system[key] for key in ("steps", "eta", "batch_size")}
    return load_diffusion(checkpoint, plane, **options, device=device)


def main(path, shard, system, seed, batch_size, about):
    start = time.perf_counter()
    rows = store.shard_rows(path, "image", shard)
    index = np.arange(rows.start, rows.stop)
    t = store.read_array(path, "t")[index]
    cuts = range(batch_size, len(index), batch_size)
    blocks = zip(np.split(t, cuts), np.split(index, cuts), strict=True)
    images = [system.sample(*block, seed) for block in tqdm(blocks, desc="batches", total=len(cuts) + 1)]
    seconds = time.perf_counter() - start
    store.write_shard(path, "image", shard, np.concatenate(images), about={"seconds": seconds, **about})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, device = step.params, pick_device()
        system = load_system(params.checkpoint, params.system, params.latent_slice, device)
        about = {"device": device, "settings": digest(params.sampling)}
        main(params.store, int(step.wildcards.shard), system, params.seed, params.system["batch_size"], about)
