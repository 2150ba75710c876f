"""Graphs whose edges cost what a metric says, and shortest paths on them (Dijkstra): over data, or over a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import gcd

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numba import njit
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial import cKDTree
from torch import Tensor

from hessgeo.geodesics.curves import Curves
from hessgeo.grids import Grid
from hessgeo.metrics.base import Metric, as_metric
from hessgeo.metrics.conformal import DensityMetric
from hessgeo.numerics.quadrature import MEASURED, TOLERANCE

# Half of each stencil, the other half is its mirror image: steps to neighbours that no other step passes through.
STENCILS = {8: 1, 16: 2, 32: 3}
# What the speed in the middle of an edge may be off the mean of its ends, of its cost; nodes on one further off.
_BENT, _BENT_NODES = 0.1, 24
# Median distances of nearest neighbours that a cell of quadrature is not longer than to start with.
_SCALE = 6.0


@dataclass(frozen=True)
class MetricGraph:
    """Points joined by edges, each with its length in a metric.

    Attributes:
        points: the nodes.
        weights: symmetric, an entry an edge in each direction.
        impassable: edges left out, since they have no length that a number could hold.
    """

    points: Float[np.ndarray, "n d"]
    weights: csr_array
    impassable: int

    @cached_property
    def components(self) -> Int[np.ndarray, "n"]:
        """The connected component of each point, from 0."""
        return connected_components(self.weights, directed=False)[1]

    @property
    def component_count(self) -> int:
        """Number of connected components."""
        return int(self.components.max()) + 1

    @property
    def unreachable_pairs(self) -> int:
        """Number of unordered pairs of points that no path joins; their distance is infinite."""
        sizes = np.bincount(self.components)
        return int((len(self.points) ** 2 - (sizes**2).sum()) // 2)

    @property
    def edge_count(self) -> int:
        """Number of edges."""
        return self.weights.nnz // 2

    @property
    def edges(self) -> Int[np.ndarray, "m 2"]:
        """The ends of each edge, the lower index first."""
        entries = self.weights.tocoo()
        once = entries.row < entries.col
        return np.stack([entries.row[once], entries.col[once]], axis=1)

    def distances(self, sources: Sequence[int] | Int[np.ndarray, "s"]) -> Float[np.ndarray, "s n"]:
        """Distances from some points to all, infinite where no path leads (Dijkstra)."""
        return dijkstra(self.weights, directed=False, indices=np.asarray(sources))

    def paths(self, source: int, targets: Sequence[int]) -> list[Int[np.ndarray, "k"]]:
        """The nodes of a shortest path from one point to each of others, both ends included.

        Raises:
            ValueError: if no path leads to a target.
        """
        distance, previous = dijkstra(self.weights, directed=False, indices=source, return_predecessors=True)
        paths = []
        for target in targets:
            if not np.isfinite(distance[target]):
                raise ValueError(
                    f"no path leads from point {source} to {target}: {self.component_count} components"
                )
            paths.append(_walk(previous, int(target)))
        return paths


@dataclass(frozen=True)
class GridGraph(MetricGraph):
    """A graph whose points are the nodes of a grid.

    Attributes:
        grid: the nodes.
    """

    grid: Grid


def _walk(previous: Int[np.ndarray, "n"], target: int) -> Int[np.ndarray, "k"]:
    """Nodes on the way to a target, in order, from those that Dijkstra's algorithm came from."""
    path = [target]
    while previous[path[-1]] >= 0:
        path.append(int(previous[path[-1]]))
    return np.array(path[::-1])


def _weights(
    edges: Int[np.ndarray, "m 2"], length: Float[np.ndarray, "m"], usable: Bool[np.ndarray, "m"], count: int
) -> csr_array:
    """The symmetric matrix of the lengths of usable edges."""
    one, other = edges[usable].T
    both = (np.concatenate([one, other]), np.concatenate([other, one]))
    return csr_array(coo_array((np.tile(length[usable], 2), both), shape=(count, count)))


