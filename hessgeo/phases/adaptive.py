"""Adaptive sampling: new samples where a boundary is least known, until it is known as well as asked for.

The box is cut into cells whose corners are sampled. What is not known of a cell is where inside it the samples change,
and by how much: the product of its size and of the largest change among its samples. Of a boundary, a jump of one,
that is the error of its place; of a smooth map of slope ``L`` it is ``L s^2`` and soon small. The cells with most of
it are cut in four, so that samples gather on boundaries: about ``length / error`` of them, where a grid needs
``1 / error^2``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Real

from hessgeo.grids import Grid

Sample = Callable[[Float[np.ndarray, "n 2"], Int64[np.ndarray, "n"]], Real[np.ndarray, "n *d"]]

_LEAST_START = 3


@dataclass(frozen=True)
class AdaptiveSamples:
    """Samples at some nodes of a grid, and the cells between them.

    Attributes:
        grid: whose nodes can be sampled.
        index: rows of the nodes that were, in the order of sampling.
        outputs: of the samples: labels ``(n,)``, or vectors ``(n, d)``.
        cells: first and last node of each cell along both axes, ``(cell, 4)``.
        uncertainty: of each cell, change times size; the box has sides of one.
        error: that was asked for.
        rounds: images after each round.
    """

    grid: Grid
    index: Int64[np.ndarray, "n"]
    outputs: Real[np.ndarray, "n *d"]
    cells: Int64[np.ndarray, "cell 4"]
    uncertainty: Float64[np.ndarray, "cell"]
    error: float
    rounds: tuple[int, ...]

    @property
    def t(self) -> Float[np.ndarray, "n 2"]:
        """Parameters of the samples."""
        return self.grid.points[self.index]

    @property
    def reached(self) -> float:
        """The error that was reached: the uncertainty of the least known cell."""
        return float(self.uncertainty.max())

    @property
    def converged(self) -> bool:
        """Whether that is the error asked for; else the images, or the nodes, have run out."""
        return self.reached <= self.error

    def filled(self) -> Real[np.ndarray, "nodes *d"]:
        """Outputs at all nodes of the grid: samples where there are, and within a cell what its corners say.

        Vectors are bilinear between the corners. A label is that of the nearest corner.
        """
        labels = self.outputs.ndim == 1
        out = np.zeros((*self.grid.shape, *self.outputs.shape[1:]), dtype=self.outputs.dtype)
        rows = _rows(self.grid, self.index)
        sizes = np.maximum(self.cells[:, 1] - self.cells[:, 0], self.cells[:, 3] - self.cells[:, 2])
        for a0, a1, b0, b1 in self.cells[
            np.argsort(-sizes, kind="stable")
        ]:  # finer ones last: they know edges better
            corners = self.outputs[rows[np.ix_([a0, a1], [b0, b1])]]
            u, v = (np.linspace(0, 1, last - first + 1) for first, last in ((a0, a1), (b0, b1)))
            if labels:
                block = corners[np.ix_((u > 0.5).astype(int), (v > 0.5).astype(int))]
            else:
                weights = [np.stack([1 - w, w], axis=1) for w in (u, v)]
                block = np.einsum("ip,jq,pqd->ijd", *weights, corners)
            out[a0 : a1 + 1, b0 : b1 + 1] = block
        flat = out.reshape(self.grid.size, *self.outputs.shape[1:])
        flat[self.index] = self.outputs
        return flat


def sample_adaptively(
    sample: Sample,
    grid: Grid,
    *,
    error: float,
    start: int | tuple[int, int] = 9,
    images: int | None = None,
) -> AdaptiveSamples:
    """Sample nodes of a grid, most densely where the outputs change, until the change is placed to within ``error``.

    Each round cuts every cell whose uncertainty is above the error asked for, and samples the new corners in one batch.
    A cell counts all samples on its edges, so that a boundary is followed into cells whose own corners agree. What no
    sample has seen is not looked for: phases smaller than a cell of the first round may be missed.

    Args:
        sample: from parameters and rows of nodes to labels (whole numbers, ``(n,)``) or vectors ``(n, d)`` such as
            embeddings; a node has the same row, and so the same noise, as in a study on the whole grid.
        grid: of two axes; its nodes are the finest there can be, and only those asked for are sampled.
        error: product of change and distance, for a box with sides of one: of labels, the distance to within which a
            boundary is to be placed.
        start: nodes along each axis in the first round.
        images: at most; where they run out, the least known cells have been cut first.

    Raises:
        ValueError: if an argument is out of range, or the outputs are not one a sample, finite, and of one shape.
    """
    steps = _steps(grid, error, start, images)
    new, _ = next(steps)
    while True:
        try:
            new, _ = steps.send(np.asarray(sample(grid.points[new], new)))
        except StopIteration as end:
            found: AdaptiveSamples = end.value
            return found


def resume(
    grid: Grid,
    index: Int64[np.ndarray, "n"],
    outputs: Real[np.ndarray, "n *d"],
    *,
    error: float,
    start: int | tuple[int, int],
    images: int | None = None,
) -> tuple[AdaptiveSamples, Int64[np.ndarray, "m"]]:
    """How far samples that are there have come in ``sample_adaptively``, and the nodes of the next round.

    Args:
        grid: as there.
        index: rows of the nodes that are sampled, in any order; those of the first round are among them.
        outputs: of these.
        error: as there.
        start: as there.
        images: as there.

    Returns:
        The samples up to the last round that is complete, and the nodes that are still to be sampled of the next one:
        none if it has ended.

    Raises:
        ValueError: as ``sample_adaptively``, and if a node of the first round is missing.
    """
    steps, at = _steps(grid, error, start, images), _rows(grid, index).ravel()
    new, found = next(steps)
    while (at[new] >= 0).all():
        try:
            new, found = steps.send(outputs[at[new]])
        except StopIteration as end:
            return end.value, np.empty(0, dtype=np.int64)
    if found is None:
        raise ValueError(f"{int((at[new] < 0).sum())} nodes of the first round have no sample")
    return found, new[at[new] < 0]


Steps = Generator[tuple[np.ndarray, AdaptiveSamples | None], np.ndarray, AdaptiveSamples]


def _steps(grid: Grid, error: float, start: int | tuple[int, int], images: int | None) -> Steps:
    """The nodes of each round and what was found before; is sent their outputs, and gives what was found in the end."""
    first = tuple(start) if isinstance(start, tuple | list) else (start, start)
    if (
        len(grid.shape) != 2
        or len(first) != 2
        or not all(isinstance(some, int | np.integer) for some in first)
        or not all(_LEAST_START <= some <= nodes for some, nodes in zip(first, grid.shape, strict=True))
    ):
        raise ValueError(
            f"start must lie in {_LEAST_START}..{min(grid.shape)} nodes of two axes, not {start}"
        )
    if not error > 0:
        raise ValueError(f"error must be positive, not {error}")
    if images is not None and not images >= first[0] * first[1]:
        raise ValueError(f"images must be at least start^2 = {first[0] * first[1]}, not {images}")
    a, b = (
        np.round(np.linspace(0, nodes - 1, some)).astype(int)
        for some, nodes in zip(first, grid.shape, strict=True)
    )
    cells = np.array([(*p, *q) for p in pairwise(a) for q in pairwise(b)])
    index = np.sort((a[:, None] * grid.shape[1] + b).ravel())
    outputs = _checked((yield index, None), index, None)
    rounds = [len(index)]
    while True:
        rows = _rows(grid, index)
        uncertainty = _uncertainty(cells, rows, outputs, grid)
        found = AdaptiveSamples(grid, index, outputs, cells, uncertainty, error, tuple(rounds))
        due = (uncertainty > error) & (np.ptp(cells[:, :2], axis=1) + np.ptp(cells[:, 2:], axis=1) > 2)
        chosen = _affordable(cells, uncertainty, due, rows, None if images is None else images - len(index))
        if not chosen.any():
            return found
        cells = np.concatenate([cells[~chosen], *(_quarters(cell) for cell in cells[chosen])])
        new = _missing(cells, rows)
        if len(new):
            outputs = np.concatenate([outputs, _checked((yield new, found), new, outputs)])
            index = np.append(index, new)
            rounds.append(len(index))


def _rows(grid: Grid, index: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "a b"]:
    """Number of the sample at each node, -1 where there is none."""
    rows = np.full(grid.size, -1)
    rows[index] = np.arange(len(index))
    return rows.reshape(grid.shape)


def _checked(outputs: np.ndarray, index: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    like = outputs.shape[1:] if before is None else before.shape[1:]
    whole = outputs.dtype.kind in "iu"
    if (
        outputs.shape[:1] != index.shape
        or outputs.shape[1:] != like
        or outputs.dtype.kind not in "iuf"
        or outputs.ndim != (1 if whole else 2)
    ):
        raise ValueError(
            f"sample must give {len(index)} labels (whole numbers), or vectors of one length, "
            f"not {outputs.dtype} of shape {outputs.shape}"
        )
    if not np.isfinite(outputs).all():
        raise ValueError(f"sample gave values that are not finite, of {len(index)} samples")
    return outputs


def _uncertainty(
    cells: np.ndarray, rows: np.ndarray, outputs: np.ndarray, grid: Grid
) -> Float64[np.ndarray, "cell"]:
    """Change times size of each cell."""
    found = np.empty(len(cells))
    steps = np.array(grid.shape) - 1
    for k, (a0, a1, b0, b1) in enumerate(cells):
        block = rows[a0 : a1 + 1, b0 : b1 + 1]
        here = outputs[block[block >= 0]]
        size = max((a1 - a0) / steps[0], (b1 - b0) / steps[1])
        found[k] = size * (float((here != here[0]).any()) if here.ndim == 1 else _diameter(here))
    return found


def _diameter(vectors: Float[np.ndarray, "n d"]) -> float:
    """Largest distance between two of some vectors."""
    far = vectors[:, None] - vectors[None]
    return float(np.sqrt(np.einsum("ijd,ijd->ij", far, far, dtype=float).max()))


def _affordable(
    cells: np.ndarray, uncertainty: np.ndarray, due: np.ndarray, rows: np.ndarray, left: int | None
) -> Bool[np.ndarray, "cell"]:
    """Of the cells that are due the least known, as many as the images that are left will do for."""
    if left is None:
        return due
    chosen = np.zeros(len(cells), dtype=bool)
    new: set[int] = set()
    for k in np.argsort(-uncertainty, kind="stable"):
        if due[k]:
            wanted = new | set(_missing(_quarters(cells[k]), rows).tolist())
            if len(wanted) > left:
                break
            chosen[k], new = True, wanted
    return chosen


def _quarters(cell: Int64[np.ndarray, "4"]) -> Int64[np.ndarray, "part 4"]:
    """The cell cut at its middle nodes; along a side of one step it is not cut."""
    sides = []
    for first, last in (cell[:2], cell[2:]):
        middle = (first + last) // 2
        sides.append([(first, middle), (middle, last)] if first < middle else [(first, last)])
    return np.array([(*a, *b) for a in sides[0] for b in sides[1]])


def _missing(cells: Int64[np.ndarray, "cell 4"], rows: np.ndarray) -> Int64[np.ndarray, "n"]:
    """Corners of cells that have no sample yet."""
    a, b = cells[:, [0, 0, 1, 1]].ravel(), cells[:, [2, 3, 2, 3]].ravel()
    free = rows[a, b] < 0
    return np.unique(a[free] * rows.shape[1] + b[free])
