"""The dimension of the boundary between phases, by three estimators that share no step but the window.

Boxes of side ``s`` that hold the boundary number ``N(s) ~ s^-D``. On a grid two things bend that law for curves and
fractals alike, and neither is there here. The edge of the window: all scales are counted over the same places, those
whose largest box lies inside. The grid: a box is looked at by the same number of nodes at every scale, ``(k + 1)^2``,
so that what falls between nodes is the same share at every scale of a self-similar boundary and drops out of the
slope. All positions of a box are averaged. A straight line meets a box exactly where its corners differ: its counts
have the slope one at every scale, whatever its angle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Integer
from scipy import ndimage
from scipy.stats import t as student

_REACH = (
    16  # the largest scale is the window's shorter side by this; nearer to its size, the whole bends the law
)
_LEAST = 8  # or so many grid steps
_FILLED = (
    0.8  # of places whose box holds the boundary: more, and boxes no longer tell how much of it there is
)
_FEW = 4.0  # boxes at the coarsest scale
_SPAN = 2.5  # least ratio of the largest to the smallest scale
_DRAWS = 300  # of blocks
_KERNEL_REACH = 2.5  # standard deviations of the kernel that lie inside the window for sure


@dataclass(frozen=True)
class Dimension:
    """A dimension with its interval of 95 %, and what its slope was read from.

    Attributes:
        value: NaN where no slope can be read: no boundary, one that fills the window, or too few scales.
        low: lower end of the interval.
        high: upper end.
        scales: sides of boxes, widths or distances that were used, in grid steps.
        counts: what was counted at each: boxes, neighbours of a boundary point, or share of unlike pairs.
    """

    value: float
    low: float
    high: float
    scales: Float64[np.ndarray, "scale"]
    counts: Float64[np.ndarray, "scale"]

    @property
    def resolved(self) -> bool:
        """Whether there is a value."""
        return bool(np.isfinite(self.value))


def box_dimension(labels: Integer[np.ndarray, "a b"]) -> Dimension:
    """Box-counting dimension of the boundary between labels, ``N(s) ~ s^-D``.

    ``N(s)`` is the area of the places of a box that holds two labels, over ``s^2``: the mean over all offsets. Scales
    at which four fifths of all places do, or fewer than four boxes, are left out. The interval joins three errors: of
    the part of the boundary that is seen (bootstrap of blocks as wide as the largest box), of the scatter about the
    law (one independent scale an octave), and of the nodes that look at a box (half the change with half as many).

    Args:
        labels: of the nodes of a grid with square cells; at least 24 nodes along each side.

    Raises:
        ValueError: if the map is no such array.
    """
    largest = _checked(labels)
    looks = 4 if largest >= 32 else 2 if largest >= 16 else 1
    block = _nearest_blocks(labels, largest)
    found = _box_counts(labels, looks, largest, block)
    if looks == 1 or not found.resolved:
        return found
    other = _box_counts(labels, looks // 2, largest, block)
    return _widened(found, (other.value - found.value) / 2)


def correlation_dimension(labels: Integer[np.ndarray, "a b"]) -> Dimension:
    """Correlation dimension of the points of the boundary, ``C(w) ~ w^D`` (Grassberger & Procaccia 1983).

    ``C(w)`` is the mean over boundary points of ``sum_j exp(-|x_i - x_j|^2 / 2 w^2)``; a Gaussian kernel instead of
    a disc makes sums over a lattice as good as integrals (Diks 1996). A boundary point is a cell of four nodes that do
    not agree.

    Args:
        labels: of the nodes of a grid with square cells; at least 24 nodes along each side.

    Raises:
        ValueError: if the map is no such array.
    """
    largest = _checked(labels)
    points = _mixed(labels, 1, 1).astype(np.float32)
    widths = _geometric(3.0 if largest >= 32 else 2.0 if largest >= 16 else 1.0, largest / _KERNEL_REACH)
    inset = int(np.ceil(_KERNEL_REACH * widths[-1]))
    columns = []
    for width in widths:
        level = max(0, int(np.log2(width / 4)))  # pooled, a width has 4 to 8 cells
        pooled = _pooled(points, level)
        spread = ndimage.gaussian_filter(pooled, width / 2**level, mode="constant") * (
            2 * np.pi * (width / 2**level) ** 2
        )
        block = _blocks(pooled.shape, inset / 2**level, largest / 2**level)
        columns.append(
            np.bincount(block[block >= 0], weights=(pooled * spread)[block >= 0], minlength=block.max() + 1)
        )
    blocks = max(len(column) for column in columns)
    sums = np.stack([np.pad(column, (0, blocks - len(column))) for column in columns], axis=1)
    inside = _blocks(points.shape, inset, largest)
    total = points[inside >= 0].sum()
    if total < _FEW * largest:
        return _nothing()
    return _slope(widths, sums, sums.sum(axis=0) / total, lambda slope: slope)


def uncertainty_exponent(labels: Integer[np.ndarray, "a b"]) -> Dimension:
    """Dimension by the share of pairs at a distance ``e`` in different phases, ``f(e) ~ e^(2 - D)``.

    (Grebogi, McDonald, Ott & Yorke 1983.) Pairs lie along rows, columns and both diagonals, with their middle in the
    same window at all distances. A graph is rough along one axis only, so the direction of the largest dimension
    counts, together with those that agree with it within their intervals. Nodes are seen as they are, so the grid
    takes no part.

    Args:
        labels: of the nodes of a grid with square cells; at least 24 nodes along each side.

    Raises:
        ValueError: if the map is no such array.
    """
    largest = _checked(labels)
    block = _nearest_blocks(labels, largest)
    found = [_pair_shares(labels, way, largest, block) for way in ((0, 1), (1, 0), (1, 1), (1, -1))]
    seen = [dimension for dimension in found if dimension.resolved]
    if not seen:
        return _nothing()
    steepest = max(seen, key=lambda dimension: dimension.value)
    agreeing = [one for one in seen if one.high >= steepest.low]
    value = float(np.mean([one.value for one in agreeing]))
    half = float(np.mean([one.high - one.value for one in agreeing]))
    return replace(steepest, value=value, low=value - half, high=value + half)


def _checked(labels: np.ndarray) -> int:
    """The largest scale of a map, grid steps."""
    if (
        np.ndim(labels) != 2
        or not np.issubdtype(np.asarray(labels).dtype, np.integer)
        or min(labels.shape) < 24
    ):
        raise ValueError(
            "labels must be whole numbers on a grid of at least 24 x 24 nodes, "
            f"not {getattr(labels, 'dtype', type(labels).__name__)} of shape {np.shape(labels)}"
        )
    return max(min(labels.shape) // _REACH, _LEAST)


def _geometric(first: float, last: float) -> np.ndarray:
    """Scales from the first to at most the last, four an octave."""
    return first * 2 ** (np.arange(int(4 * np.log2(last / first) + 1e-9) + 1) / 4)


def _whole(first: int, last: int) -> np.ndarray:
    return np.unique(np.round(_geometric(first, last + 0.49)).astype(int))


def _mixed(labels: np.ndarray, step: int, looks: int) -> Bool[np.ndarray, "a-step*looks b-step*looks"]:
    """Whether the ``(looks + 1)^2`` nodes, ``step`` apart, of the box at each place do not agree."""
    rows, columns = labels.shape[0] - step * looks, labels.shape[1] - step * looks
    down = np.zeros((rows, labels.shape[1]), dtype=bool)
    across = np.zeros((rows, columns), dtype=bool)
    for k in range(1, looks + 1):
        down |= labels[k * step : k * step + rows] != labels[:rows]
        across |= labels[:rows, k * step : k * step + columns] != labels[:rows, :columns]
    for k in range(looks + 1):
        across |= down[:, k * step : k * step + columns]
    return across


def _inner(field: np.ndarray, shape: tuple[int, int], largest: int) -> np.ndarray:
    """Of a field on the places of a box those about which the largest box fits: as many at every scale."""
    trim = [(have - (nodes - largest)) // 2 for have, nodes in zip(field.shape, shape, strict=True)]
    return field[trim[0] : trim[0] + shape[0] - largest, trim[1] : trim[1] + shape[1] - largest]


def _blocks(shape: tuple[int, ...], inset: float, side: float) -> Integer[np.ndarray, "a b"]:
    """Number of the block of each node, -1 within ``inset`` of the edge; blocks are squares of about ``side``."""
    axes = []
    for nodes in shape:
        place = np.arange(nodes) + 0.5 - inset
        count = max(1, round((nodes - 2 * inset) / side))
        inside = (place > 0) & (place < nodes - 2 * inset)
        axes.append((np.where(inside, (place * count / (nodes - 2 * inset)).astype(int), -1), count))
    (a, _), (b, count) = axes
    return np.where((a[:, None] < 0) | (b < 0), -1, a[:, None] * count + b)


def _nearest_blocks(labels: np.ndarray, largest: int) -> Integer[np.ndarray, "a b"]:
    """Block of the boundary point nearest to each place that counts: so each block obeys the law by itself."""
    points = np.pad(_mixed(labels, 1, 1), ((0, 1), (0, 1)))
    block = _blocks(labels.shape, 0, largest)
    if points.any():
        nearest = ndimage.distance_transform_edt(~points, return_distances=False, return_indices=True)
        block = block[tuple(nearest)]
    half = largest // 2
    return block[half : half + labels.shape[0] - largest, half : half + labels.shape[1] - largest]


def _block_sums(block: np.ndarray, fields: list[np.ndarray]) -> Float64[np.ndarray, "block scale"]:
    sums = [np.bincount(block[field], minlength=int(block.max()) + 1) for field in fields]
    return np.stack(sums, axis=1).astype(float)


def _box_counts(labels: np.ndarray, looks: int, largest: int, block: np.ndarray) -> Dimension:
    steps = _whole(1, largest // looks)
    fields = [_inner(_mixed(labels, int(step), looks), labels.shape, largest) for step in steps]
    sides = (steps * looks).astype(float)
    sums = _block_sums(block, fields)
    boxes = sums.sum(axis=0) / sides**2
    kept = (sums.sum(axis=0) / fields[0].size <= _FILLED) & (boxes >= _FEW)
    return _slope(sides[kept], sums[:, kept], boxes[kept], lambda slope: 2 - slope)


def _pair_shares(
    labels: np.ndarray, direction: tuple[int, int], largest: int, block: np.ndarray
) -> Dimension:
    steps = _whole(1, largest)
    fields = []
    for step in steps:
        down, across = step * direction[0], step * direction[1]
        rows, columns = labels.shape[0] - down, labels.shape[1] - abs(across)
        here = labels[:rows, max(0, -across) : max(0, -across) + columns]
        there = labels[down:, max(0, across) : max(0, across) + columns]
        fields.append(_inner(here != there, labels.shape, largest))
    distances = steps * float(np.hypot(*direction))
    sums = _block_sums(block, fields)
    shares = sums.sum(axis=0) / fields[0].size
    # Of two labels at random half the pairs differ.
    kept = (shares <= _FILLED / 2) & (shares * fields[0].size / distances >= _FEW)
    return _slope(distances[kept], sums[:, kept], shares[kept], lambda slope: 2 - slope)


def _pooled(points: np.ndarray, level: int) -> np.ndarray:
    """Sums over squares of ``2^level`` nodes; what is left over at the ends makes smaller ones."""
    for axis in (0, 1):
        points = np.add.reduceat(points, np.arange(0, points.shape[axis], 2**level), axis=axis)
    return points


def _nothing() -> Dimension:
    return Dimension(np.nan, np.nan, np.nan, np.empty(0), np.empty(0))


def _slope(
    scales: np.ndarray, sums: np.ndarray, counts: np.ndarray, dimension: Callable[[float], float]
) -> Dimension:
    """Dimension from the slope of block sums against scales, with the interval of both errors."""
    occupied = sums[(sums > 0).any(axis=1)]
    if len(scales) < 4 or scales[-1] < _SPAN * scales[0] or not len(occupied):
        return _nothing()
    x = np.log(scales) - np.log(scales).mean()
    weights = np.random.default_rng(0).multinomial(
        len(occupied), [1 / len(occupied)] * len(occupied), size=_DRAWS
    )
    drawn = weights @ occupied
    drawn = np.log(drawn[(drawn > 0).all(axis=1)])
    whole = np.log(occupied.sum(axis=0))
    slope = whole @ x / (x @ x)
    blocks = (
        student.ppf(0.975, max(len(occupied) - 1, 1)) * (drawn @ x / (x @ x)).std()
        if len(drawn) > 1
        else np.inf
    )
    rest = whole - whole.mean() - slope * x
    octaves = max(np.log2(scales[-1] / scales[0]), 1.0)
    scatter = student.ppf(0.975, octaves) * np.sqrt((rest @ rest) / len(rest) * len(x) / octaves / (x @ x))
    value, half = float(dimension(slope)), float(np.hypot(blocks, scatter))
    return Dimension(value, value - half, value + half, scales, counts)


def _widened(found: Dimension, by: float) -> Dimension:
    if not np.isfinite(by):
        return found
    half = float(np.hypot(found.high - found.value, by))
    return replace(found, low=found.value - half, high=found.value + half)
