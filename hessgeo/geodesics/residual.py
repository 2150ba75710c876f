"""How far a curve misses the geodesic equation."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.geodesics.mesh import Mesh
from hessgeo.metrics.base import Metric


def geodesic_residual(
    metric: Metric, points: Float[Tensor, "m n d"], tangents: Float[Tensor, "m n d"]
) -> Float[Tensor, "m n-2"]:
    """Residual of the geodesic equation at the inner points, ``L |x'' + Gamma(x', x')| / |x'|^2``, dimensionless.

    The acceleration is that of the polynomial through points and tangents of five neighbours (of four beside the ends);
    lengths and norms are those of the metric. Zero for a geodesic at constant speed; zero where a curve has no length;
    infinite where the metric is not positive definite.
    """
    inner, tangent = points[:, 1:-1], tangents[:, 1:-1]
    second = _second_difference(points, tangents)
    return (points.shape[1] - 1) * _turning(metric, inner, tangent, second)


def mesh_residual(
    metric: Metric, mesh: Mesh, points: Float[Tensor, "p d"], velocity: Float[Tensor, "p d"]
) -> Float[Tensor, "p"]:
    """The same at every point of curves of any mesh, zero at their ends; ``velocity`` is ``dx / ds``."""
    end = mesh.width.cumsum(0)
    place = torch.zeros_like(points[:, 0]).index_copy(0, mesh.first, end - mesh.width)
    place = place.index_copy(0, mesh.first + 1, end)
    after = (
        mesh.segments.cumsum(0)[mesh.of_point] + mesh.of_point - torch.arange(len(points)).to(mesh.of_point)
    )
    before = mesh.segments[mesh.of_point] - after
    second = torch.zeros_like(points)
    for low in (1, 2):
        for high in (1, 2):
            chosen = (before.clamp(max=2) == low) & (after.clamp(max=2) == high)
            rows = torch.nonzero(chosen)[:, 0]
            if len(rows):
                beside = rows[:, None] + torch.arange(-low, high + 1, device=rows.device)
                of_points, of_slopes = _uneven_weights(place[beside] - place[rows, None])
                parts = of_points[..., None] * points[beside] + of_slopes[..., None] * velocity[beside]
                second[rows] = parts.sum(dim=1)
    rate = _turning(metric, points, velocity, second)
    return rate.masked_fill(mesh.edge, 0.0).nan_to_num(torch.inf)


def _uneven_weights(x: Float[Tensor, "p k"]) -> tuple[Float[Tensor, "p k"], Float[Tensor, "p k"]]:
    """``_hermite_weights`` for offsets of each point's own."""
    scale = x.abs().amax(dim=1, keepdim=True)
    powers = torch.arange(2 * x.shape[1]).to(x)
    values = (x / scale)[..., None] ** powers
    slopes = powers * (x / scale)[..., None] ** (powers - 1).clamp(min=0)
    second = torch.where(powers == 2, 2.0, 0.0).to(x).expand(len(x), -1)
    weights = torch.linalg.solve(torch.cat([values, slopes], dim=1).mT, second)
    of_points, of_slopes = weights.split(x.shape[1], dim=1)
    return of_points / scale**2, of_slopes / scale


def _turning(
    metric: Metric, inner: Float[Tensor, "*batch d"], tangent: Float[Tensor, "*batch d"], second: Tensor
) -> Float[Tensor, "*batch"]:
    """``|x'' + Gamma(x', x')| / |x'|``; zero where there is no speed, infinite where the metric is broken."""
    g, along, _ = metric.speed_jet(inner, tangent)
    regular = torch.isfinite(g).all(dim=-1).all(dim=-1) & (torch.linalg.cholesky_ex(g)[1] == 0)
    whole = torch.where(regular[..., None, None], g, torch.eye(g.shape[-1]).to(g))
    # <Gamma(v, v), w> = (d_v g)(v, w) - (d_w g)(v, v) / 2.
    lowered = (along @ tangent[..., None])[..., 0] - (tangent[..., None, :] @ along)[..., 0, :] / 2
    second = second + torch.linalg.solve_ex(whole, lowered)[0]
    norm, speed = (torch.einsum("...i,...ij,...j->...", v, g, v).clamp(min=0) for v in (second, tangent))
    residual = (norm / torch.where(speed > 0, speed, 1.0)).sqrt()
    return torch.where(regular, torch.where(speed > 0, residual, 0.0), torch.inf)


def _second_difference(
    points: Float[Tensor, "m n d"], tangents: Float[Tensor, "m n d"]
) -> Float[Tensor, "m n-2 d"]:
    """``d^2 x / dr^2`` at the inner points, ``r`` counting segments."""
    count = points.shape[1]
    result = torch.empty_like(points[:, 1:-1])
    # First inner point, the bulk, last inner point: as many neighbours on either side as there are, at most two.
    for low, high in ((1, 2), (2, count - 2), (max(2, count - 2), count - 1)):
        if low >= high:
            continue
        offsets = tuple(range(max(-2, -low), min(2, count - high) + 1))
        of_points, of_tangents = (w.to(points) for w in _hermite_weights(offsets))
        result[:, low - 1 : high - 1] = sum(
            of_points[j] * points[:, low + k : high + k] + of_tangents[j] * tangents[:, low + k : high + k]
            for j, k in enumerate(offsets)
        )
    return result


@cache
def _hermite_weights(offsets: tuple[int, ...]) -> tuple[Float[Tensor, "k"], Float[Tensor, "k"]]:
    """Weights of values and slopes at the offsets that give the second derivative at zero of their polynomial."""
    x, powers = np.array(offsets, dtype=float), np.arange(2 * len(offsets))
    values = x[:, None] ** powers
    slopes = powers * x[:, None] ** np.maximum(powers - 1, 0)
    second = np.where(powers == 2, 2.0, 0.0)
    weights = torch.from_numpy(np.linalg.solve(np.vstack([values, slopes]).T, second))
    return weights[: len(offsets)], weights[len(offsets) :]
