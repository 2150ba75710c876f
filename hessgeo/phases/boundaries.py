"""Lines between phases and the points where they meet, half-way between unlike nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy import ndimage

from hessgeo.grids import Grid
from hessgeo.phases.segment import sides

_SQUARE = ndimage.generate_binary_structure(2, 2)
# Two passes of (1, 2, 1)/4 take the staircase out of a boundary and move no point by as much as one cell.
_SMOOTHING_PASSES = 2

Vertex = tuple[int, int]


class Chain(NamedTuple):
    """An unbroken line between two phases along the edges half-way between unlike nodes.

    Attributes:
        phases: the two.
        corners: that it passes; corner ``(i, j)`` lies at ``(i + 1/2, j + 1/2)`` in grid steps, so that -1 and the last
            node's index are outside the box.
        closed: whether it ends where it starts.
    """

    phases: tuple[int, int]
    corners: list[Vertex]
    closed: bool


@dataclass(frozen=True)
class BoundaryLine:
    """One unbroken line between two phases, in parameter units; closed if its ends coincide. On a line a point.

    Attributes:
        phases: the two.
        points: of the line, or the one half-way between unlike nodes.
        width: of the ridge at half of its strength, where a point is the boundary.
    """

    phases: tuple[int, int]
    points: Float64[np.ndarray, "m axis"]
    width: float | None = None


@dataclass(frozen=True)
class TriplePoint:
    """A point where three phases or more meet, in parameter units."""

    phases: tuple[int, ...]
    point: Float64[np.ndarray, "2"]


def boundary_lines(label: Int[np.ndarray, "*nodes"], grid: Grid) -> list[BoundaryLine]:
    """Lines between each two neighbouring phases, ordered by the pair and by where they start.

    A line follows the edges half-way between unlike nodes, from corner to corner, until it ends on the box or
    at a corner where lines meet, or closes. Its inner points are then lightly smoothed, its ends kept; no
    point moves by as much as a grid step.

    Raises:
        ValueError: if ``label`` does not have the grid's shape.
    """
    _check_label(label, grid)
    return [
        BoundaryLine(
            phases=chain.phases,
            points=places_in_box(smoothed(np.array(chain.corners, float), chain.closed) + 0.5, grid),
        )
        for chain in boundary_chains(label)
    ]


def boundary_chains(label: Int[np.ndarray, "na nb"]) -> list[Chain]:
    """What ``boundary_lines`` are drawn from, in their order."""
    junctions = {(int(i), int(j)) for i, j in np.argwhere(_meeting(label))}
    return [
        Chain(pair, corners, closed)
        for pair, edges in sorted(_edges(label).items())
        for corners, closed in _chains(edges, junctions)
    ]


def boundary_points(
    label: Int[np.ndarray, "node"], height: Float[np.ndarray, "node"], grid: Grid
) -> list[BoundaryLine]:
    """Where phases on a line meet, from left to right.

    Args:
        label: phase of each node.
        height: smoothed logarithm of the eigenvalue, see ``smoothed_height``.
        grid: the nodes.

    Raises:
        ValueError: if ``label`` does not have the grid's shape.
    """
    _check_label(label, grid)
    (side,), (step,) = grid.axes, grid.spacing
    bottom = ndimage.minimum(height, label, index=np.arange(label.max() + 1))
    found = []
    for i in np.flatnonzero(np.diff(label)).tolist():
        low, high = sorted((int(label[i]), int(label[i + 1])))
        top = i + int(height[i + 1] > height[i])
        level = (height[top] + max(bottom[low], bottom[high])) / 2
        width = step * (_reach(height[top::-1], level) + _reach(height[top:], level))
        found.append(BoundaryLine((low, high), np.array([[side[i] + step / 2]]), width))
    return found


def _reach(outwards: Float[np.ndarray, "node"], level: float) -> float:
    """Steps from a top, the first of some heights, to where they fall to a level, or end."""
    below = np.flatnonzero(outwards < level)
    if not below.size:
        return float(len(outwards) - 1)
    before, after = outwards[below[0] - 1], outwards[below[0]]
    return float(below[0] - 1 + (before - level) / (before - after))


def triple_points(label: Int[np.ndarray, "*nodes"], grid: Grid) -> list[TriplePoint]:
    """Corners between four nodes of at least three phases; touching corners count as one, at their mean.

    Raises:
        ValueError: if ``label`` does not have the grid's shape.
    """
    _check_label(label, grid)
    return [
        TriplePoint(phases, places_in_box(corners.mean(axis=0)[None] + 0.5, grid)[0])
        for phases, corners in meeting_corners(label)
    ]


def meeting_corners(
    label: Int[np.ndarray, "na nb"],
) -> list[tuple[tuple[int, ...], Int[np.ndarray, "corner 2"]]]:
    """The phases that meet at each group of touching corners, three or more, and the corners."""
    clusters, count = ndimage.label(_meeting(label), structure=_SQUARE)
    found = []
    for cluster in range(1, count + 1):
        corners = np.argwhere(clusters == cluster)
        phases = {int(label[i + di, j + dj]) for i, j in corners for di in (0, 1) for dj in (0, 1)}
        found.append((tuple(sorted(phases)), corners))
    return found


def _check_label(label: np.ndarray, grid: Grid) -> None:
    if label.shape != grid.shape:
        raise ValueError(f"label has shape {label.shape}, the grid {grid.shape}")


def _meeting(label: Int[np.ndarray, "na nb"]) -> Bool[np.ndarray, "na-1 nb-1"]:
    """Corners whose four nodes hold at least three labels."""
    corners = [label[:-1, :-1], label[:-1, 1:], label[1:, :-1], label[1:, 1:]]
    block = np.sort(np.stack(corners), axis=0)
    return np.count_nonzero(np.diff(block, axis=0), axis=0) >= 2


def _edges(label: np.ndarray) -> dict[tuple[int, int], list[tuple[Vertex, Vertex]]]:
    """Edges between unlike nodes, by pair of labels, from corner to corner."""
    edges: dict[tuple[int, int], list[tuple[Vertex, Vertex]]] = {}
    for axis, (p, q) in enumerate(sides(label)):
        for i, j in np.argwhere(p != q).tolist():
            one, other = int(p[i, j]), int(q[i, j])
            pair = (min(one, other), max(one, other))
            before = (i, j - 1) if axis == 0 else (i - 1, j)
            edges.setdefault(pair, []).append((before, (i, j)))
    return edges


def _chains(edges: list[tuple[Vertex, Vertex]], junctions: set[Vertex]) -> list[tuple[list[Vertex], bool]]:
    """Order edges into lines that end at junctions or where not two meet; the rest are loops, marked True."""
    neighbours: dict[Vertex, list[Vertex]] = {}
    for start, stop in edges:
        neighbours.setdefault(start, []).append(stop)
        neighbours.setdefault(stop, []).append(start)
    ends = {v for v, adjacent in neighbours.items() if len(adjacent) != 2 or v in junctions}
    chains = []
    for seed in [*sorted(ends), *sorted(neighbours.keys() - ends)]:
        while neighbours[seed]:
            chain = [seed]
            while neighbours[chain[-1]] and (len(chain) == 1 or chain[-1] not in ends):
                following = min(neighbours[chain[-1]])
                neighbours[chain[-1]].remove(following)
                neighbours[following].remove(chain[-1])
                chain.append(following)
            chains.append((chain, seed not in ends))
    return chains


def smoothed(line: Float[np.ndarray, "m 2"], closed: bool) -> Float[np.ndarray, "m 2"]:
    """A line smoothed between its fixed ends, a closed one all round."""
    for _ in range(_SMOOTHING_PASSES):
        inner = (line[:-2] + 2 * line[1:-1] + line[2:]) / 4
        first = (line[-2] + 2 * line[0] + line[1]) / 4 if closed else line[0]
        last = first if closed else line[-1]
        line = np.concatenate([first[None], inner, last[None]])
    return line


def places_in_box(place: Float[np.ndarray, "m 2"], grid: Grid) -> Float64[np.ndarray, "m 2"]:
    """Parameters of places in grid steps from the first node; those outside the box are moved onto its edge."""
    position = np.clip(place, 0, np.array(grid.shape) - 1)
    return np.array(grid.extent)[:, 0] + position * np.array(grid.spacing)
