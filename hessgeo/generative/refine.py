"""Shorten a path by the score of the density: from a chain of data points to a smooth geodesic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from hessgeo.generative.conformal import ConformalMetric


@dataclass(frozen=True)
class RefinedPath:
    """A path at equal distances, no longer than the one it came from.

    Attributes:
        points: from end to end, at equal distances in the metric once converged.
        length: in the metric.
        start_length: of the path it came from.
        converged: whether the gradient fell below the tolerance.
        iterations: of the minimiser.
        residual: largest component of the gradient of the energy in the coordinates of the minimiser, as a
            share of the energy: 0 at a discrete geodesic.
        shortened: whether the refined path is the shorter one; where it is not, ``points`` are the path it
            came from.
    """

    points: Float[Tensor, "n d"]
    length: float
    start_length: float
    converged: bool
    iterations: int
    residual: float
    shortened: bool


def resample(
    path: Float[Tensor, "m d"], metric: ConformalMetric, count: int, *, nodes: int = 4
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
    path: Float[Tensor, "n d"], metric: ConformalMetric, *, nodes: int = 3
) -> tuple[float, Float[Tensor, "n d"]]:
    """``(n - 1) sum_k L_k^2 / 2`` of a chain of segments of lengths ``L_k``, and its gradient.

    Its least value over chains with given ends is half the squared distance, up to the square of the step, and
    is taken where all ``L_k`` are equal. The gradient needs the score of the density and nothing else of it:
    ``L = |D| S`` with ``S = sum_q w_q exp(phi(x + s_q D))`` and ``phi`` the logarithm of the cost of a step.
    """
    position, weight = np.polynomial.legendre.leggauss(nodes)
    position, weight = (torch.from_numpy(values).to(path) for values in ((position + 1) / 2, weight / 2))
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


def refine(
    path: Float[Tensor, "m d"],
    metric: ConformalMetric,
    *,
    count: int = 65,
    nodes: int = 3,
    tolerance: float = 1e-8,
    max_iterations: int = 500,
) -> RefinedPath:
    """Shorten a path with fixed ends until it is a discrete geodesic, and keep the shorter of both.

    Minimises the energy of ``count`` points (``energy_and_gradient``), started from the path resampled at equal
    distances, by L-BFGS on sine waves. The length of its chain of segments is a true upper bound of the
    distance, above it by a share that falls with the square of the step.

    Args:
        path: from end to end, such as a shortest path on a graph.
        metric: in which to shorten it.
        count: points of the refined path.
        nodes: of the quadrature along each segment.
        tolerance: of ``residual``.
        max_iterations: of the minimiser.

    Raises:
        ValueError: on fewer than three points for the refined path, or a path that cannot be measured.
    """
    if count < 3:
        raise ValueError(f"count is {count}, must be at least 3: the ends are fixed")
    start = resample(path, metric, count)
    start_length = metric.length(path, nodes=max(nodes, 8))
    basis = _sines(count, start)
    scale = energy_and_gradient(start, metric, nodes=nodes)[0]

    def chain(coefficients: np.ndarray) -> Tensor:
        moved = start.clone()
        moved[1:-1] += basis @ torch.from_numpy(coefficients.reshape(count - 2, -1)).to(start)
        return moved

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        energy, gradient = energy_and_gradient(chain(coefficients), metric, nodes=nodes)
        return energy / scale, (basis.T @ gradient[1:-1] / scale).cpu().numpy().astype(float).ravel()

    options = {"maxiter": max_iterations, "maxfun": 2 * max_iterations, "gtol": tolerance, "ftol": 0.0, "maxcor": 30}
    found = minimize(loss, np.zeros((count - 2) * path.shape[1]), jac=True, method="L-BFGS-B", options=options)
    points = chain(found.x)
    length = metric.length(points, nodes=max(nodes, 8))
    residual = float(np.abs(found.jac).max() / found.fun)
    shortened = length < start_length
    return RefinedPath(
        points=points if shortened else path,
        length=min(length, start_length),
        start_length=start_length,
        converged=residual <= 10 * tolerance,
        iterations=int(found.nit),
        residual=residual,
        shortened=shortened,
    )
