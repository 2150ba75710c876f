"""Sample one shard of the states of a solvable system."""

import time

import numpy as np

from hessgeo import store
from hessgeo.pipeline import script_context
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.solvable_systems import solvable_system


def main(path, shard, sampling, seed, about):
    start = time.perf_counter()
    rows = store.shard_rows(path, "state", shard)
    index = np.arange(rows.start, rows.stop)
    states = solvable_system(sampling).sample(store.read_array(path, "t", rows), index, seed)
    about = {"seconds": time.perf_counter() - start, **about}
    store.write_shard(path, "state", shard, states.reshape(len(index), -1), about=about)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, wildcards = step.params, step.wildcards
        about = {"device": "cpu", "settings": digest(params.sampling)}
        main(params.store, int(wildcards.shard), params.sampling, int(wildcards.seed), about)
