"""Distances over a grid from one point to all, and with them between pairs, to an error that two grids tell.

The front of ``numerics.eikonal`` goes through every valley at once. What it knows of a metric are its values at the
nodes: a wall or a gap narrower than a grid step may lie between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import map_coordinates
from torch import Tensor

from hessgeo.grids import Grid
from hessgeo.metrics.base import Metric, as_metric, asymmetries
from hessgeo.numerics.eikonal import Medium, distances, medium
from hessgeo.numerics.eikonal_fronts import arrivals
from hessgeo.numerics.eikonal_paths import around, arrival, way

_LEAST_ERROR = 1e-2  # of a distance: what the difference between two grids may miss by chance
_TIMES = 2.0  # that difference: what is left after it was taken out
_DENSE = 0.25  # grid steps between the points that stand for a curve
_BESIDE = 2  # grid steps along each axis within which nodes are reached from a curve by straight lines
_SMOOTHINGS = 2  # passes over the way of a front, whose steps are of half a grid step


@dataclass(frozen=True)
class DistanceMap:
    """Distances from one point.

    Attributes:
        source: the point.
        grid: the nodes.
        values: distances to them, first order in the grid step; infinite where no way leads.
    """

    source: Float[np.ndarray, "2"]
    grid: Grid
    values: Float[np.ndarray, "na nb"]
    medium: Medium = field(repr=False)

    def at(self, t: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "m"]:
        """Distances to points of the box."""
        start = _steps(self.grid, self.source)
        return np.array([arrival(self.medium, self.values, start, end) for end in _steps(self.grid, t)])

    def path(self, t: Float[np.ndarray, "2"], *, count: int) -> Float[np.ndarray, "count 2"]:
        """The way from the source to a point, traced back along the map, at equal distances in the metric.

        Straight where none leads. Within first order of the shortest path: a start for ``solve.geodesics``, which it is
        no substitute for.
        """
        return self.traced(t, count=count)[0]

    def traced(self, t: Float[np.ndarray, "2"], *, count: int) -> tuple[Float[np.ndarray, "count 2"], float]:
        """The same, and its length over the grid in all the points that were traced.

        Longer than the distance where the front came by steps so long that it knew nothing of what lies between.
        """
        found = way(self.medium, self.values, _steps(self.grid, self.source), _steps(self.grid, t))
        run = np.concatenate([[0.0], _lengths(self.medium, found).cumsum()])

        def even(points: int) -> Float[np.ndarray, "points 2"]:
            path = np.stack([np.interp(np.linspace(0, run[-1], points), run, x) for x in found.T], axis=1)
            for _ in range(_SMOOTHINGS):
                path[1:-1] = (path[:-2] + 2 * path[1:-1] + path[2:]) / 4
            return path

        path = np.array(self.grid.extent)[:, 0] + even(count) * np.array(self.grid.spacing)
        path[0], path[-1] = self.source, t
        return path, float(_lengths(self.medium, even(len(found))).sum())


@dataclass(frozen=True)
class GriddedMedium:
    """A metric at the nodes of a grid, ready for fronts from any point.

    Attributes:
        grid: the nodes.
        medium: in grid steps.
    """

    grid: Grid
    medium: Medium

    @classmethod
    def of(cls, metric: Metric | Callable[[Tensor], Tensor], grid: Grid) -> GriddedMedium:
        """A metric read at the nodes; where it is not positive definite, no way leads.

        Raises:
            ValueError: if it is so nowhere, or the grid is not one of two parameters.
        """
        if len(grid.shape) != 2:
            raise ValueError(f"distances need a grid of two parameters, not of {len(grid.shape)}")
        with torch.no_grad():
            values = metric(torch.from_numpy(grid.points)).double().cpu().numpy().reshape(*grid.shape, 2, 2)
        return cls(grid, medium(values * np.outer(grid.spacing, grid.spacing)))

    def along(self, curves: Float[np.ndarray, "m n 2"]) -> Float[np.ndarray, "m"]:
        """Lengths of polylines in the metric as the nodes have it, bilinear between them."""
        return _lengths(self.medium, _steps(self.grid, curves)).sum(axis=-1)

    def distances(
        self, source: Float[np.ndarray, "2"], *, only: Float[np.ndarray, "m 2"] | None = None
    ) -> DistanceMap:
        """Distances from a point of the box.

        Args:
            source: the point.
            only: points that the front may stop at; None to reach all nodes.

        Raises:
            ValueError: if the source lies outside the box.
        """
        (low_a, high_a), (low_b, high_b) = self.grid.extent
        if not (low_a <= source[0] <= high_a and low_b <= source[1] <= high_b):
            raise ValueError(f"point ({source[0]:g}, {source[1]:g}) lies outside the box {self.grid.extent}")
        until = None
        if only is not None:
            until = np.concatenate([around(self.medium, end) for end in _steps(self.grid, only)])
        values = distances(self.medium, _steps(self.grid, np.asarray(source, float)), until=until)
        return DistanceMap(np.asarray(source, float), self.grid, values, self.medium)

    def from_curves(self, curves: Sequence[Float[np.ndarray, "m 2"]]) -> Float[np.ndarray, "na nb"]:
        """Distances of all nodes from the nearest of some polylines, on both sides of them.

        First order in the grid step; infinite where no way leads, and everywhere if there is no curve.

        Args:
            curves: in the box, of one point or more each.
        """
        first = np.full(len(self.medium.matrix), np.inf)
        for curve in curves:
            samples = _densified(_steps(self.grid, np.asarray(curve, dtype=float)))
            np.minimum.at(first, *_beside(self.medium, samples))
        return arrivals(self.medium, first.reshape(self.medium.shape))


def _beside(
    field: Medium, samples: Float[np.ndarray, "m 2"]
) -> tuple[Int[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Nodes near points, each as often as there are points near it, and the length of the straight line to it."""
    reach = np.arange(1 - _BESIDE, _BESIDE + 1)
    offsets = np.stack(np.meshgrid(reach, reach, indexing="ij"), axis=-1).reshape(-1, 2)
    nodes = np.floor(samples).astype(int)[:, None] + offsets
    inside = np.all((nodes >= 0) & (nodes < field.shape), axis=2)
    near, origin = nodes[inside], np.broadcast_to(samples[:, None], nodes.shape)[inside]
    length = _lengths(field, np.stack([origin, near.astype(float)], axis=1))[:, 0]
    return np.ravel_multi_index(tuple(near.T), field.shape), length


