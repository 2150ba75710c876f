"""Values of samples on the nodes of a grid; apart from fits, whose libraries take seconds to import."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hessgeo.grids import Grid, bilinear_weights


def to_grid(
    values: Float[np.ndarray, "n *item"], t: Float[np.ndarray, "n axis"], grid: Grid
) -> Float[np.ndarray, "*nodes_and_item"]:
    """Mean of the samples' values around each node, by bilinear weights; NaN where a node has no sample.

    Samples with a NaN are left out. If the samples are the nodes, these are their values.
    """
    flat = np.asarray(values, dtype=float).reshape(len(t), -1)
    usable = np.isfinite(flat).all(axis=1)
    weights = bilinear_weights(t[usable], grid)
    total = np.asarray(weights.sum(axis=0)).ravel()
    # A weight of rounding size is a node's own coordinate missed by a rounding, not a sample beside it.
    covered = total > 1e-9
    mean = np.full((grid.size, flat.shape[1]), np.nan)
    mean[covered] = (weights.T @ flat[usable])[covered] / total[covered, None]
    return mean.reshape(*grid.shape, *np.shape(values)[1:])
