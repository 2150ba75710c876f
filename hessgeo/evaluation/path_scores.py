"""Scores of paths, as in Table 2: lengths in feature spaces, turning, and what differs between two ways of going."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats
from scipy.ndimage import maximum_filter, minimum_filter

from hessgeo.grids import Grid


def path_length(features: Float[np.ndarray, "m n d"]) -> Float[np.ndarray, "m"]:
    """Length of paths in a feature space, ``sum_k |f_{k+1} - f_k|``, over the points given and no others.

    More points of the same path give a longer sum, so paths are compared at equally many; the unit is the features'
    own (unit vectors of an embedding, grey values of pixels).

    Raises:
        ValueError: if a path has fewer than two points.
    """
    return _steps(features, least=2).sum(axis=1)


def step_deviation(features: Float[np.ndarray, "m n d"]) -> Float[np.ndarray, "m"]:
    """Deviation of the steps ``|f_{k+1} - f_k|`` of each path from their mean; zero where all are as long.

    Its mean over paths is the interpolation standard deviation (ISTD) of Guo et al. (2023, Smooth Diffusion), who take
    it in pixels of straight ways between latents. Like them we divide by the number of steps. The unit is the
    features' own, and more points of the same path have shorter steps: compare paths at equally many.

    Raises:
        ValueError: if a path has fewer than three points, whose one step deviates from nothing.
    """
    return _steps(features, least=3).std(axis=1)


def _steps(features: Float[np.ndarray, "m n d"], *, least: int) -> Float[np.ndarray, "m n-1"]:
    if features.ndim != 3 or features.shape[1] < least:
        raise ValueError(
            f"features of paths have shape {features.shape}, must be (m, n, d) with n at least {least}"
        )
    return np.linalg.norm(np.diff(np.asarray(features, dtype=float), axis=1), axis=2)


def perceptual_path_length(
    here: Float[np.ndarray, "m k d"],
    ahead: Float[np.ndarray, "m k d"],
    *,
    epsilon: float,
    clip: tuple[float, float] | None = None,
) -> Float[np.ndarray, "m"]:
    """``mean_k |f(s_k + epsilon) - f(s_k)|^2 / epsilon^2`` of each path (Karras et al. 2019): its energy in features.

    Args:
        here: features at ``s_k``.
        ahead: features at ``s_k + epsilon``.
        epsilon: share of the path, ``s`` running from 0 to 1 (StyleGAN: 1e-4 of the latent interpolation).
        clip: quantiles of all values of all paths beyond which a value is left out (StyleGAN: ``(0.01, 0.99)``); None
            keeps all.

    Returns:
        One value a path; NaN where clipping leaves none.

    Raises:
        ValueError: on shapes that differ, an ``epsilon`` that is not positive, or quantiles that do not rise.
    """
    if here.shape != ahead.shape or here.ndim != 3:
        raise ValueError(f"features have shapes {here.shape}, {ahead.shape}, must both be (m, k, d)")
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon}, must be positive")
    if clip is not None and not 0 <= clip[0] < clip[1] <= 1:
        raise ValueError(f"clip is {clip}, must be two quantiles that rise from 0 to 1")
    values = ((np.asarray(ahead, dtype=float) - here) ** 2).sum(axis=2) / epsilon**2
    kept = np.ones(values.shape, dtype=bool)
    if clip is not None:
        low, high = np.quantile(values, clip)
        kept = (values >= low) & (values <= high)
    count = kept.sum(axis=1)
    total = np.where(kept, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def draw_shares(pairs: int, count: int, *, epsilon: float, seed: int) -> Float[np.ndarray, "pairs count"]:
    """Random places on paths for ``perceptual_path_length``, one uniform in each of ``count`` equal parts.

    The parts fill ``[0, 1 - epsilon]``, so that ``s + epsilon`` is on the path too; their mean has the expectation of a
    mean over independent places, and scatters less. Pair ``i`` depends on ``(seed, i)`` alone.

    Args:
        pairs: paths of a method.
        count: places on each.
        epsilon: share of the path that is to be left after each place.
        seed: of the draw; independent of ``draw_pairs`` at the same seed.

    Raises:
        ValueError: if ``epsilon`` leaves nothing, or there are no places.
    """
    if not 0 < epsilon < 1 or count < 1:
        raise ValueError(f"epsilon is {epsilon}, must be between 0 and 1; count is {count}, at least 1")
    unit = np.random.Generator(np.random.Philox(key=np.array([seed, 1], dtype=np.uint64))).random(
        (pairs, count)
    )
    return (1 - epsilon) * (np.arange(count) + unit) / count


def points_at(
    track: Float[np.ndarray, "m n 2"], shares: Float[np.ndarray, "m k"]
) -> Float[np.ndarray, "m k 2"]:
    """Points at shares in [0, 1] of paths, linear between the points of a track that are even in the share."""
    segments = track.shape[1] - 1
    low = np.clip(np.floor(shares * segments).astype(int), 0, segments - 1)
    first, last = (np.take_along_axis(track, low[..., None] + k, axis=1) for k in (0, 1))
    rest = (shares * segments - low)[..., None]
    return first * (1 - rest) + last * rest


def bend(points: Float[np.ndarray, "m n 2"]) -> Float[np.ndarray, "m"]:
    """Largest distance of a path from the chord between its ends, relative to the chord; zero for a straight line.

    Raises:
        ValueError: if a path ends where it starts.
    """
    chord = points[:, -1] - points[:, 0]
    size = np.linalg.norm(chord, axis=1)
    if not np.all(size > 0):
        raise ValueError(
            f"{int(np.sum(size == 0))} paths end where they start: they have no chord to bend from"
        )
    off = points - points[:, :1]
    across = np.abs(off[..., 0] * chord[:, None, 1] - off[..., 1] * chord[:, None, 0])
    return across.max(axis=1) / size**2


def turning_by_place(
    points: Float[np.ndarray, "m n 2"], marked: Bool[np.ndarray, "m n"]
) -> Float[np.ndarray, "m 2"]:
    """Turning angle per unit of Euclidean length, of the part of each path that is not marked and of the part that is.

    The angle at a point counts to the point; to its length belong half the segments beside it.

    Args:
        points: of each path.
        marked: such as points near a phase boundary.

    Returns:
        ``(unmarked, marked)`` in radians per unit of ``t``; NaN where a path has no such part.
    """
    steps = np.diff(points, axis=1)
    before, after = steps[:, :-1], steps[:, 1:]
    cross = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
    angles = np.arctan2(np.abs(cross), (before * after).sum(axis=2))
    lengths = (np.linalg.norm(before, axis=2) + np.linalg.norm(after, axis=2)) / 2
    result = np.full((len(points), 2), np.nan)
    for column, part in enumerate((~marked[:, 1:-1], marked[:, 1:-1])):
        whole = np.where(part, lengths, 0.0).sum(axis=1)
        turned = np.where(part, angles, 0.0).sum(axis=1)
        np.divide(turned, whole, out=result[:, column], where=whole > 0)
    return result


def within_one_phase(
    label: Int[np.ndarray, "na nb"],
    grid: Grid,
    starts: Float[np.ndarray, "m 2"],
    ends: Float[np.ndarray, "m 2"],
) -> Bool[np.ndarray, "m"]:
    """Whether both points of each pair lie in the same phase, by the label of the nearest node."""
    flat = np.asarray(label).ravel()
    return flat[grid.nearest(starts)] == flat[grid.nearest(ends)]


def near_boundary(
    label: Int[np.ndarray, "na nb"], grid: Grid, points: Float[np.ndarray, "*batch 2"], *, cells: int = 2
) -> Bool[np.ndarray, "*batch"]:
    """Whether a node of another phase lies within ``cells`` nodes, along either axis, of a point's nearest node."""
    label = np.asarray(label)
    size = 2 * cells + 1
    mixed = maximum_filter(label, size, mode="nearest") != minimum_filter(label, size, mode="nearest")
    flat = points.reshape(-1, 2)
    return mixed.ravel()[grid.nearest(flat)].reshape(points.shape[:-1])


