"""Shortest paths along the edges of a grid: starts for the solver that do not hang in the wrong valley."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from hessgeo.geodesics.curves import MEASURED, Curves
from hessgeo.geodesics.quadrature import TOLERANCE
from hessgeo.grids import Grid
from hessgeo.metrics.base import Metric

# Half of each stencil, the other half is its mirror image: steps to neighbours that no other step passes through.
STENCILS = {8: 1, 16: 2, 32: 3}


@dataclass(frozen=True)
class GridGraph:
    """A grid whose edges cost what the metric says.

    Attributes:
        grid: the nodes.
        graph: costs, symmetric, of ``grid.size`` rows.
        broken: edges left out because the metric is not positive definite, not finite, or singular along them.
    """

    grid: Grid
    graph: csr_array
    broken: int


def grid_graph(
    metric: Metric | Callable[[Tensor], Tensor],
    grid: Grid,
    *,
    neighbours: int = 16,
    tolerance: float = TOLERANCE,
    device: str | torch.device = "cpu",
) -> GridGraph:
    """The graph of a grid under a metric, each edge costing its length by adaptive quadrature.

    A shortest path along 16 directions is longer than the geodesic by up to 2.8 % where the metric is constant
    (8: 8.2 %, 32: 1.4 %), however fine the grid.

    Args:
        metric: where it is not positive definite, edges are left out and counted.
        grid: the nodes.
        neighbours: of each node, 8, 16 or 32.
        tolerance: of the length of each edge, relative.
        device: where the metric is evaluated.

    Raises:
        ValueError: for another number of neighbours.
    """
    if neighbours not in STENCILS:
        raise ValueError(f"neighbours is {neighbours}, must be one of {', '.join(map(str, STENCILS))}")
    index, starts, ends = np.arange(grid.size).reshape(grid.shape), [], []
    for i in range(STENCILS[neighbours] + 1):
        for j in range(-STENCILS[neighbours], STENCILS[neighbours] + 1):
            if gcd(i, j) != 1 or (i == 0 and j < 0) or max(i, abs(j)) >= min(grid.shape):
                continue
            first = index[: grid.shape[0] - i, max(0, -j) : grid.shape[1] - max(0, j)].ravel()
            starts.append(first)
            ends.append(first + i * grid.shape[1] + j)
    start, end = np.concatenate(starts), np.concatenate(ends)
    edges = torch.from_numpy(np.stack([grid.points[start], grid.points[end]], axis=1)).to(device)
    with torch.no_grad():
        found = Curves.polyline(edges).measure(metric, tolerance=tolerance, cells=1, definite=True)
    cost, error = found.length.cpu().numpy(), found.error.cpu().numpy()
    usable = (cost > 0) & (error <= max(tolerance, MEASURED) * cost)
    which = start[usable], end[usable]
    half = coo_array((cost[usable], which), shape=(grid.size, grid.size))
    return GridGraph(grid, csr_array(half + half.T), int((~usable).sum()))


def grid_paths(
    graph: GridGraph, start: Float[np.ndarray, "m 2"], end: Float[np.ndarray, "m 2"], *, count: int
) -> Float[np.ndarray, "m count 2"]:
    """Shortest paths between the nodes nearest to pairs of points, as ``count`` points evenly spaced in cost.

    The first and last points are the pair itself. Two passes of the filter (1, 2, 1) / 4 take off the corners. Pairs
    that the graph does not connect, or whose nodes are the same, get the straight line.
    """
    sources, of_pair = np.unique(nearest_nodes(start, graph.grid), return_inverse=True)
    targets = nearest_nodes(end, graph.grid)
    cost, before = dijkstra(graph.graph, directed=False, indices=sources, return_predecessors=True)
    share = np.linspace(0, 1, count)
    nodes, paths = graph.grid.points, np.empty((len(start), count, 2))
    for k, (row, target) in enumerate(zip(of_pair, targets, strict=True)):
        route = [target]
        while before[row, route[-1]] >= 0:
            route.append(before[row, route[-1]])
        reached = cost[row, route[::-1]]
        if len(route) < 3 or not np.isfinite(reached[-1]):
            paths[k] = start[k] + share[:, None] * (end[k] - start[k])
            continue
        points = nodes[route[::-1]]
        points[0], points[-1] = start[k], end[k]
        paths[k] = np.stack([np.interp(share * reached[-1], reached, x) for x in points.T], axis=-1)
    for _ in range(2):
        paths[:, 1:-1] = (paths[:, :-2] + 2 * paths[:, 1:-1] + paths[:, 2:]) / 4
    return paths


def nearest_nodes(t: Float[np.ndarray, "m 2"], grid: Grid) -> Int[np.ndarray, "m"]:
    """Row of the node nearest to each point; of one outside the grid, the nearest on its edge."""
    low = np.array(grid.extent)[:, 0]
    position = np.rint((t - low) / np.array(grid.spacing)).astype(int)
    i, j = position.clip(0, np.array(grid.shape) - 1).T
    return i * grid.shape[1] + j
