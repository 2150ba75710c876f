"""Train a network that estimators read on the states of a solvable system."""

import time
from pathlib import Path

from hessgeo import store
from hessgeo.estimators import registry
from hessgeo.estimators.base import Run
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.solvable_systems import gather_samples


def main(path, system, network, settings, count, seed, numbers):
    samples = gather_samples(system, store.read_array(path, "state"), store.read_array(path, "t")).first(
        count
    )
    start, device = time.perf_counter(), pick_device()
    trained = registry.train(network, samples, settings, Run(seed, device, progress=True))
    trained.save(Path(numbers).parent)
    store.write_json(numbers, {"seconds": time.perf_counter() - start, "device": device})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, wildcards = step.params, step.wildcards
        count, seed, numbers = int(wildcards.samples), int(wildcards.seed), step.output.numbers
        main(params.store, params.system, wildcards.network, params.network, count, seed, numbers)