def epsilon_edges(points: Float[np.ndarray, "n d"], epsilon: float) -> Int[np.ndarray, "m 2"]:
    """All pairs of points within a Euclidean distance, the lower index first (Kim et al. 2024, Definition 2.3).

    Raises:
        ValueError: if ``epsilon`` is not positive.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon}, must be positive")
    pairs = cKDTree(points).query_pairs(epsilon, output_type="ndarray")
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def neighbour_edges(points: Float[np.ndarray, "n d"], neighbours: int) -> Int[np.ndarray, "m 2"]:
    """Pairs of which one is among the nearest neighbours of the other, the lower index first.

    Args:
        points: the nodes.
        neighbours: of each, in Euclidean distance.

    Raises:
        ValueError: on less than one neighbour, or not fewer than there are points.
    """
    if not 1 <= neighbours < len(points):
        raise ValueError(f"neighbours is {neighbours}, must be between 1 and {len(points) - 1}")
    _, nearest = cKDTree(points).query(points, k=neighbours + 1)
    own = np.repeat(np.arange(len(points)), neighbours + 1)
    pairs = np.sort(np.stack([own, nearest.ravel()], axis=1), axis=1)
    return np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)


def connecting_radius(points: Float[np.ndarray, "n d"]) -> float:
    """The least ``epsilon`` whose graph is connected: the longest edge of a Euclidean spanning tree.

    Raises:
        ValueError: on fewer than two points.
    """
    n = len(points)
    if n < 2:
        raise ValueError("a radius connects two points or more")
    neighbours = min(8, n - 1)
    while True:
        bound = _longest_of_tree(points, neighbour_edges(points, neighbours))
        if bound is not None:
            break
        neighbours = min(2 * neighbours, n - 1)
    # Any shorter radius shows among the pairs within this one.
    longest = _longest_of_tree(points, epsilon_edges(points, bound * (1 + 1e-12)))
    assert longest is not None
    # The tree of neighbours compares squares: one rounding must not cut the edge that joins the last two parts.
    return longest * (1 + 1e-12)


def _longest_of_tree(points: Float[np.ndarray, "n d"], edges: Int[np.ndarray, "m 2"]) -> float | None:
    """Longest edge of the least spanning tree of a graph; None if it is not connected."""
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    # An edge of length zero would be no edge to scipy.
    length = np.maximum(length, np.finfo(float).tiny)
    tree = minimum_spanning_tree(coo_array((length, tuple(edges.T)), shape=(len(points),) * 2).tocsr())
    return float(tree.data.max()) if tree.nnz == len(points) - 1 else None


def geodesic_graph(
    points: Float[np.ndarray, "n d"],
    edges: Int[np.ndarray, "m 2"],
    metric: DensityMetric,
    *,
    nodes: int | None = None,
    tolerance: float = 1e-6,
    device: str = "cpu",
) -> MetricGraph:
    """Weigh the edges of a graph by their lengths in a metric (Kim et al. 2024, Algorithm 1).

    Args:
        points: the nodes.
        edges: pairs of them, each once.
        metric: what an edge costs.
        nodes: of Gauss-Legendre quadrature along each edge; None for adaptive quadrature, from cells no longer than
            six times the median distance of a point from its nearest neighbour.
        tolerance: of the length of each edge by adaptive quadrature, relative.
        device: where the density is evaluated.

    Returns:
        The graph. Points that coincide are joined by the least positive length, not by none.

    Raises:
        ValueError: on a pair given twice or a point joined to itself, or what ``segment_lengths`` refuses.
    """
    edges = np.sort(edges, axis=1)
    if (edges[:, 0] == edges[:, 1]).any() or len(np.unique(edges, axis=0)) < len(edges):
        raise ValueError("each edge must join two points, and stand in the list once")
    where = torch.from_numpy(np.ascontiguousarray(points)).to(device)
    start, end = where[torch.from_numpy(edges).to(device)].unbind(1)
    nearest = cKDTree(points).query(points, k=min(2, len(points)))[0].reshape(len(points), -1)[:, -1]
    scale = _SCALE * float(np.median(nearest)) or None
    found = metric.segment_lengths(start, end, nodes=nodes, tolerance=tolerance, scale=scale)
    length = np.maximum(found.cpu().numpy().astype(float), np.finfo(float).tiny)
    passable = np.isfinite(length)
    return MetricGraph(points, _weights(edges, length, passable, len(points)), int((~passable).sum()))


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
    net = _net(grid.shape, neighbours)
    edges = net.edges
    cost, usable = _measured_edges(metric, torch.from_numpy(grid.points[edges]).to(device), tolerance)
    return GridGraph(grid.points, net.weights(cost, usable), int((~usable).sum()), grid)


def start_graph(
    metric: Metric | Callable[[Tensor], Tensor],
    grid: Grid,
    *,
    neighbours: int = 16,
    device: str | torch.device = "cpu",
) -> GridGraph:
    """The same graph at less cost: edges along which the metric bends little cost Simpson's sum of three nodes.

    These lie on a grid twice as fine, which the metric is read on once. Where the speed in the middle of an edge is off
    the mean of those at its ends by more than a tenth, a sum of 24 nodes stands for it. What passes between all nodes
    is not seen: for starts, not for distances.

    Args:
        metric: where it is not positive definite, edges are left out and counted.
        grid: the nodes.
        neighbours: of each node, 8, 16 or 32.
        device: where the metric is evaluated.
    """
    net, metric = _net(grid.shape, neighbours), as_metric(metric)
    edges = net.edges
    fine = Grid(grid.extent, (2 * grid.shape[0] - 1, 2 * grid.shape[1] - 1))
    with torch.no_grad():
        g = metric(torch.from_numpy(fine.points).to(device)).cpu().numpy().astype(float)
    aa, ab, bb = g[:, 0, 0], g[:, 0, 1], g[:, 1, 1]
    with np.errstate(invalid="ignore"):
        definite = (aa > 0) & (bb > 0) & (np.abs(ab) < np.sqrt(aa) * np.sqrt(bb))
    entries = np.where(definite, np.stack([aa, 2 * ab, bb]), np.nan)
    a, b = grid.axes
    cost, bent = _simpson(edges, a, b, entries)
    bent = np.nonzero(bent)[0]
    if len(bent):
        ends = torch.from_numpy(grid.points[edges[bent]]).to(device)
        with torch.no_grad():
            cost[bent] = Curves.polyline(ends).quick_length(metric, nodes=_BENT_NODES).cpu().numpy()
    usable = np.isfinite(cost) & (cost > 0)
    return GridGraph(grid.points, net.weights(cost, usable), int((~usable).sum()), grid)


@dataclass(frozen=True)
class _Net:
    """Edges between the nodes of a grid, whatever they cost.

    Attributes:
        edges: pairs of nodes, each once.
        column, first: of the symmetric sparse matrix that has an entry an edge in each direction.
        entry: which of the edges, in one direction and then the other, each entry is.
    """

    edges: Int[np.ndarray, "m 2"]
    column: Int[np.ndarray, "e"]
    first: Int[np.ndarray, "_"]
    entry: Int[np.ndarray, "e"]

    def weights(self, cost: Float[np.ndarray, "m"], usable: Bool[np.ndarray, "m"]) -> csr_array:
        """The matrix of the costs of usable edges."""
        count = len(self.first) - 1
        if not usable.all():
            return _weights(self.edges, cost, usable, count)
        return csr_array((np.tile(cost, 2)[self.entry], self.column, self.first), shape=(count, count))


@lru_cache(maxsize=4)
def _net(shape: tuple[int, int], neighbours: int) -> _Net:
    """The edges of a grid, the same for every metric on it."""
    if neighbours not in STENCILS:
        raise ValueError(f"neighbours is {neighbours}, must be one of {', '.join(map(str, STENCILS))}")
    index, parts = np.arange(shape[0] * shape[1]).reshape(shape), []
    for i in range(STENCILS[neighbours] + 1):
        for j in range(-STENCILS[neighbours], STENCILS[neighbours] + 1):
            if gcd(i, j) != 1 or (i == 0 and j < 0) or max(i, abs(j)) >= min(shape):
                continue
            first = index[: shape[0] - i, max(0, -j) : shape[1] - max(0, j)].ravel()
            parts.append(np.stack([first, first + i * shape[1] + j], axis=1))
    edges = np.concatenate(parts)
    row, column = np.concatenate([edges, edges[:, ::-1]]).T
    entry = np.lexsort((column, row))
    starts = np.searchsorted(row[entry], np.arange(index.size + 1))
    return _Net(edges, column[entry].astype(np.int32), starts.astype(np.int32), entry)


@njit(cache=True)
def _simpson(
    edges: np.ndarray, axis_a: np.ndarray, axis_b: np.ndarray, entries: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Simpson's sum of each edge from the metric on a grid twice as fine, and whether its middle is off its ends."""
    nb = len(axis_b)
    cost, bent = np.empty(len(edges)), np.empty(len(edges), np.bool_)
    for k in range(len(edges)):
        i, j = edges[k, 0] // nb, edges[k, 0] % nb
        to_i, to_j = edges[k, 1] // nb, edges[k, 1] % nb
        a, b = axis_a[to_i] - axis_a[i], axis_b[to_j] - axis_b[j]
        start = _speed_at(entries, 2 * i * (2 * nb - 1) + 2 * j, a, b)
        middle = _speed_at(entries, (i + to_i) * (2 * nb - 1) + j + to_j, a, b)
        end = _speed_at(entries, 2 * to_i * (2 * nb - 1) + 2 * to_j, a, b)
        cost[k] = (start + 4 * middle + end) / 6
        bent[k] = abs(middle - (start + end) / 2) > _BENT * cost[k]
    return cost, bent


