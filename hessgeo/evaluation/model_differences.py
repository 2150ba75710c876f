"""What differs between two models on the same latents: phases, their boundaries, metrics, images.

A grid of cells is no sample of independent ones, for neighbours are alike: intervals come from a bootstrap over square
blocks of cells (Kuensch 1989), not over cells. Boundaries are measured in grid steps and metrics by a distance that no
change of coordinates moves, so that nothing here depends on the units of the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from hessgeo.phases.agreement import rand_of_table

KEPT = 0.95  # the share of cells from which on a model keeps what another has


@dataclass(frozen=True)
class Interval:
    """A number with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Blocks:
    """Square blocks of cells, resampled with replacement.

    Attributes:
        of: block of each cell, from 0.
        draws: how often each resample has each block.
        confidence: of the intervals.
    """

    of: Int[np.ndarray, "*nodes"]
    draws: Float[np.ndarray, "resample block"]
    confidence: float

    @classmethod
    def over(
        cls,
        shape: tuple[int, ...],
        *,
        side: int = 8,
        resamples: int = 1000,
        confidence: float = 0.95,
        seed: int,
    ) -> Blocks:
        """Blocks that part a grid into ``side`` along each axis, fewer where it has fewer nodes.

        Args:
            shape: of the grid.
            side: blocks along each axis.
            resamples: number of resamples.
            confidence: of the intervals, in (0, 1).
            seed: of the resamples.
        """
        parts = [np.arange(nodes) * min(side, nodes) // nodes for nodes in shape]
        count = [min(side, nodes) for nodes in shape]
        of = np.ravel_multi_index(tuple(np.meshgrid(*parts, indexing="ij")), count)
        total = int(np.prod(count))
        draws = np.random.default_rng(seed).multinomial(total, np.full(total, 1 / total), size=resamples)
        return cls(of, draws.astype(float), confidence)

    def interval(self, value: float, resampled: Float[np.ndarray, "resample"]) -> Interval:
        """A number and the percentiles of its resamples; those that are not a number are left out."""
        tail = (1 - self.confidence) / 2
        low, high = np.nanquantile(resampled, [tail, 1 - tail])
        # A percentile interval may miss the number itself where all resamples lie on one side of it.
        return Interval(value, min(float(low), value), max(float(high), value))

    def share(self, holds: Bool[np.ndarray, "cell"], of: Int[np.ndarray, "cell"] | None = None) -> Interval:
        """Share of cells for which something holds.

        Args:
            holds: of each cell.
            of: block of each of them, where they are no nodes.
        """
        place = (self.of if of is None else of).ravel()
        count = self.draws.shape[1]
        all_cells = np.bincount(place, minlength=count)
        true_cells = np.bincount(place, weights=holds.ravel(), minlength=count)
        drawn = self.draws @ all_cells
        shares = np.divide(self.draws @ true_cells, drawn, where=drawn > 0, out=np.full(len(drawn), np.nan))
        return self.interval(float(np.mean(holds)), shares)


def matched_labels(
    first: Int[np.ndarray, "*nodes"], other: Int[np.ndarray, "*nodes"]
) -> Int[np.ndarray, "*nodes"]:
    """``other`` with its phases called as those of ``first`` that they overlap most in all, one to one.

    The assignment keeps as many cells as any can (Kuhn 1955). Phases without a partner get numbers beyond all of
    ``first``.

    Args:
        first: phase of each node, from 1.
        other: the same.
    """
    table = _meetings(first, other)
    here, there = linear_sum_assignment(-table)
    names = np.zeros(table.shape[1], dtype=int)
    for p, q in zip(here, there, strict=True):
        names[q] = p + 1 if table[p, q] else 0
    nameless = np.flatnonzero(names == 0)
    names[nameless] = table.shape[0] + 1 + np.arange(len(nameless))
    return names[other - 1]


def _meetings(
    first: Int[np.ndarray, "*nodes"], other: Int[np.ndarray, "*nodes"], blocks: Blocks | None = None
) -> Float64[np.ndarray, "*block p q"]:
    """How often each phase meets each other one, in each block if there are any."""
    if first.shape != other.shape:
        raise ValueError(f"phases lie on grids of {first.shape} and {other.shape} nodes, must be the same")
    rows, columns = int(first.max()), int(other.max())
    place = (first.ravel() - 1) * columns + other.ravel() - 1
    if blocks is None:
        return np.bincount(place, minlength=rows * columns).reshape(rows, columns).astype(float)
    count = blocks.draws.shape[1]
    counts = np.bincount(blocks.of.ravel() * rows * columns + place, minlength=count * rows * columns)
    return counts.reshape(count, rows, columns).astype(float)


def agreement(first: Int[np.ndarray, "*nodes"], other: Int[np.ndarray, "*nodes"], blocks: Blocks) -> Interval:
    """Adjusted Rand index of the phases of two models, with its interval over blocks of cells."""
    table = _meetings(first, other, blocks)
    resampled = np.einsum("rb,bpq->rpq", blocks.draws, table)
    return blocks.interval(float(rand_of_table(table.sum(axis=0))), rand_of_table(resampled))


@dataclass(frozen=True)
class BoundaryShift:
    """How far the boundaries of two models lie apart, in grid steps.

    Attributes:
        median: of the distance from a place on a boundary of either to the nearest on one of the other.
        upper: the 90th percentile of that.
        there: the largest from the first to the other (one side of Hausdorff's distance).
        back: the largest from the other to the first.
    """

    median: float
    upper: float
    there: float
    back: float


def boundary_shift(
    first: Int[np.ndarray, "*nodes"], other: Int[np.ndarray, "*nodes"]
) -> BoundaryShift | None:
    """How far boundaries move from one model to another; None where one of them has no boundary and the other has.

    Places on a boundary lie half-way between neighbours of different phase, so that distances are resolved to half a
    grid step.
    """
    here, there = _boundary_places(first), _boundary_places(other)
    if not len(here) and not len(there):
        return BoundaryShift(0.0, 0.0, 0.0, 0.0)
    if not len(here) or not len(there):
        return None
    ahead, back = cKDTree(there).query(here)[0], cKDTree(here).query(there)[0]
    median, upper = np.quantile(np.concatenate([ahead, back]), [0.5, 0.9])
    return BoundaryShift(float(median), float(upper), float(ahead.max()), float(back.max()))


def _boundary_places(label: Int[np.ndarray, "*nodes"]) -> Float64[np.ndarray, "place axis"]:
    """Half-way points between unlike neighbours, in grid steps."""
    found = []
    for axis in range(label.ndim):
        after = np.argwhere(np.diff(label, axis=axis) != 0).astype(float)
        after[:, axis] += 0.5
        found.append(after)
    return np.concatenate(found)


def metric_distance(
    first: Float[np.ndarray, "*nodes i i"], other: Float[np.ndarray, "*nodes i i"]
) -> Float64[np.ndarray, "*nodes"]:
    """Affine-invariant distance of two metrics at each node, NaN where one of them is not positive definite.

    ``sqrt(sum_k log^2 lambda_k)`` over the generalised eigenvalues of ``other v = lambda first v``: the geodesic
    distance in the cone of metrics (Foerstner & Moonen 1999), which is the same in all coordinates. A metric that is
    ``c`` times another lies ``sqrt(d) |log c|`` from it.
    """
    scale = np.sqrt(np.abs(np.diagonal(first, axis1=-2, axis2=-1)))
    scale = np.where(scale > 0, scale, 1.0)
    # In units in which the first has a diagonal of ones: rounding must not decide what is positive.
    one, two = (metric / (scale[..., :, None] * scale[..., None, :]) for metric in (first, other))
    usable = _is_positive(one) & _is_positive(two)
    distance = np.full(usable.shape, np.nan)
    if usable.any():
        root = np.linalg.cholesky(one[usable])
        half = np.linalg.solve(root, two[usable])
        relative = np.linalg.solve(root, np.swapaxes(half, -1, -2))
        values = np.linalg.eigvalsh((relative + np.swapaxes(relative, -1, -2)) / 2)
        sizes = np.log(np.maximum(values, np.finfo(float).tiny))
        distance[usable] = np.sqrt(np.square(sizes).sum(axis=-1))
    return distance


def _is_positive(metric: np.ndarray) -> np.ndarray:
    diagonal = np.diagonal(metric, axis1=-2, axis2=-1)
    positive = np.asarray(np.isfinite(metric).all(axis=(-2, -1)) & (diagonal > 0).all(axis=-1))
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    sound = np.where(positive[..., None, None], metric, np.eye(metric.shape[-1]))
    sound = sound / np.where(positive[..., None, None], scale[..., :, None] * scale[..., None, :], 1.0)
    return positive & (np.linalg.eigvalsh(sound)[..., 0] > 0)


def image_distance(
    first: Float[np.ndarray, "n d"], other: Float[np.ndarray, "n d"]
) -> Float64[np.ndarray, "n"]:
    """Distance between the embeddings of the images that two models make of each latent."""
    if first.shape != other.shape:
        raise ValueError(f"embeddings are of shapes {first.shape} and {other.shape}, must be the same")
    return np.linalg.norm(np.subtract(first, other, dtype=float), axis=1)


def kept_at_half_a_step(label: Int[np.ndarray, "*nodes"]) -> float:
    """Share of cells that would keep their phase if the map moved by half a grid step along each axis.

    A place between four nodes has the phase of one of them, each as likely; of one axis of two.
    """
    base = label[tuple(slice(None, -1) for _ in label.shape)]
    corners = np.stack(
        [
            label[tuple(slice(1, None) if far else slice(None, -1) for far in corner)] == base
            for corner in np.ndindex(*(2,) * label.ndim)
        ]
    )
    return float(corners.mean())


def fewest_that_keep(names: Sequence[str], kept: Sequence[float], *, least: float = KEPT) -> str | None:
    """The farthest of some models, from near to far, that keeps enough as do all before it; None if the first does not.

    Args:
        names: of the models, in their order.
        kept: the share that each keeps.
        least: the share that is enough.
    """
    found = None
    for name, share in zip(names, kept, strict=True):
        if share < least:
            break
        found = name
    return found