def _densified(curve: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "k 2"]:
    """Points of a polyline no farther apart than ``_DENSE``, its own among them."""
    parts = [curve[:1]]
    for here, there in pairwise(curve):
        count = max(1, int(np.ceil(np.linalg.norm(there - here) / _DENSE)))
        parts.append(here + np.linspace(0, 1, count + 1)[1:, None] * (there - here))
    return np.concatenate(parts)


def distance_map(
    metric: Metric | Callable[[Tensor], Tensor], source: Float[np.ndarray, "2"], grid: Grid
) -> DistanceMap:
    """Distances in a metric from one point to all nodes of a grid.

    Args:
        metric: see ``solve.geodesics``; where it is not positive definite, no way leads.
        source: a point of the grid's box, a node or not.
        grid: the nodes. The error is of first order in their spacing, and of the metric they know its values alone.

    Raises:
        ValueError: on a source outside the box, or a metric that is not symmetric or positive definite at no node.
    """
    for words in asymmetries(as_metric(metric), torch.from_numpy(grid.points)[None]).values():
        raise ValueError(words)
    return GriddedMedium.of(metric, grid).distances(source)


@dataclass(frozen=True)
class Estimate:
    """Distances between pairs of points over a grid, and the ways that have them.

    Attributes:
        distance: extrapolated from two grids, one of twice the steps of the other; infinite where no way leads. An
            estimate, not a bound.
        error: of it: twice the difference between both, a hundredth of it, and what the front's own way is longer by.
        paths: on the finer grid, traced back.
    """

    distance: Float[np.ndarray, "m"]
    error: Float[np.ndarray, "m"]
    paths: Float[np.ndarray, "m count 2"]


@dataclass(frozen=True)
class Valleys:
    """A metric on two grids over the same box, the finer with half the step.

    Attributes:
        metric: what is read.
        coarse, fine: at the nodes of both.
    """

    metric: Metric
    coarse: GriddedMedium
    fine: GriddedMedium

    @classmethod
    def of(cls, metric: Metric, grid: Grid) -> Valleys:
        """A metric on a grid and on that of half its steps."""
        return cls(metric, *(GriddedMedium.of(metric, one) for one in (grid, _halved(grid))))

    @property
    def halved(self) -> Valleys:
        """The same with half the steps."""
        return replace(self, coarse=self.fine, fine=GriddedMedium.of(self.metric, _halved(self.fine.grid)))

    def between(
        self, starts: Float[np.ndarray, "m 2"], ends: Float[np.ndarray, "m 2"], *, count: int
    ) -> Estimate:
        """Distances and ways between pairs of points, the error of first order taken out by both grids.

        Args:
            starts: within the box; those that are the same share a front.
            ends: the others.
            count: points of each path.
        """
        sources, of_pair = np.unique(starts, axis=0, return_inverse=True)
        found, paths = np.empty((2, len(starts))), np.empty((len(starts), count, 2))
        own = np.empty(len(starts))
        for k, source in enumerate(sources):
            rows = np.flatnonzero(of_pair.ravel() == k)
            maps = [one.distances(source, only=ends[rows]) for one in (self.coarse, self.fine)]
            found[:, rows] = [one.at(ends[rows]) for one in maps]
            for row in rows:
                paths[row], own[row] = maps[1].traced(ends[row], count=count)
        coarse, fine = found
        known = np.isfinite(coarse) & np.isfinite(fine)
        gap = np.where(known, fine, 0) - np.where(known, coarse, 0)
        # A way that a coarse grid alone has lost says nothing of the error.
        missed = np.where(known, np.maximum(own - fine, 0.0), np.inf)
        return Estimate(fine + gap, _TIMES * np.abs(gap) + _LEAST_ERROR * fine + missed, paths)


def _lengths(field: Medium, path: Float[np.ndarray, "*m n 2"]) -> Float[np.ndarray, "*m n-1"]:
    """Lengths of straight lines between neighbouring points, by the matrix halfway; all in grid steps."""
    step, middle = np.diff(path, axis=-2), (path[..., 1:, :] + path[..., :-1, :]) / 2
    places = np.moveaxis(middle, -1, 0)
    aa, ab, bb = (map_coordinates(part.reshape(field.shape), places, order=1) for part in field.matrix.T)
    square = aa * step[..., 0] ** 2 + 2 * ab * step[..., 0] * step[..., 1] + bb * step[..., 1] ** 2
    return np.sqrt(np.maximum(square, 0.0))


def _halved(grid: Grid) -> Grid:
    return Grid(grid.extent, tuple(2 * nodes - 1 for nodes in grid.shape))


def _steps(grid: Grid, t: Float[np.ndarray, "*m 2"]) -> Float[np.ndarray, "*m 2"]:
    """Points in grid steps from the first node, within the grid also where rounding is not."""
    steps = (t - np.array(grid.extent)[:, 0]) / np.array(grid.spacing)
    return np.clip(steps, 0, np.array(grid.shape) - 1)
