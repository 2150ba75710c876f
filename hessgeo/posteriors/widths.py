"""How wide posteriors are against the cells that are to carry them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hessgeo.grids import Grid

NARROW = (
    0.13  # least variance of a posterior, squared cells: below, its sums over nodes are no longer integrals
)
_EDGE = 1.5  # cells from the edge within which posteriors are cut off


def least_variances(
    t: Float[np.ndarray, "n axis"],
    covariance: Float[np.ndarray, "n axis axis"],
    carrier: Grid,
    *,
    coarser: float = 1.0,
) -> Float[np.ndarray, "source"]:
    """Least variance of each posterior along any direction, squared cells; of sources off the edge if there are any.

    Args:
        t: parameters of the sources.
        covariance: of their posteriors.
        carrier: the nodes whose cells count.
        coarser: cells of samples along each axis that are taken for one.
    """
    cell = np.array(carrier.spacing)
    position = (t - np.array(carrier.extent)[:, 0]) / cell
    inside = ((position > _EDGE) & (position < np.array(carrier.shape) - 1 - _EDGE)).all(axis=1)
    kept = covariance[inside if inside.any() else slice(None)] / (coarser**2 * np.outer(cell, cell))
    return np.linalg.eigvalsh(kept)[:, 0]
