"""What noise alone makes of a field: the level of it, and the ridges that it would show."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from scipy.stats import gumbel_r, norm

_FIELDS = 120  # of pure noise that the level is taken from
_SIDE = 64  # of these at most; a larger field has more extremes, of which the level of Gaussian ones is known
_SEED = 20
_KERNEL = np.array([1.0, -2.0, 1.0])


def noise_level(height: Float[np.ndarray, "*nodes"]) -> float:
    """Standard deviation of what changes from node to node: the mixed second difference, by its median.

    Of independent noise the difference ``[1, -2, 1] x [1, -2, 1]`` has 6 times the standard deviation, along one axis
    ``[1, -2, 1]`` the root of that; a smooth field
    has next to none, and ridges, which are few, do not move a median (Immerkaer 1996).
    """
    if min(height.shape) < 3:
        return 0.0
    rough = height
    for axis in range(height.ndim):
        rough = ndimage.convolve1d(rough, _KERNEL, axis=axis)
    rough = rough[(slice(1, -1),) * height.ndim]
    return float(np.median(np.abs(rough))) / (6 ** (height.ndim / 2) * norm.ppf(0.75))


@cache
def noise_persistence(shape: tuple[int, ...], smoothing: float, confidence: float) -> float:
    """Persistence that a share ``confidence`` of fields of independent unit noise, smoothed, do not exceed.

    Of the second basin: below it a field of noise has one phase. In units of the noise as ``noise_level`` finds it in
    the field, whose own error counts. The quantile is that of a Gumbel distribution with the mean and the deviation of
    the fields drawn: one of a hundred is the first or second of these alone.

    Args:
        shape: of the field.
        smoothing: standard deviation of the Gaussian filter, grid steps.
        confidence: in (0, 1).
    """
    # As many nodes of a line.
    small = tuple(min(nodes, _SIDE if len(shape) == 2 else _SIDE**2) for nodes in shape)
    rng = np.random.default_rng(_SEED)
    found, deviations = [], []
    for _ in range(_FIELDS):
        rough = rng.standard_normal(small)
        field = ndimage.gaussian_filter(rough, smoothing, mode="nearest")
        found.append(second_persistence(field) / noise_level(rough))
        deviations.append(field.std())
    level = float(gumbel_r.ppf(confidence, *_gumbel(float(np.mean(found)), float(np.std(found)))))
    # The deepest of n independent minima lies sqrt(2 log n) deviations deep.
    cell = max(1.0, (4 * np.pi * smoothing**2) ** (len(shape) / 2))
    depth = [np.sqrt(2 * np.log(max(n / cell, np.e))) for n in (np.prod(small), np.prod(shape))]
    return level + float(np.mean(deviations)) * (depth[1] - depth[0])


def _gumbel(mean: float, deviation: float) -> tuple[float, float]:
    """Place and scale of a Gumbel distribution of some mean and deviation."""
    scale = np.sqrt(6) / np.pi * deviation
    return mean - np.euler_gamma * scale, max(scale, np.finfo(float).tiny)


def second_persistence(height: Float[np.ndarray, "*nodes"]) -> float:
    """Persistence of the second most persistent minimum of a field, zero if there is but one.

    Nodes join in the order of their height; where two basins meet, the one with the shallower bottom ends, after the
    rise from there to the pass. Nodes are neighbours along the axes.
    """
    across = height.shape[-1]
    flat = height.ravel().tolist()
    order = np.argsort(height, axis=None, kind="stable").tolist()
    parent = [-1] * len(flat)

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    longest = 0.0
    for node in order:
        parent[node] = node
        column = node % across
        beside = (
            node - across,
            node + across if node + across < len(flat) else -1,
            node - 1 if column else -1,
            node + 1 if column + 1 < across else -1,
        )
        for other in beside:
            if other < 0 or parent[other] < 0:
                continue
            one, two = root(node), root(other)
            if one == two:
                continue
            if flat[one] > flat[two]:
                one, two = two, one
            longest = max(longest, flat[node] - flat[two])
            parent[two] = one
    return longest
