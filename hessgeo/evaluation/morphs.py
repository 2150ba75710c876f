"""Morphs: images at chosen places along a way through a slice, how far each step is, and what no way can avoid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from hessgeo.evaluation.path_scores import points_at
from hessgeo.geodesics.curves import Curves, subdivided
from hessgeo.grids import Grid
from hessgeo.metrics.base import Metric
from hessgeo.numerics.bottleneck import grid_edges, minimax_path
from hessgeo.numerics.pacing import fewest, paced

Pictures = tuple[UInt8[np.ndarray, "m h w c"], Float[np.ndarray, "m d"]]
Look = Callable[[Float[np.ndarray, "m 2"]], Pictures]  # images and their features at points of a slice

TRIED = 4  # places that are looked at for each step of a morph that is paced by features
ROUNDS = 6  # at most, in which places are added between two that differ too much
CUT = 0.5  # of the difference between both ends: a step that is a cut


@dataclass(frozen=True)
class Frames:
    """The frames of one leg of a morph.

    Attributes:
        points: where they are, ends included.
        images: there.
        features: of these.
    """

    points: Float[np.ndarray, "n 2"]
    images: UInt8[np.ndarray, "n h w c"]
    features: Float[np.ndarray, "n d"]

    @property
    def steps(self) -> Float[np.ndarray, "n-1"]:
        """Distance of the features of each frame from those of the one before it."""
        return np.linalg.norm(np.diff(self.features.astype(float), axis=0), axis=1)

    def rows(self, index: Int[np.ndarray, "k"]) -> Frames:
        """Some of the frames."""
        return Frames(self.points[index], self.images[index], self.features[index])


def frames_at(points: Float[np.ndarray, "n 2"], look: Look) -> Frames:
    """The frames at given points."""
    images, features = look(points)
    return Frames(points, images, features)


def joined(legs: Sequence[Frames]) -> Frames:
    """Legs one after another; the point where two meet is one frame."""
    kept = [leg if k == 0 else leg.rows(np.arange(1, len(leg.points))) for k, leg in enumerate(legs)]
    parts = [[getattr(leg, name) for leg in kept] for name in ("points", "images", "features")]
    return Frames(*map(np.concatenate, parts))


def shared_out(lengths: Float[np.ndarray, "k"], steps: int) -> Int[np.ndarray, "k"]:
    """Whole numbers of steps in proportion to lengths, at least one each, in all as many as asked for.

    Raises:
        ValueError: if there are fewer steps than lengths.
    """
    if steps < len(lengths):
        raise ValueError(f"{steps} steps cannot be shared out to {len(lengths)} legs: one each at least")
    found = np.ones(len(lengths), dtype=int)
    for _ in range(steps - len(lengths)):
        # To the leg whose steps are longest (d'Hondt).
        found[int(np.argmax(lengths / found))] += 1
    return found


def looked_along(track: Float[np.ndarray, "k 2"], steps: int, look: Look) -> Frames:
    """Frames so close along a track that any further one changes little: candidates for stops.

    ``TRIED`` places for each step, even along the track, then one more halfway wherever two neighbours differ by more
    than half of an even step of the features, in at most ``ROUNDS`` rounds.

    Args:
        track: points that are even in the length of the way, straight between them.
        steps: that a morph is to have.
        look: see ``Look``.
    """
    shares = np.linspace(0, 1, TRIED * steps + 1)
    found = frames_at(points_at(track[None], shares[None])[0], look)
    for _ in range(ROUNDS):
        far = found.steps
        wide = np.flatnonzero(far > far.sum() / steps / 2)
        # Between two places that numbers hardly tell apart there is nothing to see.
        wide = wide[np.diff(shares)[wide] > 1e-9]
        if not len(wide):
            break
        between = (shares[wide] + shares[wide + 1]) / 2
        more = frames_at(points_at(track[None], between[None])[0], look)
        shares = np.concatenate([shares, between])
        order = np.argsort(shares, kind="stable")
        shares = shares[order]
        both = [
            np.concatenate([getattr(one, name) for one in (found, more)])[order] for name in found.__dict__
        ]
        found = Frames(*both)
    return found


def stops(candidates: Frames, steps: int) -> Frames:
    """The ``steps + 1`` of some frames whose longest step in features is the least, see ``pacing.paced``."""
    return candidates.rows(paced(_between(candidates.features), steps + 1))


def steps_within(candidates: Frames, bound: float) -> tuple[int, float]:
    """Steps that it takes along some frames, none longer than a bound or than what neighbours among them cannot avoid.

    Returns:
        Their number, and the bound that holds: larger than the one asked for where two neighbours are farther apart.
    """
    bound = max(bound, float(candidates.steps.max()) * (1 + 1e-12))
    count = fewest(_between(candidates.features), bound)
    if count is None:
        raise AssertionError("neighbours are all within the bound")
    return count - 1, bound


def _between(features: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m m"]:
    """Distances between all of some features."""
    exact = features.astype(float)
    square = (exact**2).sum(axis=1)
    found = np.maximum(square[:, None] + square - 2 * exact @ exact.T, 0.0)
    np.fill_diagonal(found, 0.0)
    distance = np.sqrt(found)
    near = np.arange(len(exact) - 1)
    # Differences of near equals are exact, their products are not.
    distance[near, near + 1] = distance[near + 1, near] = np.linalg.norm(np.diff(exact, axis=0), axis=1)
    return distance


def metric_steps(metric: Metric, grid: Grid, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n-1"]:
    """Length of each straight piece between neighbouring points in a metric; zero where they coincide."""
    pieces = torch.from_numpy(np.stack([points[:-1], points[1:]], axis=1))
    found = np.zeros(len(pieces))
    apart = np.flatnonzero((pieces[:, 0] != pieces[:, 1]).any(dim=1).numpy())
    if len(apart):
        with torch.no_grad():
            lines = subdivided(pieces[apart], grid.spacing)
            found[apart] = Curves.polyline(lines).length(metric).numpy()
    return found


@dataclass(frozen=True)
class Floor:
    """What no way over the nodes of a grid between two of its points can avoid.

    Attributes:
        nodes: of a way whose longest step is the least, by row.
        longest: that step: the distance in features between two neighbours.
        whole: the distance in features between both ends.
    """

    nodes: Int[np.ndarray, "k"]
    longest: float
    whole: float

    @property
    def is_cut(self) -> bool:
        """Whether one step of every way makes half of the whole difference or more."""
        return self.longest >= CUT * self.whole > 0


class Floors:
    """Floors between any points, from the features at the nodes of a grid.

    Neighbours are those along the axes and diagonals: a way between two of them may resolve what the nodes do not, so a
    floor is that of the grid.

    Args:
        features: at the nodes, in their order.
        grid: the nodes.
    """

    def __init__(self, features: Float[np.ndarray, "n d"], grid: Grid) -> None:
        self.features, self.grid = features, grid
        self.edges = grid_edges((grid.shape[0], grid.shape[1]))
        here, there = (features[self.edges[:, end]].astype(float) for end in (0, 1))
        self.costs: Float[np.ndarray, "m"] = np.linalg.norm(there - here, axis=1)

    def between(self, start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"]) -> Floor:
        """The floor between the nodes nearest to two points."""
        first, last = map(int, self.grid.nearest(np.stack([start, end])))
        found = minimax_path(self.edges, self.costs, first, last, nodes=self.grid.size)
        whole = np.linalg.norm(self.features[first].astype(float) - self.features[last])
        return Floor(found.nodes, found.longest, float(whole))
