"""When a boundary is decided: where the density of a sampler's states, half-way between two phases, gets a valley."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from hessgeo.phases.history import Decision, neighbours, tiles_of
from hessgeo.phases.segment import boundary_places

NORMAL_WIDTH = 1.5  # grid steps over which a boundary's direction is taken, which single nodes do not have
Pair = tuple[int, int]


def crossings(
    latents: Float[np.ndarray, "a b *latent"], final: Int[np.ndarray, "a b"]
) -> dict[Pair, Float[np.ndarray, "place 2"]]:
    """The direction, in grid steps, in which latents go straight across each boundary at each of its nodes.

    It is ``G^-1 n`` of unit length, with ``n`` the normal of the final map and ``G`` the metric of the latents, which
    is smooth: that of later states jumps from one node to the next where they have fallen apart.

    Args:
        latents: the states of the first step on the nodes.
        final: the final phases.

    Returns:
        By the two phases, smaller label first, a row for each node of theirs that has a neighbour of the other.
    """
    slopes = _slopes(latents, final.shape)
    metric = np.einsum("iabd,jabd->abij", slopes, slopes)
    found = {}
    for pair in neighbours(final):
        places = boundary_places(final, pair)
        sides = np.where(final == pair[0], 1.0, 0.0) - (final == pair[1])
        smooth = ndimage.gaussian_filter(sides, NORMAL_WIDTH, mode="nearest")
        normal = np.stack(np.gradient(smooth), axis=-1)[places]
        across = np.einsum("pij,pj->pi", np.linalg.pinv(metric[places], hermitian=True), normal)
        length = np.linalg.norm(across, axis=1, keepdims=True)
        found[pair] = np.divide(across, length, out=np.zeros_like(across), where=length > 0)
    return found


def crossing_curvature(
    state: Float[np.ndarray, "a b *latent"],
    clean: Float[np.ndarray, "a b *latent"],
    last: Float[np.ndarray, "a b *latent"],
    final: Int[np.ndarray, "a b"],
    across: dict[Pair, Float[np.ndarray, "place 2"]],
    *,
    signal: float,
) -> dict[Pair, Float[np.ndarray, "place"]]:
    """How the log density of a step's states bends between both sides of each boundary, at each of its nodes.

    Of the state ``x = alpha x_0 + sigma z`` the predicted clean image is ``D(x) = E[x_0 | x]``, whose Jacobian ``J`` is
    symmetric, and by Tweedie's formula ``sigma^2 d^2 log p / de^2 = alpha <e, J e> - 1`` along a unit direction ``e``.
    Negative: between the phases the density has its top, they are one; positive: a valley, and both sides fall apart.
    Two modes at ``+-m`` of width ``s`` have it turn where ``alpha^2 = 1 / (1 + m^2 - s^2)``.

    ``e`` is the direction in which the images differ in the end. A slice hardly moves along it at first: of many
    dimensions it spans two. But neighbours on the slice give ``J dx = dD``, and so ``<e, J e> = <e, dD> / <e, dx>`` if
    ``e`` is an eigenvector of ``J``, as the line from mode to mode is half-way between them, however ``dx`` lies.

    Args:
        state: the states of a step on the nodes.
        clean: the predicted clean latents.
        last: those of the last step.
        final: the final phases.
        across: the directions on the grid, see ``crossings``.
        signal: ``alpha``.

    Returns:
        ``sigma^2`` times the second derivative at each place; -1, as of pure noise, where the states do not move along
        ``e``.
    """
    moved = [_slopes(values, final.shape) for values in (state, clean, last)]
    found = {}
    for pair, direction in across.items():
        places = boundary_places(final, pair)
        x, d, e = (np.einsum("pi,ipd->pd", direction, slopes[:, places]) for slopes in moved)
        along, bend = (x * e).sum(axis=1), signal * (d * e).sum(axis=1)
        found[pair] = np.divide(bend, along, out=np.zeros_like(along), where=along > 0) - 1
    return found


def _slopes(values: Float[np.ndarray, "a b *latent"], nodes: tuple[int, ...]) -> Float[np.ndarray, "2 a b d"]:
    """Central differences along both axes, for each grid step."""
    flat = np.asarray(values, dtype=float).reshape(*nodes, -1)
    return np.stack([np.gradient(flat, axis=k) for k in (0, 1)])


def decisions_of_curvature(
    curvature: dict[Pair, Float[np.ndarray, "k place"]],
    final: Int[np.ndarray, "a b"],
    levels: Float[np.ndarray, "k"],
    *,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Decision]:
    """The noise level at which the median curvature across each boundary turns positive for good.

    Of a median that changes sign more than once, as noise makes it at the end, the turn is where it is positive after
    and negative before by the largest area over the levels. Between two steps it is interpolated. The interval is that
    over boundary nodes drawn anew, a tile at a time, and no narrower than the two steps it lies between.

    Args:
        curvature: of each boundary, a row a step, see ``crossing_curvature``.
        final: the final phases.
        levels: noise level of each step, falling.
        draws: of nodes.
        confidence: of the interval.
        seed: of the draws.
    """
    tile, _ = tiles_of(final.shape)
    known, rng, tail = neighbours(final), np.random.default_rng(seed), (1 - confidence) / 2
    decisions = []
    for pair, bends in curvature.items():
        if pair not in known:
            raise ValueError(f"phases {pair[0]} and {pair[1]} have no boundary")
        members = tile[boundary_places(final, pair).ravel()]
        groups = [np.flatnonzero(members == name) for name in np.unique(members)]
        level, low, high = _turn(np.median(bends, axis=1), levels)
        found = []
        for _ in range(draws):
            chosen = np.concatenate([groups[k] for k in rng.integers(len(groups), size=len(groups))])
            found.append(_turn(np.median(bends[:, chosen], axis=1), levels)[0])
        if found:
            least, most = np.quantile(found, [tail, 1 - tail])
            low, high = min(low, float(least)), max(high, float(most))
        decisions.append(Decision(pair, level, low, high, bends.shape[1]))
    return decisions


def _turn(bend: Float[np.ndarray, "k"], levels: Float[np.ndarray, "k"]) -> tuple[float, float, float]:
    """Where a curve turns positive, between which two levels."""
    # Area under the curve up to each step: least where all before is negative, and all after positive.
    widths = np.abs(np.gradient(levels)) if len(levels) > 1 else np.ones(1)
    area = np.concatenate([[0.0], np.cumsum(bend * widths)])
    step = int(np.argmin(area))
    if step == 0:
        return 1.0, float(levels[0]), 1.0
    if step == len(levels):
        return 0.0, 0.0, float(levels[-1])
    before, after = float(bend[step - 1]), float(bend[step])
    share = before / (before - after) if before < 0 < after else 0.5
    high, low = float(levels[step - 1]), float(levels[step])
    return high + share * (low - high), low, high
