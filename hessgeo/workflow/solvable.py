"""The settings of solvable systems, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hessgeo.workflow.derived import merged
from hessgeo.workflow.schema import shown

# Settings that name what is scored.
SCORED = ("table1", "fisher", "convergence")
# Parameters of a study beside the natural ones.
PARAMETERS = {"ising": ("temperature",), "ising-chain": ("temperature",), "curie-weiss": ("temperature",),
              "isnnn": ("mixture",), "tasep": ()}  # fmt: skip
LATTICES = ("ising", "isnnn")


def solvable_errors(solvable: Mapping[str, Any]) -> Iterator[str]:
    """One line for each entry of ``solvable`` that does not fit the others."""
    from hessgeo.estimators.names import ESTIMATORS

    systems = solvable["systems"]
    for name, system in systems.items():
        yield from _system_errors(f"solvable.systems.{name}", system)
    for table in SCORED:
        entry = solvable[table]
        for place, name in enumerate(entry["systems"]):
            if name not in systems:
                known = ", ".join(systems) or "none here"
                yield _line(
                    f"solvable.{table}.systems[{place}]", name, f"an entry of solvable.systems ({known})"
                )
        for place, name in enumerate(entry["estimators"]):
            if name not in ESTIMATORS:
                yield _line(f"solvable.{table}.estimators[{place}]", name, ", ".join(ESTIMATORS))
    yield from _debias_errors(solvable)
    for place, count in enumerate(solvable["convergence"]["samples"]):
        for name in solvable["convergence"]["systems"]:
            if name in systems and count > systems[name]["samples"]:
                allowed = f"at most the samples of {name}, {systems[name]['samples']}"
                yield _line(f"solvable.convergence.samples[{place}]", count, allowed)


def _debias_errors(solvable: Mapping[str, Any]) -> Iterator[str]:
    """A score of two halves has no bias to take off, and no slope to do it with."""
    keys: dict[str, None] = {}
    for name, system in solvable["systems"].items():
        estimators, networks = (merged(solvable[part], system[part]) for part in ("estimators", "networks"))
        slope = estimators.get("score-classifier", {}).get("debias") == "slope"
        if slope and networks.get("score", {}).get("halves", True):
            own = "debias" in system["estimators"].get("score-classifier", {})
            keys[f"solvable.systems.{name}" if own else "solvable"] = None
    for key in keys:
        allowed = "none, or slope with networks.score.halves: false"
        yield _line(f"{key}.estimators.score-classifier.debias", "slope", allowed)


def _system_errors(key: str, system: Mapping[str, Any]) -> Iterator[str]:
    kind = system["kind"]
    parameters = ("natural", *PARAMETERS[kind])
    positive = {"temperature": (0,), "mixture": (1,)}.get(
        system["parameters"], (0, 1) if kind == "tasep" else ()
    )
    if system["parameters"] not in parameters:
        yield _line(f"{key}.parameters", system["parameters"], f"{', '.join(parameters)} for the kind {kind}")
    elif any(system["extent"][axis][0] <= 0 for axis in positive):
        yield _line(f"{key}.extent", system["extent"], "bounds above 0 for temperatures and rates")
    if any(low >= high for low, high in system["extent"]):
        yield _line(f"{key}.extent", system["extent"], "[[a_min, a_max], [b_min, b_max]], each increasing")
    if kind == "isnnn" and system["size"] > 10:
        yield _line(
            f"{key}.size", system["size"], "at most 10 for the kind isnnn, whose exact solution ends there"
        )
    if kind == "ising" and system["size"] > 18:
        yield _line(
            f"{key}.size", system["size"], "at most 18 for the kind ising, whose exact solution ends there"
        )
    if system["samples"] % system["shard"]:
        yield _line(
            f"{key}.shard", system["shard"], f"a divisor of the number of samples, {system['samples']}"
        )


def _line(key: str, value: Any, allowed: str) -> str:
    return f"{key}: {shown(value)} is not allowed; allowed: {allowed}"