@dataclass(frozen=True)
class MeanInterval:
    """A mean, or a difference of means, with its confidence interval.

    Attributes:
        mean: such as of paired differences.
        low, high: ends of the interval.
        count: values, pairs or both sets of values together that it is of; those with a NaN are left out.
    """

    mean: float
    low: float
    high: float
    count: int


def mean_interval(values: Float[np.ndarray, "m"], *, confidence: float = 0.95) -> MeanInterval:
    """Mean of the values that are finite, with Student's interval; see ``paired_difference``."""
    return paired_difference(values, np.zeros_like(values), confidence=confidence)


def independent_difference(
    a: Float[np.ndarray, "m"], b: Float[np.ndarray, "n"], *, confidence: float = 0.95
) -> MeanInterval:
    """Mean of ``a`` less mean of ``b``, two sets of independent values, with Welch's interval.

    Returns:
        The interval is NaN where a set has fewer than two finite values, and a point if neither set scatters.
    """
    a, b = (np.asarray(values, dtype=float)[np.isfinite(values)] for values in (a, b))
    count = len(a) + len(b)
    if min(len(a), len(b)) < 1:
        return MeanInterval(np.nan, np.nan, np.nan, count)
    mean = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return MeanInterval(mean, np.nan, np.nan, count)
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return MeanInterval(mean, mean, mean, count)
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(confidence)
    return MeanInterval(mean, float(low), float(high), count)


