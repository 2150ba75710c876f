"""Repair of a field of matrices that are not positive definite: explicit, and counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter

from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import eigenvalues, in_units


@dataclass(frozen=True)
class Repaired:
    """A repaired field.

    Attributes:
        metric: the field, smallest eigenvalue at least ``floor``.
        repaired: where a matrix was changed.
        count: at how many places.
        floor: the least eigenvalue.
    """

    metric: Float[np.ndarray, "*batch 2 2"]
    repaired: Bool[np.ndarray, "*batch"]
    count: int
    floor: float


Units = Float[np.ndarray, "2"] | tuple[float, float]


def repair(g: Float[np.ndarray, "*batch 2 2"], *, floor: float, units: Units = (1.0, 1.0)) -> Repaired:
    """Raise the eigenvalues below ``floor`` to it, eigenvectors kept.

    The nearest matrix (in the Frobenius norm) among those whose eigenvalues are at least ``floor``.

    Args:
        g: symmetric matrices.
        floor: least eigenvalue of ``in_units(g, units)``, positive; see ``relative_floor``.
        units: of the parameters, in which eigenvalues are compared, such as ``grid.square``.

    Raises:
        ValueError: if an entry is not finite, which no floor repairs, or the floor is not positive.
    """
    if not floor > 0:
        raise ValueError(f"floor is {floor}, must be positive")
    if not np.isfinite(g).all():
        bad = int((~np.isfinite(g).all(axis=(-2, -1))).sum())
        raise ValueError(
            f"{bad} of {g[..., 0, 0].size} matrices have entries that are not finite: no floor repairs them"
        )
    values, vectors = np.linalg.eigh(in_units(g, units))
    low = values[..., 0] < floor
    raised = (vectors * np.maximum(values, floor)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    raised = raised / np.outer(units, units)
    # What needs no repair stays as it is to the last bit.
    return Repaired(np.where(low[..., None, None], raised, g), low, int(low.sum()), float(floor))


def relative_floor(
    g: Float[np.ndarray, "*batch 2 2"], fraction: float = 1e-3, *, units: Units = (1.0, 1.0)
) -> float:
    """A floor in proportion to a field: ``fraction`` of the median of its largest eigenvalue.

    Raises:
        ValueError: if that median is not positive.
    """
    median = float(np.median(eigenvalues(in_units(g, units))[..., 1]))
    if not median > 0:
        raise ValueError(
            f"the median of the largest eigenvalue is {median}, must be positive to set a floor by"
        )
    return fraction * median


def repaired_field(
    g: Float[np.ndarray, "na nb 2 2"], grid: Grid, *, smoothing: float, floor: float
) -> Repaired:
    """A metric at the nodes of a grid at the resolution that paths are solved at: filtered, then repaired.

    A Gaussian filter over a Hessian is the Hessian of the filtered potential. Without it the metric changes by orders
    of magnitude from node to node, which neither the grid nor a path can resolve.

    Args:
        g: the metric, on the nodes of ``grid``.
        grid: the nodes; eigenvalues are compared in units in which it is square.
        smoothing: width of the filter, nodes; none if 0.
        floor: see ``relative_floor``.
    """
    smooth = gaussian_filter(g, (smoothing, smoothing, 0, 0), mode="nearest") if smoothing > 0 else g
    return repair(smooth, floor=relative_floor(smooth, floor, units=grid.square), units=grid.square)