@njit(cache=True)
def _speed_at(entries: np.ndarray, node: int, a: float, b: float) -> float:
    return np.sqrt(entries[0, node] * a * a + entries[1, node] * a * b + entries[2, node] * b * b)


def _measured_edges(
    metric: Metric | Callable[[Tensor], Tensor], ends: Float[Tensor, "m 2 2"], tolerance: float
) -> tuple[Float[np.ndarray, "m"], Bool[np.ndarray, "m"]]:
    """Lengths of straight edges by adaptive quadrature, and whether each has one."""
    with torch.no_grad():
        found = Curves.polyline(ends).measure(metric, tolerance=tolerance, cells=1, definite=True)
    cost, error = found.length.cpu().numpy(), found.error.cpu().numpy()
    return cost, (cost > 0) & (error <= max(tolerance, MEASURED) * cost)


def grid_paths(
    graph: GridGraph, start: Float[np.ndarray, "m 2"], end: Float[np.ndarray, "m 2"], *, count: int
) -> Float[np.ndarray, "m count 2"]:
    """Shortest paths between the nodes nearest to pairs of points, as ``count`` points evenly spaced in cost.

    The first and last points are the pair itself. Two passes of the filter (1, 2, 1) / 4 take off the corners. Pairs
    that the graph does not connect, or whose nodes are the same, get the straight line.
    """
    sources, of_pair = np.unique(graph.grid.nearest(start), return_inverse=True)
    # Both directions of an edge are entries: what scipy calls directed looks at each once.
    cost, before = dijkstra(graph.weights, directed=True, indices=sources, return_predecessors=True)
    share, paths = np.linspace(0, 1, count), np.empty((len(start), count, 2))
    for k, (row, target) in enumerate(zip(of_pair, graph.grid.nearest(end), strict=True)):
        route = _walk(before[row], target)
        reached = cost[row, route]
        if len(route) < 3 or not np.isfinite(reached[-1]):
            paths[k] = start[k] + share[:, None] * (end[k] - start[k])
            continue
        points = graph.points[route]
        points[0], points[-1] = start[k], end[k]
        paths[k] = np.stack([np.interp(share * reached[-1], reached, x) for x in points.T], axis=-1)
    for _ in range(2):
        paths[:, 1:-1] = (paths[:, :-2] + 2 * paths[:, 1:-1] + paths[:, 2:]) / 4
    return paths
