"""Metrics measured directly, with no potential: from embeddings, and from the widths of the posterior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from hessgeo.grids import Grid
from hessgeo.posteriors.base import Posterior

_LEAST_WIDTH = 1e-7  # of a posterior, share of that of all points: below, rounding

# A function of i: the features of the nodes (i, 0) to (i, nb - 1), or of node i of a line, in any precision.
FeatureRows = Callable[[int], Float[np.ndarray, "nb d"]]


def embedding_metric(
    embedding: Float[np.ndarray, "*nodes d"] | FeatureRows,
    grid: Grid,
    *,
    smoothing: float = 0.0,
    block: int = 256,
) -> Float[np.ndarray, "*nodes axis axis"]:
    """Pull-back ``g_ij = <d_i E, d_j E>`` of the Euclidean metric of embeddings, per unit of ``N``.

    Under the feature posterior (Eq. 19) ``D_F(t, t') = |E(t) - E(t')|^2 / 2``, whose second-order part is this metric.
    Central differences over two cells (one-sided at the edge), so it sees no structure below the grid's spacing.

    Filter and differences are linear along each axis, and the metric is a sum over features. So it needs the rows that
    reach one another alone (three, and four times ``smoothing`` more on both sides), a block of features at a time, and
    is summed in double precision.

    Args:
        embedding: of every node; or a function that makes one row of nodes, called once for each in their order, for
            features that would not fit in memory.
        grid: the nodes.
        smoothing: width of a Gaussian filter over the embeddings first, in cells: the metric at that resolution.
        block: features at a time; another number rounds differently, no more.
    """
    if len(grid.shape) == 1:
        _, slope = _value_and_slope(grid.shape[0], grid.spacing[0], smoothing)
        nodes = np.stack([embedding(i) for i in range(grid.size)]) if callable(embedding) else embedding
        return np.square(slope @ nodes.astype(float)).sum(axis=1)[:, None, None]
    make = embedding if callable(embedding) else np.asarray(embedding).__getitem__
    along_a, along_b = (
        _value_and_slope(count, step, smoothing) for count, step in zip(grid.shape, grid.spacing, strict=True)
    )
    field = np.zeros((*grid.shape, 2, 2))
    window: dict[int, np.ndarray] = {}
    for row in range(grid.shape[0]):
        reach = np.flatnonzero(along_a[:, row].any(axis=0)).tolist()
        window = {place: features for place, features in window.items() if place >= reach[0]}
        for later in range(max(window, default=-1) + 1, reach[-1] + 1):
            window[later] = make(later)
        for first in range(0, window[row].shape[1], block):
            part = np.stack([window[place][:, first : first + block] for place in reach]).astype(float)
            value, slope = np.tensordot(along_a[:, row, reach], part, axes=1)
            slopes = np.stack([along_b[0] @ slope, along_b[1] @ value])
            field[row] += np.einsum("ind,jnd->nij", slopes, slopes)
    return field


def _value_and_slope(count: int, step: float, smoothing: float) -> Float[np.ndarray, "2 count count"]:
    """What makes of values at the nodes of an axis the filtered values, and their slopes."""
    value = np.eye(count)
    if smoothing > 0:
        value = gaussian_filter1d(value, smoothing, axis=0, mode="nearest")
    return np.stack([value, np.gradient(value, step, axis=0)])


def posterior_metric(posterior: Posterior) -> Float[np.ndarray, "n axis axis"]:
    """``(N Cov_P[t | t_i])^-1``: the metric that the width of each source's posterior shows, per unit of ``N``.

    Equal to the Fisher metric where the posterior is Gaussian, narrow against the box and wide against a cell
    (Theorem 3.1 to second order). A source whose posterior sits on one node, or on a line, has none: NaN. That is
    judged by its correlation, and by its widths against those of all points, in whatever units.
    """
    covariance = posterior.covariance
    least = (_LEAST_WIDTH * np.ptp(posterior.points, axis=0)) ** 2
    if len(least) == 1:
        usable = covariance > least
        return np.where(usable, 1 / (np.where(usable, covariance, 1.0) * posterior.resolution), np.nan)
    aa, bb, ab = covariance[:, 0, 0], covariance[:, 1, 1], covariance[:, 0, 1]
    determinant = aa * bb - ab**2
    usable = (determinant > 1e-12 * aa * bb) & (aa > least[0]) & (bb > least[1])
    adjugate = np.stack([np.stack([bb, -ab], axis=-1), np.stack([-ab, aa], axis=-1)], axis=-2)
    safe = np.where(usable, determinant, 1.0)
    inverse = adjugate / (safe * posterior.resolution)[:, None, None]
    return np.where(usable[:, None, None], inverse, np.nan)
