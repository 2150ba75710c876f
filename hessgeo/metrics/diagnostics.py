"""Diagnostics that stand beside every metric: definiteness, distance from Hessian form, disagreement of two metrics."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from hessgeo.grids import Grid


def eigenvalues(g: Float[np.ndarray, "*batch 2 2"]) -> Float[np.ndarray, "*batch 2"]:
    """Eigenvalues of symmetric 2 x 2 matrices, ascending."""
    half_trace = (g[..., 0, 0] + g[..., 1, 1]) / 2
    radius = np.hypot((g[..., 0, 0] - g[..., 1, 1]) / 2, g[..., 0, 1])
    return np.stack([half_trace - radius, half_trace + radius], axis=-1)


def positive_definite(g: Float[np.ndarray, "*batch 2 2"]) -> Bool[np.ndarray, "*batch"]:
    """Whether the smallest eigenvalue is above zero (False for NaN)."""
    return eigenvalues(g)[..., 0] > 0


def codazzi_residual(g: Float[np.ndarray, "na nb 2 2"], grid: Grid) -> float:
    """How far a gridded metric is from the Hessian of any potential in these coordinates, between 0 and 1.

    A metric is a Hessian in the coordinates given if and only if ``d_k g_ij`` is symmetric in all three indices. The
    residual is the share of ``sum_ijk (d_k g_ij)^2`` outside the totally symmetric part, as a root: 0 for a Hessian
    metric; a field with independent random components scores about ``sqrt(1/3) = 0.58``.

    Args:
        g: metric at the nodes; nodes whose differences meet a NaN are left out.
        grid: the nodes.

    Raises:
        ValueError: if no node is left, or the metric is constant.
    """
    slopes = np.stack([np.gradient(g, step, axis=k) for k, step in enumerate(grid.spacing)], axis=-1)
    slopes = slopes[np.isfinite(slopes).all(axis=(-3, -2, -1))]
    total = float((slopes**2).sum())
    if total == 0:
        raise ValueError("the Codazzi residual needs a metric that varies over at least one finite node")
    symmetric = (slopes + np.moveaxis(slopes, -1, -2) + np.moveaxis(slopes, -1, -3)) / 3
    return float(np.sqrt(((slopes - symmetric) ** 2).sum() / total))


def relative_difference(
    g: Float[np.ndarray, "*batch 2 2"], reference: Float[np.ndarray, "*batch 2 2"]
) -> Float[np.ndarray, "*batch"]:
    """Frobenius norm of ``g - reference``, relative to that of ``reference``, per point."""
    return np.linalg.norm(g - reference, axis=(-2, -1)) / np.linalg.norm(reference, axis=(-2, -1))
