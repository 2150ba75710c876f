"""The exponential map of a metric and its inverse, by the geodesic equation as an initial-value problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hessgeo.geodesics.solve import geodesics
from hessgeo.metrics.base import Metric, as_metric
from hessgeo.metrics.curvature import christoffel

MetricLike = Metric | Callable[[Tensor], Tensor]


def exponential_path(
    metric: MetricLike,
    start: Float[Tensor, "*batch d"],
    velocity: Float[Tensor, "*batch d"],
    *,
    steps: int = 100,
) -> tuple[Float[Tensor, "step *batch d"], Float[Tensor, "step *batch d"]]:
    """Points and velocities of the geodesics ``x'' = -Gamma(x', x')`` at ``s = 0, 1 / steps, ..., 1``.

    By the classical Runge-Kutta scheme: errors of fourth order in the step. The speed in the metric is constant along
    the exact curve, so its drift measures them.

    Args:
        metric: see ``solve.geodesics``.
        start: first point.
        velocity: ``dx / ds`` there; its norm in the metric is the length of the path.
        steps: of the scheme.

    Raises:
        ValueError: if there is no step.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, must be at least 1")
    metric, h = as_metric(metric), 1 / steps
    x, v = start.double(), velocity.double()
    points, velocities = [x], [v]
    with torch.no_grad():
        for _ in range(steps):
            a1 = _acceleration(metric, x, v)
            v2 = v + h / 2 * a1
            a2 = _acceleration(metric, x + h / 2 * v, v2)
            v3 = v + h / 2 * a2
            a3 = _acceleration(metric, x + h / 2 * v2, v3)
            v4 = v + h * a3
            a4 = _acceleration(metric, x + h * v3, v4)
            x, v = x + h / 6 * (v + 2 * v2 + 2 * v3 + v4), v + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
            points.append(x)
            velocities.append(v)
    return torch.stack(points), torch.stack(velocities)


def exponential(
    metric: MetricLike,
    start: Float[Tensor, "*batch d"],
    velocity: Float[Tensor, "*batch d"],
    *,
    steps: int = 100,
) -> Float[Tensor, "*batch d"]:
    """``exp_start(velocity)``: where the geodesic with that initial velocity ends, see ``exponential_path``."""
    return exponential_path(metric, start, velocity, steps=steps)[0][-1]


@dataclass(frozen=True)
class Logarithm:
    """Initial velocities of shortest paths.

    Attributes:
        velocity: ``dx / ds`` at the start, ``s`` from 0 to 1; its norm in the metric is the distance.
        residual: ``|exp(velocity) - end|`` in the metric at the end, relative to the distance.
        converged: whether that is within the tolerance.
        iterations: of the shooting.
    """

    velocity: Float[Tensor, "m d"]
    residual: Float[Tensor, "m"]
    converged: Bool[Tensor, "m"]
    iterations: Int[Tensor, "m"]


def logarithm(
    metric: MetricLike,
    starts: Float[Tensor, "m d"],
    ends: Float[Tensor, "m d"],
    *,
    steps: int = 100,
    tolerance: float = 1e-10,
    max_iterations: int = 10,
    **options: Any,
) -> Logarithm:
    """``log_start(end)``: the initial velocity of the shortest path.

    From the boundary-value solution, then Newton's method on the end point of the exponential map (differences for its
    Jacobian), which polishes it to the accuracy of that map.

    Args:
        metric: see ``solve.geodesics``.
        starts: first points.
        ends: last points.
        steps: of the exponential map.
        tolerance: of the residual.
        max_iterations: of Newton's method.
        options: of ``solve.geodesics``.
    """
    metric = as_metric(metric)
    solved = geodesics(metric, starts, ends, **options)
    velocity = solved.tangents[:, 0] * (solved.points.shape[1] - 1)
    ends = ends.double()
    with torch.no_grad():
        g = metric(ends)
    miss, residual = _miss(metric, starts, velocity, ends, g, solved.length, steps)
    iterations = torch.zeros(len(starts), dtype=torch.long, device=starts.device)
    for _ in range(max_iterations):
        open_rows = torch.nonzero((residual > tolerance) & ~solved.failed)[:, 0]
        if len(open_rows) == 0:
            break
        a, v = starts[open_rows].double(), velocity[open_rows]
        # A small share of the velocity, by the metric's own measure of either axis: units do not count.
        speed = torch.einsum("mi,mij,mj->m", v, g[open_rows], v).clamp(min=torch.finfo(v.dtype).tiny).sqrt()
        h = 1e-5 * speed[:, None] / g[open_rows].diagonal(dim1=1, dim2=2).sqrt()
        shifts = torch.diag_embed(h).movedim(1, 0)  # axis m 2
        shifted = torch.cat([v + shifts, v - shifts])
        ahead, behind = exponential(metric, a.expand_as(shifted), shifted, steps=steps).chunk(2)
        jacobian = ((ahead - behind) / (2 * h.T[..., None])).movedim(0, -1)
        move = torch.linalg.solve(jacobian, miss[open_rows])
        trial = velocity.clone()
        trial[open_rows] -= move
        trial_miss, trial_residual = _miss(metric, starts, trial, ends, g, solved.length, steps)
        better = trial_residual < residual
        velocity = torch.where(better[:, None], trial, velocity)
        miss = torch.where(better[:, None], trial_miss, miss)
        residual = torch.where(better, trial_residual, residual)
        iterations[open_rows] += 1
        if not bool(better[open_rows].any()):
            break
    return Logarithm(velocity, residual, residual <= tolerance, iterations)


def _miss(
    metric: Metric, starts: Tensor, velocity: Tensor, ends: Tensor, g: Tensor, length: Tensor, steps: int
) -> tuple[Float[Tensor, "m d"], Float[Tensor, "m"]]:
    miss = exponential(metric, starts, velocity, steps=steps) - ends
    norm = torch.einsum("mi,mij,mj->m", miss, g, miss).clamp(min=0).sqrt()
    relative = torch.where(length > 0, norm / torch.where(length > 0, length, 1.0), 0.0)
    return miss, torch.where(length.isnan(), torch.inf, relative)


def _acceleration(metric: Metric, x: Tensor, v: Tensor) -> Tensor:
    return -torch.einsum("...kij,...i,...j->...k", christoffel(metric, x), v, v)
