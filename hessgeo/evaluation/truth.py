"""The exact fields that estimates are scored against, at every node of a grid in the parameters of a study."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from hessgeo.evaluation.tasep_potentials import current_potential, entropy_potential
from hessgeo.grids import Grid
from hessgeo.systems.solvable.base import Points, SolvableSystem
from hessgeo.systems.solvable.ising import LARGEST_SOLVED, Ising
from hessgeo.systems.solvable.noisy_flow import NoisyFlow
from hessgeo.systems.solvable.tasep import Tasep


def exact_fields(
    system: SolvableSystem | Tasep | NoisyFlow, grid: Grid, *, metric_samples: int = 0, seed: int = 0
) -> xr.Dataset:
    """What is known exactly of a system: its potential, the potential's gradient, and its Fisher metric.

    Variables on dims ``(a, b)``, all of one sample, not of one site: ``value``, ``gradient (a, b, i)``,
    ``metric (a, b, i, j)`` and ``metric_error``, the standard error of a metric that is an average over exact samples
    (zero where it is exact, NaN where there is none); ``paper_value`` and ``paper_gradient``, what Lobashev et al.
    compare with: the same, but for the exclusion process minus its limiting current; ``natural (a, b, i)`` and
    ``jacobian (a, b, i, j)``, the natural parameters and their derivatives. The attribute ``sites`` is their number.

    A noisy flow has no potential that is known, and those variables are missing: its metric is known by quadrature. The
    potential of the exclusion process is that of the infinite lattice, ``-S(min(alpha, beta, 1/2))`` a site.

    Args:
        system: the system, with the coordinates of the study.
        grid: its nodes, in the parameters of the study.
        metric_samples: exact samples a node for a metric that has no closed form; none if 0.
        seed: of those samples.
    """
    if isinstance(system, Tasep):
        fields = _tasep_fields(system, grid.points, metric_samples, seed)
    elif isinstance(system, NoisyFlow):
        fields = _flow_fields(system, grid.points)
    else:
        fields = _family_fields(system, grid.points)
    inner = {1: (), 2: ("i",), 3: ("i", "j")}
    arrays = {
        name: (("a", "b", *inner[values.ndim]), values.reshape(*grid.shape, *values.shape[1:]))
        for name, values in fields.items()
    }
    coordinates = {"a": grid.axes[0], "b": grid.axes[1], "i": ["a", "b"], "j": ["a", "b"]}
    return xr.Dataset(arrays, coordinates, {"sites": int(np.prod(system.sample_shape))})


def _family_fields(system: SolvableSystem, t: Points) -> dict[str, np.ndarray]:
    natural, jacobian = system.natural(t), system.jacobian(t)
    value, mean, metric = _cumulants(system, natural)
    gradient = np.einsum("nij,ni->nj", jacobian, mean)
    metric = np.swapaxes(jacobian, 1, 2) @ metric @ jacobian
    error = np.where(np.isnan(metric), np.nan, 0.0)
    return {
        "value": value, "gradient": gradient, "metric": metric, "metric_error": error,
        "paper_value": value, "paper_gradient": gradient, "natural": natural, "jacobian": jacobian,
    }  # fmt: skip


def _cumulants(
    system: SolvableSystem, natural: Points
) -> tuple[Float[np.ndarray, "n"], Points, Float[np.ndarray, "n 2 2"]]:
    """``log Z``, mean and metric at each point; of a lattice in a field the half with ``h >= 0`` is solved."""
    if not isinstance(system, Ising):
        return system.cumulants(natural)
    # log Z is even in h, and in nothing else: a negative K is another lattice. Nodes mirror one another up to rounding.
    field = np.abs(natural[:, 1])
    scale = max(float(field.max(initial=0.0)), np.finfo(float).tiny)
    keys = np.stack(
        [natural[:, 0], np.round(field / scale, 12) if np.ptp(np.sign(natural[:, 1])) > 0 else field], 1
    )
    _, first, where = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    folded = np.stack([natural[first, 0], field[first]], axis=1)
    sign = np.stack([np.ones(len(natural)), np.where(natural[:, 1] < 0, -1.0, 1.0)], axis=1)
    if system.side > LARGEST_SOLVED:
        log_z, mean = system.log_partition_and_mean(folded)
        metric = np.full((len(folded), 2, 2), np.nan)
    else:
        log_z, mean, metric = system.cumulants(folded)
    where = where.reshape(-1)
    return log_z[where], sign * mean[where], sign[:, :, None] * sign[:, None, :] * metric[where]


def _tasep_fields(system: Tasep, t: Points, samples: int, seed: int) -> dict[str, np.ndarray]:
    sites, nothing = system.sites, np.full((len(t), 2, 2), np.nan)
    metric, error = system.estimated_metric(t, samples=samples, seed=seed) if samples else (nothing, nothing)
    fields = {"metric": metric, "metric_error": error, "natural": t.copy()}
    for prefix, potential in (("", entropy_potential(t)), ("paper_", current_potential(t))):
        for name in ("value", "gradient"):
            fields[f"{prefix}{name}"] = sites * np.asarray(getattr(potential, name))
    return {**fields, "jacobian": np.broadcast_to(np.eye(2), (len(t), 2, 2)).copy()}


def _flow_fields(system: NoisyFlow, t: Points) -> dict[str, np.ndarray]:
    metric = system.fisher_metric(t)
    jacobian = np.broadcast_to(np.eye(2), metric.shape).copy()
    return {
        "metric": metric,
        "metric_error": np.zeros_like(metric),
        "natural": t.copy(),
        "jacobian": jacobian,
    }


def estimate_dataset(estimate: Any, grid: Grid) -> xr.Dataset:
    """An ``Estimate`` as a dataset with the variables of ``exact_fields`` that it has, its numbers as attribute."""
    fields = {
        "value": (estimate.value, ()),
        "gradient": (estimate.gradient, ("i",)),
        "metric": (estimate.metric, ("i", "j")),
        "metric_error": (estimate.metric_error, ("i", "j")),
        "curvature": (estimate.curvature, ()),
    }
    arrays = {
        name: (("a", "b", *dims), np.asarray(values).reshape(*grid.shape, *np.shape(values)[1:]))
        for name, (values, dims) in fields.items()
        if values is not None
    }
    coordinates = {"a": grid.axes[0], "b": grid.axes[1], "i": ["a", "b"], "j": ["a", "b"]}
    return xr.Dataset(arrays, coordinates, {"numbers": dict(estimate.numbers)})
