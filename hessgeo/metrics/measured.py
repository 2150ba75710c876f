"""Metrics measured directly, with no potential: from embeddings, and from the widths of the posterior."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from hessgeo.grids import Grid
from hessgeo.posteriors.base import Posterior


def embedding_metric(
    embedding: Float[np.ndarray, "na nb d"], grid: Grid, *, smoothing: float = 0.0
) -> Float[np.ndarray, "na nb 2 2"]:
    """Pull-back ``g_ij = <d_i E, d_j E>`` of the Euclidean metric of embeddings, per unit of ``N``.

    Under the feature posterior (Eq. 19) ``D_F(t, t') = |E(t) - E(t')|^2 / 2``, whose second-order part is this metric.
    Central differences over two cells (one-sided at the edge), so it sees no structure below the grid's spacing.

    Args:
        embedding: of every node.
        grid: the nodes.
        smoothing: width of a Gaussian filter over the embeddings first, in cells: the metric at that resolution.
    """
    e = np.asarray(embedding, dtype=float)
    if smoothing > 0:
        for axis in (0, 1):
            e = gaussian_filter1d(e, smoothing, axis=axis, mode="nearest")
    slopes = np.stack([np.gradient(e, step, axis=k) for k, step in enumerate(grid.spacing)], axis=-2)
    return slopes @ np.swapaxes(slopes, -1, -2)


def posterior_metric(posterior: Posterior) -> Float[np.ndarray, "n 2 2"]:
    """``(N Cov_P[t | t_i])^-1``: the metric that the width of each source's posterior shows, per unit of ``N``.

    Equal to the Fisher metric where the posterior is Gaussian, narrow against the box and wide against a cell
    (Theorem 3.1 to second order). A source whose posterior sits on one node, or on a line, has none: NaN.
    """
    covariance = posterior.covariance
    aa, bb, ab = covariance[:, 0, 0], covariance[:, 1, 1], covariance[:, 0, 1]
    determinant = aa * bb - ab**2
    usable = determinant > 1e-12 * np.maximum(aa, bb) ** 2
    adjugate = np.stack([np.stack([bb, -ab], axis=-1), np.stack([-ab, aa], axis=-1)], axis=-2)
    safe = np.where(usable, determinant, 1.0)
    inverse = adjugate / (safe * posterior.resolution)[:, None, None]
    return np.where(usable[:, None, None], inverse, np.nan)
