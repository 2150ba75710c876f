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

from hessgeo.geodesics.curves import gauss_legendre
from hessgeo.grids import Grid
from hessgeo.metrics.base import Metric, as_metric

# Half of each stencil, the other half is its mirror image: steps to neighbours that no other step passes through.
STENCILS = {8: 1, 16: 2, 32: 3}


@dataclass(frozen=True)
class GridGraph:
    """A grid whose edges cost what the metric says.

    Attributes:
        grid: the nodes.
        graph: costs, symmetric, of ``grid.size`` rows.
        broken: edges left out because the metric is not positive definite, or not finite, along them.
    """

    grid: Grid
    graph: csr_array
    broken: int


def grid_graph(
    metric: Metric | Callable[[Tensor], Tensor],
    grid: Grid,
    *,
    neighbours: int = 16,
    nodes: int = 3,
    device: str | torch.device = "cpu",
) -> GridGraph:
    """The graph of a grid under a metric, each edge costing its length by quadrature.

    A shortest path along 16 directions is longer than the geodesic by up to 2.8 % where the metric is constant
    (8: 8.2 %, 32: 1.4 %), however fine the grid.

    Args:
        metric: where it is not positive definite, edges are left out and counted.
        grid: the nodes.
        neighbours: of each node, 8, 16 or 32.
        nodes: of Gauss-Legendre quadrature along each edge.
        device: where the metric is evaluated.

    Raises:
        ValueError: for another number of neighbours.
    """
    if neighbours not in STENCILS:
        raise ValueError(f"neighbours is {neighbours}, must be one of {', '.join(map(str, STENCILS))}")
    reach = STENCILS[neighbours]
    places, weights = gauss_legendre(nodes)
    index = np.arange(grid.size).reshape(grid.shape)
    axes = [torch.from_numpy(axis).to(device) for axis in grid.axes]
    rows, columns, costs, broken = [], [], [], 0
    for i in range(reach + 1):
        for j in range(-reach, reach + 1):
            if gcd(i, j) != 1 or (i == 0 and j < 0) or max(i, abs(j)) >= min(grid.shape):
                continue
            first = index[: grid.shape[0] - i, max(0, -j) : grid.shape[1] - max(0, j)].ravel()
            step = torch.tensor(
                [i * grid.spacing[0], j * grid.spacing[1]], dtype=torch.float64, device=device
            )
            start = torch.stack([axes[0][first // grid.shape[1]], axes[1][first % grid.shape[1]]], dim=-1)
            with torch.no_grad():
                g = as_metric(metric)(start[:, None] + places.to(step)[:, None] * step)
            squared = torch.einsum("i,nqij,j->nq", step, g, step)
            usable = ((squared > 0) & (torch.linalg.det(g) > 0)).all(dim=1).cpu().numpy()
            cost = (squared.clamp(min=0).sqrt() @ weights.to(step)).cpu().numpy()
            usable &= np.isfinite(cost)
            broken += int((~usable).sum())
            rows.append(first[usable])
            columns.append(first[usable] + i * grid.shape[1] + j)
            costs.append(cost[usable])
    ends = np.concatenate(rows), np.concatenate(columns)
    half = coo_array((np.concatenate(costs), ends), shape=(grid.size, grid.size))
    return GridGraph(grid, csr_array(half + half.T), broken)


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