def paired_difference(
    a: Float[np.ndarray, "m"],
    b: Float[np.ndarray, "m"],
    *,
    confidence: float = 0.95,
    method: Literal["t", "bootstrap"] = "t",
    resamples: int = 9999,
    seed: int = 0,
) -> MeanInterval:
    """Mean of ``a - b`` over pairs, with a confidence interval.

    Args:
        a: scores of one way, one a pair.
        b: scores of another way, of the same pairs in the same order.
        confidence: of the interval.
        method: ``t`` (exact for normal differences) or ``bootstrap`` (bias-corrected and accelerated, over pairs).
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The interval is NaN with fewer than two pairs, and a point if all differences are the same.

    Raises:
        ValueError: if the scores are not paired, or on an unknown method.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"scores have shapes {a.shape}, {b.shape}, must both be (m,)")
    if method not in ("t", "bootstrap"):
        raise ValueError(f"method is {method!r}, must be t or bootstrap")
    difference = np.asarray(a, dtype=float) - b
    difference = difference[np.isfinite(difference)]
    count = len(difference)
    if count < 2:
        return MeanInterval(float(difference.mean()) if count else np.nan, np.nan, np.nan, count)
    mean = float(difference.mean())
    if np.ptp(difference) == 0:
        return MeanInterval(mean, mean, mean, count)
    if method == "t":
        error = stats.sem(difference)
        low, high = stats.t.interval(confidence, count - 1, loc=mean, scale=error)
    else:
        low, high = stats.bootstrap(
            (difference,),
            np.mean,
            confidence_level=confidence,
            n_resamples=resamples,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return MeanInterval(mean, float(low), float(high), count)


def draw_pairs(
    grid: Grid, count: int, *, seed: int, margin: float = 0.1
) -> tuple[Float[np.ndarray, "count 2"], Float[np.ndarray, "count 2"]]:
    """Pairs of points, uniform in the box less a margin; pair ``i`` depends on ``(seed, i)`` alone.

    Args:
        grid: whose box it is.
        count: pairs.
        seed: of the draw.
        margin: kept free along each side, as a share of the box (published: pairs in ``[.1, .9]^2``).

    Raises:
        ValueError: if the margin leaves nothing.
    """
    if not 0 <= margin < 0.5:
        raise ValueError(f"margin is {margin}, must be at least 0 and below 0.5")
    # One counter-based stream read in order: pair i does not depend on how many follow it.
    unit = np.random.Generator(np.random.Philox(key=seed)).random((count, 2, 2))
    low, high = np.array(grid.extent).T
    points = low + (margin + (1 - 2 * margin) * unit) * (high - low)
    return points[:, 0], points[:, 1]
