"""The solvable systems of a run as their settings say: checked, built, and their samples as estimators take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hessgeo.workflow.derived import merged
from hessgeo.workflow.schema import shown

if TYPE_CHECKING:
    from hessgeo.estimators.base import Geometry, Samples
    from hessgeo.systems.solvable import Coordinates, SolvableSystem
    from hessgeo.systems.tasep import Tasep

# Settings that name what is scored.
SCORED = ("table1", "fisher", "convergence")
GEOMETRIES: Mapping[str, Geometry] = {
    "ising": "torus",
    "isnnn": "torus",
    "ising-chain": "ring",
    "curie-weiss": "exchangeable",
    "tasep": "open",
}
# Parameters of a study beside the natural ones.
PARAMETERS = {"ising": ("temperature",), "ising-chain": ("temperature",), "curie-weiss": ("temperature",),
              "isnnn": ("mixture",), "tasep": ()}  # fmt: skip
LATTICES = ("ising", "isnnn")


def coordinates(settings: Mapping[str, Any]) -> Coordinates | None:
    """The coordinates that a system's ``parameters`` name; None for its natural ones."""
    from hessgeo.systems.isnnn import MIXTURE
    from hessgeo.systems.solvable import TEMPERATURE_FIELD

    return {"natural": None, "temperature": TEMPERATURE_FIELD, "mixture": MIXTURE}[settings["parameters"]]


def load_system(settings: Mapping[str, Any]) -> SolvableSystem | Tasep:
    """The system that an entry of ``solvable.systems`` describes."""
    # Imported here: compiled samplers take a second to import, and settings are read by every job.
    from hessgeo.systems.curie_weiss import CurieWeiss
    from hessgeo.systems.ising import Ising
    from hessgeo.systems.ising_chain import IsingChain
    from hessgeo.systems.isnnn import IsingNextNearest
    from hessgeo.systems.tasep import Tasep

    kind, size, own = settings["kind"], settings["size"], coordinates(settings)
    # Only samplers have sweeps: an exact solution does without.
    sweeps = settings.get("sweeps", 1)
    if kind == "ising":
        return Ising(size, coordinates=own, sweeps=sweeps)
    if kind == "isnnn":
        return IsingNextNearest(size, coordinates=own, method="cluster", sweeps=sweeps)
    if kind == "ising-chain":
        return IsingChain(size, coordinates=own)
    if kind == "curie-weiss":
        return CurieWeiss(size, coordinates=own)
    return Tasep(size)


def gather_samples(settings: Mapping[str, Any], states: Any, t: Any) -> Samples:
    """Stored states as estimators take them, with the statistics that the system itself knows."""
    from hessgeo.estimators.base import Samples
    from hessgeo.grids import Grid
    from hessgeo.systems.solvable import SolvableSystem, natural_coordinates

    system = load_system(settings)
    states = states.reshape(-1, *system.sample_shape)
    # The exclusion process is an exponential family in no two parameters.
    own = system if isinstance(system, SolvableSystem) else None
    return Samples(
        states=states,
        t=t,
        grid=Grid(**grid_of(settings)),
        coordinates=natural_coordinates("alpha", "beta") if own is None else own.coordinates,
        geometry=GEOMETRIES[settings["kind"]],
        statistics=None if own is None else own.sufficient_statistics(states),
    )


def grid_of(settings: Mapping[str, Any]) -> dict[str, tuple]:
    """Arguments of the ``Grid`` of a system."""
    return {"extent": tuple(map(tuple, settings["extent"])), "shape": tuple(settings["grid"])}


def solvable_errors(solvable: Mapping[str, Any]) -> Iterator[str]:
    """One line for each entry of ``solvable`` that does not fit the others."""
    from hessgeo.estimators.registry import ESTIMATORS

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
