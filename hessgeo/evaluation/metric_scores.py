"""Scores of an estimated Fisher metric against a true one, node by node and by the distances it implies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import kendalltau
from scipy.stats import norm as normal

from hessgeo.estimators.estimate import Estimate
from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import positive_definite, relative_difference

Interpolation = Literal["nearest", "bilinear"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear")
BAND = float(normal.ppf(0.975))  # half width of a 95 % bar in standard errors
UPPER = ([0, 0, 1], [0, 1, 1])  # entries of a symmetric matrix, each once
STEPS = 4  # midpoints a cell that a segment crosses


@dataclass(frozen=True)
class MetricScores:
    """How far a metric is from the truth; NaN of what the estimate does not say.

    Attributes:
        median: of the relative Frobenius error ``|g - g*| / |g*|`` over the interior nodes, the box made a square.
        percentile_90: of the same.
        coverage: share of the entries ``g_11, g_12, g_22`` of interior nodes within 1.96 standard errors of the truth.
        indefinite: share of all nodes where the metric is not positive definite.
        distance_mse: mean of ``(d - d*)^2`` over all pairs of nodes (distMSE).
        distance_mse_scaled: the same after the best factor on ``d`` (distMSE_PS).
        distance_rank_error: share of pairs of pairs in the wrong order (distRE).
    """

    median: float
    percentile_90: float
    coverage: float
    indefinite: float
    distance_mse: float
    distance_mse_scaled: float
    distance_rank_error: float


def metric_scores(
    estimate: Estimate,
    truth: Float[np.ndarray, "node 2 2"],
    grid: Grid,
    *,
    truth_error: Float[np.ndarray, "node 2 2"] | None = None,
    margin: int = 1,
    interpolation: Interpolation = "nearest",
) -> MetricScores:
    """Score an estimate's metric against the truth at the nodes of a grid.

    Args:
        estimate: its metric, and standard errors where it has them.
        truth: the exact metric.
        grid: the nodes.
        truth_error: standard errors of a truth that is itself measured; they add to the estimate's, in squares.
        margin: rings of nodes along the edge of the box that are no interior nodes. Distances take all nodes.
        interpolation: of the metric along the segments between nodes.

    Raises:
        ValueError: on shapes that do not match, numbers that are not finite, a margin that leaves no node, or an
            unknown interpolation.
    """
    inside = interior(grid, margin)
    _check("truth", truth, grid)
    if estimate.metric is None:
        return MetricScores(*[math.nan] * 7)
    _check("estimate", estimate.metric, grid)
    errors = relative_difference(estimate.metric, truth, units=grid.square)[inside]
    found, true = (segment_lengths(g, grid, interpolation=interpolation) for g in (estimate.metric, truth))
    return MetricScores(
        median=float(np.median(errors)),
        percentile_90=float(np.percentile(errors, 90)),
        coverage=_coverage(estimate, truth, truth_error, inside),
        indefinite=float(np.mean(~positive_definite(estimate.metric))),
        distance_mse=distance_mse(found, true),
        distance_mse_scaled=distance_mse(found, true, scale=True),
        distance_rank_error=distance_rank_error(found, true),
    )


def constant_metric(truth: Float[np.ndarray, "node 2 2"], grid: Grid) -> Estimate:
    """Zero skill: one metric everywhere, a multiple of the Euclidean one of the unit square that the box becomes.

    Its size is the truth's mean, ``c = mean_n tr(W g_n W) / 2`` with ``W`` the widths of the box; as the constant
    metric of ClassiFIM (arXiv 2408.03323) it knows nothing of directions and places.
    """
    widths = np.ptp(np.array(grid.extent), axis=1)
    size = float(np.mean(np.einsum("nii,i->n", truth, widths**2))) / 2
    return Estimate(metric=np.tile(np.diag(size / widths**2), (grid.size, 1, 1)))


def interior(grid: Grid, margin: int) -> Bool[np.ndarray, "node"]:
    """Which nodes are at least ``margin`` rings away from the edge of the box.

    Raises:
        ValueError: if none is.
    """
    if not 0 <= 2 * margin < min(grid.shape):
        raise ValueError(
            f"margin is {margin}, must lie in 0..{(min(grid.shape) - 1) // 2} on a grid {grid.shape}"
        )
    inside = np.zeros(grid.shape, dtype=bool)
    inside[margin : grid.shape[0] - margin, margin : grid.shape[1] - margin] = True
    return inside.ravel()


def segment_lengths(
    g: Float[np.ndarray, "node 2 2"], grid: Grid, *, interpolation: Interpolation = "nearest"
) -> Float[np.ndarray, "pair"]:
    """Length of the straight segment between every two nodes, ``int_0^1 sqrt(dt' g(t + s dt) dt) ds``.

    By the midpoint rule, four points for every cell that the segment crosses along its longer side. Where the form is
    negative (the metric is indefinite) it counts as zero. Pairs ``(i, j)``, ``i < j``, in the order of
    ``numpy.triu_indices``.

    Args:
        g: the metric at the nodes.
        grid: the nodes.
        interpolation: ``nearest`` takes the metric of the nearest node, as ClassiFIM's scores do; ``bilinear``
            interpolates its entries.

    Raises:
        ValueError: on an unknown interpolation.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation is {interpolation!r}, must be one of {', '.join(INTERPOLATIONS)}")
    first, second = np.triu_indices(grid.size, k=1)
    index = np.stack(np.unravel_index(np.arange(grid.size), grid.shape), axis=1).astype(float)
    cells = np.abs(index[second] - index[first]).max(axis=1).astype(int)
    entries = np.stack([g[:, i, j] for i, j in zip(*UPPER, strict=True)], axis=1)
    length = np.empty(len(first))
    for count in np.unique(cells):
        pairs = np.flatnonzero(cells == count)
        start, step = index[first[pairs]], index[second[pairs]] - index[first[pairs]]
        length[pairs] = _lengths(entries, grid, start, step, STEPS * int(count), interpolation)
    return length


def distance_mse(
    found: Float[np.ndarray, "pair"], true: Float[np.ndarray, "pair"], *, scale: bool = False
) -> float:
    """Mean of ``(c d - d*)^2`` over pairs: ``c = 1``, or with ``scale`` the factor that makes it least."""
    squared = float(found @ found)
    factor = (float(found @ true) / squared if squared > 0 else 0.0) if scale else 1.0
    return float(np.mean((factor * found - true) ** 2))


def distance_rank_error(found: Float[np.ndarray, "pair"], true: Float[np.ndarray, "pair"]) -> float:
    """Share of pairs of pairs that two lists of distances put in different order, in O(n log n).

    From Kendall's tau (Knight 1966). Of the pairs of pairs that the truth tells apart, those that the estimate holds
    equal count one half, as a guess would. Distances that agree to ten digits are equal.
    """
    found, true = _rounded(found), _rounded(true)
    apart, told = _untied(true), _untied(found)
    if not apart or not told:
        return 0.5 if apart else 0.0
    concordance = float(kendalltau(found, true, method="asymptotic").statistic) * math.sqrt(apart * told)
    return (1 - concordance / apart) / 2


def _lengths(
    entries: Float[np.ndarray, "node 3"],
    grid: Grid,
    start: Float[np.ndarray, "pair 2"],
    step: Float[np.ndarray, "pair 2"],
    count: int,
    interpolation: Interpolation,
) -> Float[np.ndarray, "pair"]:
    """Midpoint rule with ``count`` points; positions in units of the grid's spacing."""
    dx, dy = (step * np.array(grid.spacing)).T
    form = np.stack([dx * dx, 2 * dx * dy, dy * dy], axis=1)
    length = np.zeros(len(start))
    for k in range(count):
        position = start + (k + 0.5) / count * step
        if interpolation == "nearest":
            at = entries[_row(grid, np.floor(position + 0.5).astype(int))]
        else:
            at = _bilinear(entries, grid, position)
        length += np.sqrt(np.maximum((at * form).sum(axis=1), 0))
    return length / count


def _bilinear(
    entries: Float[np.ndarray, "node 3"], grid: Grid, position: Float[np.ndarray, "pair 2"]
) -> Float[np.ndarray, "pair 3"]:
    cell = np.clip(np.floor(position).astype(int), 0, np.array(grid.shape) - 2)
    x, y = (position - cell).T[..., None]
    corner = [entries[_row(grid, cell + np.array([da, db]))] for da in (0, 1) for db in (0, 1)]
    return (1 - x) * ((1 - y) * corner[0] + y * corner[1]) + x * ((1 - y) * corner[2] + y * corner[3])


def _row(grid: Grid, index: Int[np.ndarray, "pair 2"]) -> Int[np.ndarray, "pair"]:
    return index[:, 0] * grid.shape[1] + index[:, 1]


def _rounded(values: Float[np.ndarray, "pair"]) -> Int[np.ndarray, "pair"]:
    """Ten digits of the largest, as whole numbers: else rounding would order distances that are equal."""
    return np.rint(values / max(float(np.abs(values).max()), np.finfo(float).tiny) * 1e10).astype(np.int64)


def _untied(values: Int[np.ndarray, "pair"]) -> int:
    """Number of pairs of entries that differ."""
    _, counts = np.unique(values, return_counts=True)
    n = len(values)
    return n * (n - 1) // 2 - int((counts * (counts - 1) // 2).sum())


def _coverage(
    estimate: Estimate,
    truth: Float[np.ndarray, "node 2 2"],
    truth_error: Float[np.ndarray, "node 2 2"] | None,
    inside: Bool[np.ndarray, "node"],
) -> float:
    if estimate.metric_error is None:
        return math.nan
    variance = estimate.metric_error**2 + (0.0 if truth_error is None else truth_error**2)
    covered = np.abs(estimate.metric - truth) <= BAND * np.sqrt(variance)
    return float(np.mean(covered[inside][:, UPPER[0], UPPER[1]]))


def _check(name: str, g: Float[np.ndarray, "node 2 2"], grid: Grid) -> None:
    if g.shape != (grid.size, 2, 2):
        raise ValueError(f"the metric of the {name} has shape {g.shape}, must be {(grid.size, 2, 2)}")
    if not np.isfinite(g).all():
        raise ValueError(f"the metric of the {name} holds a number that is not finite")
