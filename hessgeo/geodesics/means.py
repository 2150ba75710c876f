"""Frechet means: the point whose squared distances to others, weighted, have the least sum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.geodesics.result import Geodesics
from hessgeo.geodesics.solve import geodesics
from hessgeo.metrics.base import Metric, as_metric

_SAME = 1e-6  # of the spread: what two minima may be apart that are one
_SMALLEST = 1e-3  # step below which a mean that does not get better is given up


@dataclass(frozen=True)
class FrechetMean:
    """A mean under a metric.

    Attributes:
        point: the mean.
        variance: half of the weighted mean of squared distances to it is what it minimises; this is the whole.
        converged: whether the gradient fell below its tolerance.
        iterations: steps that were taken, from all starts.
        residual: norm of the gradient in the metric, as a share of the root of the variance.
        certified: whether each path from the mean is certified.
        unique: whether all starts led to this point; None where there was one start alone. A minimum that is known to
            be one of several is not unique, and where this is True others may exist still.
        others: means that other starts led to, with a larger variance or the same.
    """

    point: Float[Tensor, "d"]
    variance: float
    converged: bool
    iterations: int
    residual: float
    certified: bool
    unique: bool | None
    others: Float[Tensor, "k d"]


def frechet_mean(
    metric: Metric | Callable[[Tensor], Tensor],
    t: Float[Tensor, "n d"],
    *,
    weights: Float[Tensor, "n"] | None = None,
    starts: Float[Tensor, "k d"] | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 50,
    **options: Any,
) -> FrechetMean:
    """The point ``m`` of least ``V(m) = sum_i w_i d(m, t_i)^2``, by Karcher's iteration with geodesics.

    ``m`` moves along ``sum_i w_i log_m(t_i)``, minus half the gradient of ``V``; steps are halved until it falls. In a
    complete, simply connected space without positive curvature the mean is one (Karcher 1977); elsewhere there may be
    several, which more ``starts`` tell.

    Args:
        metric: see ``solve.geodesics``.
        t: the points.
        weights: of each, not negative; all alike by default.
        starts: to begin from; by default the point among ``t`` of least ``V`` alone and the weighted arithmetic mean.
        tolerance: of ``residual``.
        max_iterations: from each start.
        options: of ``solve.geodesics``.

    Raises:
        ValueError: on no point, weights that are no weights, or a point that no path leads to.
    """
    metric, t = as_metric(metric), torch.as_tensor(t).double()
    share = _shares(t, weights)
    if starts is None:
        starts = torch.stack([(share[:, None] * t).sum(dim=0), t[int(share.argmax())]])
    found = [
        _descended(metric, t, share, start, tolerance, max_iterations, options) for start in starts.double()
    ]
    best = min(found, key=lambda one: (not one.converged, one.variance))
    reach = math.sqrt(max(best.variance, 0.0)) + torch.finfo(torch.float64).tiny
    with torch.no_grad():
        g = metric(best.point[None])[0]
    apart = [one for one in found if one is not best and _norm(g, one.point - best.point) > _SAME * reach]
    others = torch.stack([one.point for one in apart]) if apart else t.new_empty(0, t.shape[1])
    return FrechetMean(
        point=best.point,
        variance=best.variance,
        converged=best.converged,
        iterations=sum(one.iterations for one in found),
        residual=best.residual,
        certified=best.certified,
        unique=None if len(found) == 1 else not apart,
        others=others,
    )


@dataclass(frozen=True)
class _Found:
    point: Tensor
    variance: float
    converged: bool
    iterations: int
    residual: float
    certified: bool


def _shares(t: Float[Tensor, "n d"], weights: Tensor | None) -> Float[Tensor, "n"]:
    if t.ndim != 2 or len(t) == 0:
        raise ValueError(f"points have shape {tuple(t.shape)}, must be (n, d) with n at least 1")
    share = t.new_ones(len(t)) if weights is None else torch.as_tensor(weights).to(t)
    if share.shape != (len(t),) or not bool((share >= 0).all()) or not 0 < float(share.sum()) < math.inf:
        raise ValueError(f"weights must be {len(t)} numbers, not negative, with a positive sum")
    return share / share.sum()


def _descended(
    metric: Metric,
    t: Tensor,
    share: Tensor,
    start: Tensor,
    tolerance: float,
    max_iterations: int,
    options: dict[str, Any],
) -> _Found:
    """The minimum that a start leads to."""
    point, step, taken = start, 1.0, 0
    paths, velocity, variance, residual = _towards(metric, point, t, share, options)
    while taken < max_iterations and residual > tolerance and step >= _SMALLEST:
        taken += 1
        trial = point + step * velocity
        try:
            after = _towards(metric, trial, t, share, options)
        except ValueError:  # the step left the box, or met a metric that is none
            step /= 2
            continue
        if after[2] > variance * (1 + 1e-12):
            step /= 2
            continue
        # Where the gradient hardly falls, steps overshoot in some direction.
        step = min(1.0, 1.5 * step) if after[3] < 0.7 * residual else max(step / 2, 2 * _SMALLEST)
        point, (paths, velocity, variance, residual) = trial, after
    return _Found(point, variance, residual <= tolerance, taken, residual, bool(paths.certified.all()))


def _towards(
    metric: Metric, point: Tensor, t: Tensor, share: Tensor, options: dict[str, Any]
) -> tuple[Geodesics, Float[Tensor, "d"], float, float]:
    """Paths to all points, the mean of their initial velocities, ``V``, and the relative size of its gradient."""
    paths = geodesics(metric, point.expand_as(t), t, **options)
    if bool(paths.failed.any()):
        raise ValueError(next(iter(paths.failures.values())))
    velocity = (share[:, None] * paths.tangents[:, 0]).sum(dim=0) * (paths.points.shape[1] - 1)
    variance = float((share * paths.length**2).sum())
    with torch.no_grad():
        size = _norm(metric(point[None])[0], velocity)
    return paths, velocity, variance, size / math.sqrt(variance) if variance > 0 else 0.0


def _norm(g: Float[Tensor, "d d"], v: Float[Tensor, "d"]) -> float:
    return math.sqrt(max(float(v @ g @ v), 0.0))
