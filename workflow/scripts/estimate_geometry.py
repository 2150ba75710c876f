"""Train networks on the samples of a solvable system and estimate its free energy and Fisher metric by several ways."""

import time
from functools import cache, partial
from pathlib import Path

from hessgeo import store
from hessgeo.estimators import registry
from hessgeo.estimators.base import Run
from hessgeo.evaluation.truth import estimate_dataset
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.parts import make_parts
from hessgeo.pipeline.solvable_parts import parts_of
from hessgeo.pipeline.solvable_systems import gather_samples


def train(samples, run, name, part):
    start, numbers = time.perf_counter(), Path(part["files"][-1])
    registry.train(name, samples(), part["settings"], run).save(numbers.parent)
    store.write_json(numbers, {"seconds": time.perf_counter() - start, "device": run.device})


def estimate(samples, run, name, part, network):
    start, trained, training = time.perf_counter(), None, 0.0
    if network is not None:
        folder = Path(network["files"][-1]).parent
        trained = registry.load(part["network"], folder, device=run.device)
        training = store.read_json(folder / "numbers.json")["seconds"]
    found = registry.estimate(name, samples(), trained, part["settings"], run)
    dataset = estimate_dataset(found, samples().grid)
    seconds = {"training_seconds": training, "seconds": time.perf_counter() - start}
    store.write_dataset(part["files"][0], dataset.assign_attrs(seconds))


def main(path, system, parts, about, count, seed, record):
    run = Run(seed, pick_device(), progress=True)
    read = cache(lambda: gather_samples(system, store.read_array(path, "state"), store.read_array(path, "t")))
    first = cache(lambda: read().first(count))
    makers = {"networks": partial(train, first, run), "estimators": partial(estimate, first, run)}
    make_parts(parts_of(parts, makers, about), record)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, wildcards = step.params, step.wildcards
        count, seed = int(wildcards.samples), int(wildcards.seed)
        drawn = [store.read_record(path)["sha256"] for path in step.input.sidecars]
        about = {"system": params.system, "samples": [count, *drawn], "seed": seed, "code": params.code}
        main(params.store, params.system, params.parts, about, count, seed, step.output[0])
