"""Estimate the free energy and the Fisher metric of a solvable system from its samples by one estimator."""

import time
from pathlib import Path

from hessgeo import store
from hessgeo.estimators import registry
from hessgeo.estimators.base import Run
from hessgeo.evaluation.truth import estimate_dataset
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.solvable_systems import gather_samples


def main(path, system, name, network, settings, count, seed, output):
    samples = gather_samples(system, store.read_array(path, "state"), store.read_array(path, "t")).first(
        count
    )
    start, device, trained, training = time.perf_counter(), pick_device(), None, 0.0
    if network:
        folder, key = Path(network[0]).parent, registry.ESTIMATORS[name].network
        trained = registry.load(key, folder, device=device)
        training = store.read_json(folder / "numbers.json")["seconds"]
    estimate = registry.estimate(name, samples, trained, settings, Run(seed, device, progress=True))
    dataset = estimate_dataset(estimate, samples.grid)
    seconds = {"training_seconds": training, "seconds": time.perf_counter() - start}
    store.write_dataset(output, dataset.assign_attrs(seconds))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, wildcards = step.params, step.wildcards
        place = (params.store, params.system, wildcards.estimator, list(step.input.get("network", [])))
        main(*place, params.estimator, int(wildcards.samples), int(wildcards.seed), step.output.estimate)
