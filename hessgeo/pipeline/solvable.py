"""The settings of solvable systems, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hessgeo.pipeline.checks.sampling import MOST_SHARDS, has_nodes
from hessgeo.pipeline.derived import merged
from hessgeo.pipeline.lattices import clusters_can, largest_coupling
from hessgeo.pipeline.schema import refusal, unknown_names

# Settings that name what is scored.
SCORED = ("table1", "fisher", "convergence")
# Parameters of a study beside the natural ones.
PARAMETERS = {"ising": ("temperature",), "ising-chain": ("temperature",), "curie-weiss": ("temperature",),
              "isnnn": ("mixture",), "tasep": (), "mixture-flow": ()}  # fmt: skip
LATTICES = ("ising", "isnnn")
# Systems that are exponential families in no two parameters, and those of them whose free energy no one knows.
NO_FAMILIES, NO_POTENTIAL = ("tasep", "mixture-flow"), ("mixture-flow",)
# Sides to which they are solved exactly, and sampled whatever the sign of their couplings.
LARGEST, LARGEST_TURNED = {"ising": 18, "isnnn": 10, "mixture-flow": 64}, 10
FARTHEST = 5  # latent of a flow, beyond which noise hardly reaches
LARGEST_COUPLING = 20  # beyond which a state is certain to 1e-17, and sums of exponentials overflow
LEAST_RATE = 1e-3  # of entry and exit, and the lowest temperature


def solvable_errors(solvable: Mapping[str, Any]) -> Iterator[str]:
    """One line for each entry of ``solvable`` that does not fit the others."""
    from hessgeo.estimators.names import ESTIMATORS

    systems = solvable["systems"]
    for name, system in systems.items():
        yield from _system_errors(f"solvable.systems.{name}", system)
    for table in SCORED:
        entry = solvable[table]
        yield from unknown_names(f"solvable.{table}.systems", entry["systems"], systems, "solvable.systems")
        for place, name in enumerate(entry["estimators"]):
            if name not in ESTIMATORS:
                yield refusal(f"solvable.{table}.estimators[{place}]", name, ", ".join(ESTIMATORS))
    for place, name in enumerate(solvable["table1"]["systems"]):
        if name in systems and systems[name]["kind"] in NO_POTENTIAL:
            allowed = f"a system with a free energy, which the kind {systems[name]['kind']} has none of"
            yield refusal(f"solvable.table1.systems[{place}]", name, allowed)
    for key in ("estimator", "tasep_estimator"):
        name = solvable["figures"][key]
        known = [one for one in ESTIMATORS if key == "estimator" or not ESTIMATORS[one].exact]
        if name not in known:
            yield refusal(f"solvable.figures.{key}", name, ", ".join(known))
    if solvable["convergence"]["seeds"] > len(solvable["seeds"]):
        allowed = f"at most the number of solvable.seeds, {len(solvable['seeds'])}"
        yield refusal("solvable.convergence.seeds", solvable["convergence"]["seeds"], allowed)
    yield from _debias_errors(solvable)
    for place, count in enumerate(solvable["convergence"]["samples"]):
        for name in solvable["convergence"]["systems"]:
            if name in systems and count > systems[name]["samples"]:
                allowed = f"at most the samples of {name}, {systems[name]['samples']}"
                yield refusal(f"solvable.convergence.samples[{place}]", count, allowed)


def _debias_errors(solvable: Mapping[str, Any]) -> Iterator[str]:
    """A score of two halves has no bias to take off, and no slope to do it with."""
    keys: dict[str, None] = {}
    for name, system in solvable["systems"].items():
        estimators, networks = (merged(solvable[part], system[part]) for part in ("estimators", "networks"))
        if estimators["score-classifier"]["debias"] == "slope" and networks["score"]["halves"]:
            own = "debias" in system["estimators"].get("score-classifier", {})
            keys[f"solvable.systems.{name}" if own else "solvable"] = None
    for key in keys:
        allowed = "none, or slope with networks.score.halves: false"
        yield refusal(f"{key}.estimators.score-classifier.debias", "slope", allowed)


def _system_errors(key: str, system: Mapping[str, Any]) -> Iterator[str]:
    kind = system["kind"]
    parameters = ("natural", *PARAMETERS[kind])
    if system["parameters"] not in parameters:
        yield refusal(
            f"{key}.parameters", system["parameters"], f"{', '.join(parameters)} for the kind {kind}"
        )
    else:
        yield from _extent_errors(key, system)
    largest = LARGEST.get(kind)
    if largest is not None and system["size"] > largest:
        words = f"at most {largest} for the kind {kind}, whose exact solution ends there"
        yield refusal(f"{key}.size", system["size"], words)
    weights = system["flow"]["weights"]
    if kind == "mixture-flow" and weights and len(weights) != system["size"]:
        yield refusal(
            f"{key}.flow.weights", weights, f"[], or a number for each of the {system['size']} modes"
        )
    if system["samples"] % system["shard"]:
        allowed = f"a divisor of the number of samples, {system['samples']}"
        yield refusal(f"{key}.shard", system["shard"], allowed)
    elif system["samples"] // system["shard"] > MOST_SHARDS:
        allowed = f"at most {MOST_SHARDS:,} shards; these are {system['samples'] // system['shard']:,}"
        yield refusal(f"{key}.shard", system["shard"], allowed)
    if system["truth_samples"] and kind != "tasep":
        allowed = f"0 for the kind {kind}, whose metric is known"
        yield refusal(f"{key}.truth_samples", system["truth_samples"], allowed)
    elif system["truth_samples"] == 1:
        yield refusal(f"{key}.truth_samples", 1, "0, or at least 2: one sample has no variance")


def _extent_errors(key: str, system: Mapping[str, Any]) -> Iterator[str]:
    kind, extent = system["kind"], system["extent"]
    positive = {"temperature": (0,), "mixture": (1,)}.get(
        system["parameters"], (0, 1) if kind == "tasep" else ()
    )
    if any(low >= high for low, high in extent):
        yield refusal(f"{key}.extent", extent, "[[a_min, a_max], [b_min, b_max]], each increasing")
    elif any(extent[axis][0] < LEAST_RATE for axis in positive):
        yield refusal(
            f"{key}.extent", extent, f"bounds above 0, {LEAST_RATE} at least, for temperatures and rates"
        )
    elif kind == "mixture-flow" and max(abs(bound) for side in extent for bound in side) > FARTHEST:
        yield refusal(f"{key}.extent", extent, f"latents from -{FARTHEST} to {FARTHEST}")
    elif kind not in NO_FAMILIES and (reached := largest_coupling(system)) > LARGEST_COUPLING:
        words = f"couplings and fields to {LARGEST_COUPLING} in natural parameters; these reach {reached:.4g}"
        yield refusal(f"{key}.extent", extent, words)
    elif not all(map(has_nodes, extent, system["grid"])):
        yield refusal(f"{key}.extent", extent, f"a box in which nodes of the grid {system['grid']} differ")
    elif kind in LATTICES and not clusters_can(system) and system["size"] > LARGEST_TURNED:
        words = f"couplings of at least 0 for a side above {LARGEST_TURNED}: no clusters sample others"
        yield refusal(f"{key}.extent", extent, words)
