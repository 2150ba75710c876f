r"""Boundaries finer than the grid, from what embeddings show of the nodes around them.

A node says on which side of a boundary it is, and a line between unlike nodes is placed to half a step by that alone.
Where samples are a smooth function of the parameters more is known: a boundary is a saddle, from which neighbours part
exponentially until they are caught by a phase, so that embeddings change as ``C asinh((t - s) / w)`` across it: evenly
within ``w`` of the boundary ``s``, as one over the distance beyond. Three steps of embeddings, the one across the
boundary and those before and after it, give ``s``, ``w`` and ``C``; a boundary is found to some hundredths of a step
even where it is much narrower than one.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Int32
from scipy import ndimage

from hessgeo.grids import Grid
from hessgeo.phases.boundaries import (
    BoundaryLine,
    Chain,
    TriplePoint,
    boundary_chains,
    meeting_corners,
    places_in_box,
    smoothed,
)
from hessgeo.phases.segment import sides

BAND = 2  # nodes on each side of a boundary whose phase a smoothed ridge may have missed
WINDOW = 3  # steps from such a node to those that it is compared with
WIDTHS = np.geomspace(1e-4, 8.0, 160)  # of profiles, in steps
PLACES = np.linspace(-0.25, 1.25, 151)  # of boundaries about two nodes; those beyond a node count as on it
NEAR = 5  # crossings of each line that tell where lines meet
FAR = 2.0  # steps that a meeting point may lie from the corner where it is seen
WEAK = 1e-3  # weight of that corner, against lines that cross at right angles

# Places between nodes along the first axis, and along the second; NaN between nodes of one phase.
Crossings = tuple[Float[np.ndarray, "na-1 nb"], Float[np.ndarray, "na nb-1"]]


def refined_boundaries(
    label: Int[np.ndarray, "na nb"], embedding: Float[np.ndarray, "na nb d"], grid: Grid
) -> tuple[list[BoundaryLine], list[TriplePoint]]:
    """Lines between phases through the places between nodes that embeddings tell, and the points where lines meet.

    A line that ends where phases meet ends in that point, others on the box. They are smoothed as ``boundary_lines``
    are. A point is where the last crossings of its lines lead to, each continued as a straight line.

    Args:
        label: phase of each node, see ``nearest_labels``.
        embedding: of each node.
        grid: the nodes.

    Raises:
        ValueError: if labels or embeddings are not those of the grid's nodes.
    """
    _check(label, embedding)
    if label.shape != grid.shape:
        raise ValueError(f"label has shape {label.shape}, the grid {grid.shape}")
    between = crossings(label, embedding)
    chains = boundary_chains(label)
    places = [_crossed(chain, between) for chain in chains]
    meetings = []
    for phases, corners in meeting_corners(label):
        held = {(int(i), int(j)) for i, j in corners}
        ends = [_end(place, at) for chain, place in zip(chains, places, strict=True)
                for at in (0, -1) if not chain.closed and chain.corners[at] in held]  # fmt: skip
        meetings.append((phases, held, _meeting_point(ends, corners.mean(axis=0) + 0.5)))
    lines = []
    for chain, place in zip(chains, places, strict=True):
        before, after = (
            [point[None] for _, held, point in meetings if not chain.closed and chain.corners[at] in held]
            for at in (0, -1)
        )
        closing = [place[:1]] if chain.closed else []
        line = smoothed(np.concatenate([*before, place, *after, *closing]), chain.closed)
        lines.append(BoundaryLine(chain.phases, places_in_box(line, grid)))
    points = [TriplePoint(phases, places_in_box(point[None], grid)[0]) for phases, _, point in meetings]
    return lines, points


def nearest_labels(
    label: Int[np.ndarray, "na nb"], embedding: Float[np.ndarray, "na nb d"]
) -> Int32[np.ndarray, "na nb"]:
    """Phases with the nodes near boundaries given to that of the nearest embedding inside a phase close by.

    A ridge is smoothed before phases are cut along it, which moves it by a node here and there. Nodes within two of a
    boundary are compared with those farther inside, three steps around; a phase without any such node keeps its own.

    Raises:
        ValueError: if there is not one embedding a node.
    """
    _check(label, embedding)
    inside = ~_band(label)
    for phase in np.unique(label):
        inside |= (label == phase) & ~(inside & (label == phase)).any()
    found = label.astype(np.int32)
    for i, j in np.argwhere(~inside).tolist():
        window = (slice(max(i - WINDOW, 0), i + WINDOW + 1), slice(max(j - WINDOW, 0), j + WINDOW + 1))
        if inside[window].any():
            distance = np.linalg.norm(embedding[window] - embedding[i, j], axis=-1)
            distance[~inside[window]] = np.inf
            found[i, j] = label[window].flat[int(np.argmin(distance))]
    return found


def crossings(label: Int[np.ndarray, "na nb"], embedding: Float[np.ndarray, "na nb d"]) -> Crossings:
    """Where boundaries cross the steps between unlike nodes, in steps from the first of both.

    One half where embeddings do not tell: beside the box, beside a third phase, and where they do not change, along
    the direction in which they change across the boundary, before it or after.
    """
    first = _along(label, embedding)
    second = _along(label.T, np.swapaxes(embedding, 0, 1)).T
    return first, second


def profile_crossing(
    before: Float[np.ndarray, "n"], across: Float[np.ndarray, "n"], after: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """The place ``s`` of ``C asinh((t - s) / w)`` whose steps from -1 to 0, 0 to 1 and 1 to 2 are given; positive.

    For each of many widths ``w`` the place follows from the ratio of the outer steps; the width is the one at which
    the step across has its size, too. A profile narrower or wider than all of them counts as the nearest.
    """
    place = np.full((len(WIDTHS), len(before)), 0.5)
    miss = np.empty_like(place)
    ratio, size = np.log(before / after), np.log(across / (before + after))
    for row, width in enumerate(WIDTHS):
        low, middle, high = _profile_steps(PLACES, width)
        # The nearer the boundary to the first node, the larger is the step before it: the ratio falls with the place.
        place[row] = np.interp(-ratio, -np.log(low / high), PLACES)
        low, middle, high = _profile_steps(place[row], width)
        miss[row] = np.log(middle / (low + high)) - size
    # The share of the step across falls with the width: the first that is too wide, and the one before it.
    wide = np.where((miss < 0).any(axis=0), (miss < 0).argmax(axis=0), len(WIDTHS) - 1)
    pair = np.stack([np.maximum(wide - 1, 0), wide])
    (p0, p1), (m0, m1) = (np.take_along_axis(values, pair, axis=0) for values in (place, miss))
    weight = np.clip(m0 / np.where(m0 > m1, m0 - m1, 1.0), 0.0, 1.0)
    return np.clip(p0 + weight * (p1 - p0), 0.0, 1.0)


def _profile_steps(
    place: Float[np.ndarray, "n"], width: float
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    at = [np.arcsinh((t - place) / width) for t in (-1.0, 0.0, 1.0, 2.0)]
    return at[1] - at[0], at[2] - at[1], at[3] - at[2]


def _along(label: np.ndarray, embedding: np.ndarray) -> Float[np.ndarray, "na-1 nb"]:
    """Crossings of the steps along the first axis."""
    found = np.full((len(label) - 1, label.shape[1]), np.nan)
    i, j = np.nonzero(label[:-1] != label[1:])
    found[i, j] = 0.5
    usable = (i > 0) & (i < len(label) - 2)
    i, j = i[usable], j[usable]
    usable = (label[i - 1, j] == label[i, j]) & (label[i + 2, j] == label[i + 1, j])
    i, j = i[usable], j[usable]
    jump = embedding[i + 1, j] - embedding[i, j]
    across = np.linalg.norm(jump, axis=1)
    direction = jump / np.maximum(across, np.finfo(float).tiny)[:, None]
    before = np.einsum("nd,nd->n", embedding[i, j] - embedding[i - 1, j], direction)
    after = np.einsum("nd,nd->n", embedding[i + 2, j] - embedding[i + 1, j], direction)
    told = (before > 0) & (after > 0) & (across > 0)
    found[i[told], j[told]] = profile_crossing(before[told], across[told], after[told])
    return found


def _band(label: np.ndarray) -> Bool[np.ndarray, "na nb"]:
    """Nodes within ``BAND`` of a boundary, the two beside it counted as one away."""
    beside = np.zeros(label.shape, dtype=bool)
    for (p, q), (bp, bq) in zip(sides(label), sides(beside), strict=True):
        np.logical_or(bp, p != q, out=bp)
        np.logical_or(bq, p != q, out=bq)
    return beside if BAND == 1 else ndimage.binary_dilation(beside, iterations=BAND - 1)


def _crossed(chain: Chain, between: Crossings) -> Float[np.ndarray, "m 2"]:
    """Places that a line crosses steps at, in their order, in grid steps from the first node."""
    places = []
    for (i, j), (k, m) in zip(chain.corners[:-1], chain.corners[1:], strict=True):
        if i == k:
            places.append((i + between[0][i, max(j, m)], max(j, m)))
        else:
            places.append((max(i, k), j + between[1][max(i, k), j]))
    return np.array(places, dtype=float)


def _end(place: Float[np.ndarray, "m 2"], at: int) -> Float[np.ndarray, "k 2"]:
    return place[:NEAR] if at == 0 else place[-NEAR:]


def _meeting_point(ends: list[Float[np.ndarray, "k 2"]], corner: Float[np.ndarray, "2"]) -> np.ndarray:
    """The point nearest to the straight continuations of some lines, by least squares; near the corner at any rate."""
    matrix, right = WEAK * np.eye(2), WEAK * corner
    for end in ends:
        if len(end) < 2:
            continue
        centre = end.mean(axis=0)
        normal = np.linalg.svd(end - centre)[2][1]
        matrix, right = matrix + np.outer(normal, normal), right + normal * (normal @ centre)
    offset = np.linalg.solve(matrix, right) - corner
    return np.asarray(corner + offset * min(1.0, FAR / max(float(np.linalg.norm(offset)), 1e-12)))


def _check(label: np.ndarray, embedding: np.ndarray) -> None:
    if label.ndim != 2 or embedding.shape[:-1] != label.shape:
        raise ValueError(
            f"embedding has shape {embedding.shape}, must be that of label, {label.shape}, and features"
        )
