"""The solvable systems of a run as their settings say, their samples as estimators take them, and their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hessgeo.pipeline.lattices import clusters_can
from hessgeo.pipeline.solvable import LATTICES

if TYPE_CHECKING:
    from hessgeo.evaluation.tables import Record, Truth
    from hessgeo.learned.samples import Geometry, Samples
    from hessgeo.systems.solvable.base import Coordinates, SolvableSystem
    from hessgeo.systems.solvable.noisy_flow import NoisyFlow
    from hessgeo.systems.solvable.tasep import Tasep

GEOMETRIES: Mapping[str, Geometry] = {
    "ising": "torus",
    "isnnn": "torus",
    "ising-chain": "ring",
    "curie-weiss": "exchangeable",
    "tasep": "open",
    "mixture-flow": "none",
}

KINDS = {
    "ising": "Ising", "isnnn": "Ising, next-nearest", "ising-chain": "Ising chain", "curie-weiss": "Curie-Weiss",
    "tasep": "TASEP", "mixture-flow": "noisy flow",
}  # fmt: skip


def coordinates(settings: Mapping[str, Any]) -> Coordinates | None:
    """The coordinates that a system's ``parameters`` name; None for its natural ones."""
    from hessgeo.systems.solvable.base import TEMPERATURE_FIELD
    from hessgeo.systems.solvable.isnnn import MIXTURE

    return {"natural": None, "temperature": TEMPERATURE_FIELD, "mixture": MIXTURE}[settings["parameters"]]


def noisy_flow(size: int, flow: Mapping[str, Any]) -> NoisyFlow:
    """The noisy sampler whose data are so many Gaussian modes on a circle, see ``flow`` of a system."""
    import numpy as np

    from hessgeo.systems.solvable.mixture_flow import MixtureFlow
    from hessgeo.systems.solvable.noisy_flow import NoisyFlow

    angle = 2 * np.pi * np.arange(size) / size
    modes = flow["radius"] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    weights = np.array(flow["weights"], dtype=np.float64) if flow["weights"] else None
    mixture = MixtureFlow(modes, weights, sigma=flow["sigma"])
    return NoisyFlow(mixture, **{key: flow[key] for key in ("steps", "eta", "eta_rule")})


def solvable_system(settings: Mapping[str, Any]) -> SolvableSystem | Tasep | NoisyFlow:
    """The system that an entry of ``solvable.systems`` describes."""
    # Imported here: compiled samplers take a second to import, and settings are read by every job.
    from hessgeo.systems.solvable.curie_weiss import CurieWeiss
    from hessgeo.systems.solvable.ising import Ising
    from hessgeo.systems.solvable.ising_chain import IsingChain
    from hessgeo.systems.solvable.isnnn import IsingNextNearest
    from hessgeo.systems.solvable.tasep import Tasep

    kind, size, own = settings["kind"], settings["size"], coordinates(settings)
    # Only samplers have sweeps: an exact solution does without.
    sweeps = settings.get("sweeps", 1)
    method = "cluster" if clusters_can(settings) else "exact"
    if kind == "ising":
        return Ising(size, coordinates=own, method=method, sweeps=sweeps)
    if kind == "isnnn":
        return IsingNextNearest(size, coordinates=own, method=method, sweeps=sweeps)
    if kind == "ising-chain":
        return IsingChain(size, coordinates=own)
    if kind == "curie-weiss":
        return CurieWeiss(size, coordinates=own)
    if kind == "mixture-flow":
        return noisy_flow(size, settings["flow"])
    return Tasep(size)


def gather_samples(settings: Mapping[str, Any], states: Any, t: Any) -> Samples:
    """Stored states as estimators take them, with the statistics that the system itself knows."""
    from hessgeo.evaluation.tables import parameter_names
    from hessgeo.grids import Grid
    from hessgeo.learned.samples import Samples
    from hessgeo.systems.solvable.base import SolvableSystem, natural_coordinates

    system = solvable_system(settings)
    states = states.reshape(-1, *system.sample_shape)
    # The exclusion process and noisy flows are exponential families in no two parameters.
    own = system if isinstance(system, SolvableSystem) else None
    return Samples(
        states=states,
        t=t,
        grid=Grid(**grid_of(settings)),
        coordinates=natural_coordinates(*parameter_names(system)) if own is None else own.coordinates,
        geometry=GEOMETRIES[settings["kind"]],
        statistics=None if own is None else own.sufficient_statistics(states),
    )


def grid_of(settings: Mapping[str, Any]) -> dict[str, tuple]:
    """Arguments of the ``Grid`` of a system."""
    return {"extent": tuple(map(tuple, settings["extent"])), "shape": tuple(settings["grid"])}


def system_title(settings: Mapping[str, Any]) -> str:
    """What tables and figures call a system: its kind, parameters and size."""
    from hessgeo.evaluation.tables import parameter_names

    size = str(settings["size"])
    size = f"{size} x {size}" if settings["kind"] in LATTICES else size
    return f"{KINDS[settings['kind']]} ({', '.join(parameter_names(solvable_system(settings)))}), {size}"


def read_records(entries: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Estimates from their files.

    Args:
        entries: ``system, estimator, samples, seed, path`` each.
    """
    from hessgeo import store
    from hessgeo.estimators.names import ESTIMATORS
    from hessgeo.evaluation.tables import Record

    return [
        Record(
            **{key: entry[key] for key in ("system", "estimator", "samples", "seed")},
            natural=ESTIMATORS[entry["estimator"]].natural,
            fields=store.read_dataset(entry["path"]),
        )
        for entry in entries
    ]


def read_truths(systems: Mapping[str, Mapping[str, Any]], paths: Mapping[str, str]) -> dict[str, Truth]:
    """Exact fields from their files.

    Args:
        systems: settings of each system.
        paths: of the exact fields, by the name of the system.
    """
    from hessgeo import store
    from hessgeo.evaluation.tables import Truth

    return {
        name: Truth(
            name,
            systems[name]["size"],
            store.read_dataset(path),
            temperature=systems[name]["parameters"] == "temperature",
        )
        for name, path in paths.items()
    }
