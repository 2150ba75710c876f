"""Diagnostics that stand beside every metric: definiteness, distance from Hessian form, disagreement of two metrics."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from hessgeo.grids import Grid

_ROUNDING = (
    64 * np.finfo(float).eps
)  # of an entry of a metric: what changes by less from node to node is constant


def eigenvalues(g: Float[np.ndarray, "*batch axis axis"]) -> Float[np.ndarray, "*batch axis"]:
    """Eigenvalues of symmetric 2 x 2 matrices, ascending; of one parameter the entry itself."""
    if g.shape[-1] == 1:
        return g[..., 0]
    half_trace = (g[..., 0, 0] + g[..., 1, 1]) / 2
    radius = np.hypot((g[..., 0, 0] - g[..., 1, 1]) / 2, g[..., 0, 1])
    # The one that is nearer to zero is the determinant over the other: a difference would lose its digits.
    far = half_trace + np.copysign(radius, half_trace)
    safe = np.where(far == 0, 1.0, far)
    near = np.where(
        far == 0, 0.0, g[..., 0, 0] * (g[..., 1, 1] / safe) - g[..., 0, 1] * (g[..., 1, 0] / safe)
    )
    return np.where(
        half_trace[..., None] >= 0, np.stack([near, far], axis=-1), np.stack([far, near], axis=-1)
    )


def positive_definite(g: Float[np.ndarray, "*batch axis axis"]) -> Bool[np.ndarray, "*batch"]:
    """Whether the smallest eigenvalue is above zero (False for NaN); the same in whatever units."""
    if g.shape[-1] == 1:
        return g[..., 0, 0] > 0
    aa, bb = g[..., 0, 0], g[..., 1, 1]
    good = (aa > 0) & (bb > 0)
    root = np.sqrt(np.where(good, aa, 1.0)) * np.sqrt(np.where(good, bb, 1.0))
    return good & (np.abs(g[..., 0, 1]) < root)


def in_units(
    g: Float[np.ndarray, "*batch axis axis"], units: Float[np.ndarray, "axis"] | tuple[float, ...]
) -> Float[np.ndarray, "*batch axis axis"]:
    """The metric in parameters that are counted in units ``w``: ``W g W``."""
    return g * np.outer(units, units)


def codazzi_residual(
    g: Float[np.ndarray, "na nb 2 2"],
    grid: Grid,
    *,
    connection: Float[np.ndarray, "na nb 2 2 2"] | None = None,
) -> float:
    """How far a gridded metric is from the Hessian of any potential in these coordinates, between 0 and 1.

    A metric is a Hessian in the coordinates given if and only if ``d_k g_ij`` is symmetric in all three indices. The
    residual is the share of ``sum_ijk (d_k g_ij)^2`` outside the totally symmetric part, as a root: 0 for a Hessian
    metric; a field with independent random components scores about ``sqrt(1/3) = 0.58``. The sides of the box are the
    units, so that those of the parameters do not count. A metric that is constant up to rounding is Hessian: 0.

    Args:
        g: metric at the nodes; nodes whose differences meet a NaN are left out.
        grid: the nodes.
        connection: ``[m, i, k]``, Christoffel symbols of other coordinates' flat connection: the residual is then that
            of ``D_k g_ij``, the derivative in these, and vanishes if the metric is a Hessian there.

    Raises:
        ValueError: if no node is left.
    """
    scaled = in_units(g, grid.square)
    along = [np.gradient(scaled, 1 / (nodes - 1), axis=k) for k, nodes in enumerate(grid.shape)]
    slopes = np.stack(along, axis=-1)
    if connection is not None:
        sides = np.ptp(np.array(grid.extent), axis=1)
        turned = np.einsum("abmik,abmj->abijk", connection, g) * sides
        turned = turned * np.outer(grid.square, grid.square)[:, :, None]
        slopes = slopes - turned - np.swapaxes(turned, 2, 3)
    slopes = slopes[np.isfinite(slopes).all(axis=(-3, -2, -1))]
    if not slopes.size:
        raise ValueError("the Codazzi residual needs a node whose differences are finite")
    total, size = float((slopes**2).sum()), np.nanmax(np.abs(scaled)) * max(grid.shape)
    if total <= (_ROUNDING * size) ** 2 * slopes.size:
        return 0.0
    symmetric = (slopes + np.moveaxis(slopes, -1, -2) + np.moveaxis(slopes, -1, -3)) / 3
    return float(np.sqrt(((slopes - symmetric) ** 2).sum() / total))


def relative_difference(
    g: Float[np.ndarray, "*batch axis axis"],
    reference: Float[np.ndarray, "*batch axis axis"],
    *,
    units: Float[np.ndarray, "axis"] | tuple[float, float] = (1.0, 1.0),
) -> Float[np.ndarray, "*batch"]:
    """Frobenius norm of ``g - reference``, relative to that of ``reference``, per point.

    Args:
        g: the metric.
        reference: what to hold it against.
        units: of the parameters, such as ``grid.square``: the norm depends on their ratio.
    """
    g, reference = in_units(g, units), in_units(reference, units)
    return np.linalg.norm(g - reference, axis=(-2, -1)) / np.linalg.norm(reference, axis=(-2, -1))
