"""How far a curve misses the geodesic equation."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.metrics.base import Metric
from hessgeo.metrics.curvature import christoffel_of


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
    g, first = metric.slope(inner)
    regular = torch.isfinite(g).all(dim=-1).all(dim=-1) & (torch.linalg.cholesky_ex(g)[1] == 0)
    whole = torch.where(regular[..., None, None], g, torch.eye(g.shape[-1]).to(g))
    second = second + torch.einsum("...kij,...i,...j->...k", christoffel_of(whole, first), tangent, tangent)
    norm, speed = (torch.einsum("...i,...ij,...j->...", v, g, v).clamp(min=0) for v in (second, tangent))
    segments = points.shape[1] - 1
    residual = segments * (norm / torch.where(speed > 0, speed, 1.0)).sqrt()
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
