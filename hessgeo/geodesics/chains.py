"""Shorten a path by the score of the density: from a chain of data points to a smooth geodesic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from hessgeo.metrics.conformal import DensityMetric
from hessgeo.numerics.quadrature import gauss_legendre

_STRAIGHT = 1e-6  # of a chord: what a straight path may be off it by
_APART = 1e-3  # of a length: by what two minima differ that are not one
_JUDGED = 0.01  # of a length: what the nodes of the energy may miss of it


@dataclass(frozen=True)
class RefinedPath:
    """A path at equal distances, no longer than the one it came from.

    Attributes:
        points: from end to end, at equal distances in the metric once converged.
        length: in the metric.
        start_length: of the path it came from.
        converged: whether the residual fell below the tolerance.
        iterations: of the minimiser, in all rounds.
        residual: largest component of the gradient of the energy in the coordinates of the minimiser, as a
            share of the energy: 0 at a discrete geodesic.
        shortened: whether a shorter path was found; where none was, ``points`` are the path it came from.
        local: whether the minimum is known to be one of several: the straight line between the ends led to another.
            Where it is False nothing else is known either, but both starts came to the same.
    """

    points: Float[Tensor, "n d"]
    length: float
    start_length: float
    converged: bool
    iterations: int
    residual: float
    shortened: bool
    local: bool


def straight_path(start: Float[Tensor, "d"], end: Float[Tensor, "d"], count: int) -> Float[Tensor, "n d"]:
    """Points at equal Euclidean distances on the segment between two."""
    share = torch.linspace(0, 1, count, dtype=start.dtype, device=start.device)[:, None]
    return start + share * (end - start)


def resample(
    path: Float[Tensor, "m d"], metric: DensityMetric, count: int, *, nodes: int | None = 4
) -> Float[Tensor, "n d"]:
    """Points at equal distances along a chain of segments, both ends kept.

    Distances are those of the metric, by linear interpolation in 16 parts of each segment.

    Raises:
        ValueError: on fewer than two points, or a path that cannot be measured.
    """
    if count < 2 or len(path) < 2:
        raise ValueError(f"a path of {len(path)} points resampled at {count}: both must be at least 2")
    share = torch.arange(16, dtype=path.dtype, device=path.device)[:, None] / 16
    fine = (path[:-1, None] + share * (path[1:] - path[:-1])[:, None]).reshape(-1, path.shape[1])
    fine = torch.cat([fine, path[-1:]])
    steps = metric.segment_lengths(fine[:-1], fine[1:], nodes=nodes)
    along = np.concatenate([[0.0], np.cumsum(steps.cpu().numpy())])
    if not np.isfinite(along[-1]) or along[-1] <= 0:
        raise ValueError(f"a path of length {along[-1]} has no equal parts")
    wanted = np.linspace(0, along[-1], count)
    columns = [np.interp(wanted, along, column) for column in fine.cpu().numpy().T]
    result = torch.from_numpy(np.stack(columns, axis=1)).to(path)
    result[0], result[-1] = path[0], path[-1]
    return result


def energy_and_gradient(
    path: Float[Tensor, "n d"], metric: DensityMetric, *, nodes: int = 3
) -> tuple[float, Float[Tensor, "n d"]]:
    """``(n - 1) sum_k L_k^2 / 2`` of a chain of segments of lengths ``L_k``, and its gradient.

    Its least value over chains with given ends is half the squared distance, up to the square of the step, and
    is taken where all ``L_k`` are equal. The gradient needs the score of the density and nothing else of it:
    ``L = |D| S`` with ``S = sum_q w_q exp(phi(x + s_q D))`` and ``phi`` the logarithm of the cost of a step.
    """
    position, weight = (part.to(path) for part in gauss_legendre(nodes))
    step = path[1:] - path[:-1]
    norm = step.norm(dim=1)
    points = path[:-1, None] + position[:, None] * step[:, None]
    phi, slope = metric.log_speed_and_gradient(points)
    cost = weight * phi.exp()
    mean = cost.sum(dim=1)
    length = norm * mean
    direction = step / norm.clamp(min=torch.finfo(path.dtype).tiny)[:, None]
    # Each segment moves with its two ends: by its direction, and by the cost of where it lies.
    pull = mean[:, None] * direction
    first = ((1 - position)[:, None] * cost[..., None] * slope).sum(dim=1) * norm[:, None] - pull
    second = (position[:, None] * cost[..., None] * slope).sum(dim=1) * norm[:, None] + pull
    scale = (len(path) - 1) * length[:, None]
    gradient = torch.zeros_like(path)
    gradient[:-1] += scale * first
    gradient[1:] += scale * second
    return (len(path) - 1) * length.square().sum().item() / 2, gradient


def _sines(count: int, like: Tensor) -> Float[Tensor, "i k"]:
    """Displacements of the inner points along sine waves, scaled to unit Euclidean energy each.

    In these coordinates the Hessian of the Euclidean energy is the identity, whatever the number of points: the
    minimiser needs no more steps for a finer path.
    """
    inner = count - 2
    k = np.arange(1, inner + 1)
    waves = np.sin(np.pi * np.outer(k, k) / (inner + 1)) * np.sqrt(2 / (inner + 1))
    stiffness = 2 * np.sqrt(count - 1) * np.sin(np.pi * k / (2 * (inner + 1)))
    return torch.from_numpy(waves / stiffness).to(like)


def _descend(
    start: Float[Tensor, "n d"], metric: DensityMetric, nodes: int, tolerance: float, max_iterations: int
) -> tuple[Float[Tensor, "n d"], float, int]:
    """Least energy near a chain: its points, the residual and the number of iterations."""
    count, d = start.shape
    basis = _sines(count, start)

    def chain(coefficients: np.ndarray) -> Tensor:
        moved = start.clone()
        moved[1:-1] += basis @ torch.from_numpy(coefficients.reshape(count - 2, d)).to(start)
        return moved

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        # The logarithm: a path across a gap may have to lose many powers of ten.
        energy, gradient = energy_and_gradient(chain(coefficients), metric, nodes=nodes)
        return np.log(energy), (basis.T @ gradient[1:-1] / energy).cpu().numpy().astype(float).ravel()

    options = {
        "maxiter": max_iterations,
        "maxfun": 2 * max_iterations,
        "gtol": tolerance,
        "ftol": 0.0,
        "maxcor": 30,
    }
    found = minimize(loss, np.zeros((count - 2) * d), jac=True, method="L-BFGS-B", options=options)
    return chain(found.x), float(np.abs(found.jac).max()), int(found.nit)


def refine(
    path: Float[Tensor, "m d"],
    metric: DensityMetric,
    *,
    count: int = 65,
    nodes: int = 3,
    tolerance: float = 1e-8,
    max_iterations: int = 500,
    rounds: int = 3,
) -> RefinedPath:
    """Shorten a path with fixed ends until it is a discrete geodesic, and keep the shortest seen.

    Minimises the energy of ``count`` points (``energy_and_gradient``), started from the path resampled at equal
    distances, by L-BFGS on sine waves; where that ends above the tolerance it starts again from its result,
    resampled. Where the path is not straight the straight line between its ends is a second start, and the shorter
    result counts. The length of a chain of segments, measured by adaptive quadrature, is a true upper bound of the
    distance, above it by a share that falls with the square of the step. It is a minimum among nearby chains: that no
    other is shorter nobody knows.

    Args:
        path: from end to end, such as a shortest path on a graph.
        metric: in which to shorten it.
        count: points of the refined path.
        nodes: of the quadrature along each segment.
        tolerance: of ``residual``.
        max_iterations: of the minimiser in a round.
        rounds: starts of the minimiser at most.

    Raises:
        ValueError: on fewer than three points for the refined path, less than one round, or a path that cannot be
            measured.
    """
    if count < 3 or rounds < 1:
        raise ValueError(
            f"count is {count} and rounds {rounds}: at least 3 points (the ends are fixed), 1 round"
        )
    start_length = metric.length(path)
    starts = [path]
    chord = path[-1] - path[0]
    off = (
        path - path[0] - ((path - path[0]) @ chord / chord.square().sum().clamp(min=1e-300))[:, None] * chord
    )
    if off.norm(dim=1).max() > _STRAIGHT * chord.norm():
        starts.append(straight_path(path[0], path[-1], count))
    found = [_refined(start, metric, count, nodes, tolerance, max_iterations, rounds) for start in starts]
    points, least, residual, judged, _ = min(found, key=lambda result: result[1])
    lengths = [result[1] for result in found]
    return RefinedPath(
        points=points if least < start_length else path,
        length=min(least, start_length),
        start_length=start_length,
        converged=residual <= tolerance and judged,
        iterations=sum(result[4] for result in found),
        residual=residual,
        shortened=least < start_length,
        local=max(lengths) > (1 + _APART) * min(lengths),
    )


def _refined(
    path: Float[Tensor, "m d"],
    metric: DensityMetric,
    count: int,
    nodes: int,
    tolerance: float,
    max_iterations: int,
    rounds: int,
) -> tuple[Float[Tensor, "n d"], float, float, bool, int]:
    """The shortest chain seen from one start: points, length, last residual, whether its energy was judged, steps."""
    best, least, points, residual, iterations, judged = path, np.inf, path, np.inf, 0, False
    for _ in range(rounds):
        points, residual, steps = _descend(
            resample(points, metric, count), metric, nodes, tolerance, max_iterations
        )
        iterations += steps
        length = metric.length(points)
        # Where the nodes of the energy miss what is between them, its minimum is none of the length.
        energy, _ = energy_and_gradient(points, metric, nodes=nodes)
        judged = abs(np.sqrt(2 * energy) - length) <= _JUDGED * length
        if length < least:
            best, least = points, length
        if residual <= tolerance:
            break
    return best, least, residual, judged, iterations
