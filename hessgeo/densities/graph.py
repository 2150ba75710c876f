"""Shortest paths on a graph of data points, whose edges cost what the metric says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial import cKDTree

from hessgeo.densities.conformal import ConformalMetric

# Median distances of nearest neighbours that a cell of quadrature is not longer than to start with.
_SCALE = 6.0


@dataclass(frozen=True)
class GeodesicGraph:
    """Points joined by edges, each with its length in a metric.

    Attributes:
        points: the nodes.
        weights: symmetric, an entry an edge in each direction.
        impassable: edges left out since their length is beyond the range of floating-point numbers.
    """

    points: Float[np.ndarray, "n d"]
    weights: csr_array
    impassable: int = 0

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
            path = [int(target)]
            while path[-1] != source:
                path.append(int(previous[path[-1]]))
            paths.append(np.array(path[::-1]))
        return paths


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
    metric: ConformalMetric,
    *,
    nodes: int | None = None,
    tolerance: float = 1e-6,
    device: str = "cpu",
) -> GeodesicGraph:
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
    low, high = edges.min(axis=1, initial=len(points)), edges.max(axis=1, initial=-1)
    if (low == high).any() or len(np.unique(low * len(points) + high)) < len(edges):
        raise ValueError("each edge must join two points, and stand in the list once")
    where = torch.from_numpy(np.ascontiguousarray(points)).to(device)
    start, end = where[torch.from_numpy(low).to(device)], where[torch.from_numpy(high).to(device)]
    nearest = cKDTree(points).query(points, k=min(2, len(points)))[0].reshape(len(points), -1)[:, -1]
    scale = _SCALE * float(np.median(nearest)) or None
    length = (
        metric.segment_lengths(start, end, nodes=nodes, tolerance=tolerance, scale=scale)
        .cpu()
        .numpy()
        .astype(float)
    )
    passable = np.isfinite(length)
    length = np.maximum(length[passable], np.finfo(float).tiny)
    rows, columns = low[passable], high[passable]
    both = (np.concatenate([rows, columns]), np.concatenate([columns, rows]))
    weights = coo_array((np.tile(length, 2), both), shape=(len(points),) * 2).tocsr()
    return GeodesicGraph(points, weights, int((~passable).sum()))
