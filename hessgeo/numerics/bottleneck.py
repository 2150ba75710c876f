"""Minimax paths: ways through a graph whose longest edge is the least there is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, dijkstra, minimum_spanning_tree


@dataclass(frozen=True)
class Bottleneck:
    """A way whose longest edge no other way undercuts.

    Attributes:
        nodes: of the way, ends included.
        longest: cost of its longest edge: the least that the longest edge of any way can be. Zero of a way of one node.
    """

    nodes: Int[np.ndarray, "k"]
    longest: float


def minimax_path(
    edges: Int[np.ndarray, "m 2"], costs: Float[np.ndarray, "m"], start: int, end: int, *, nodes: int
) -> Bottleneck:
    """The shortest of all ways between two nodes whose longest edge is as short as it can be.

    Between two nodes the way in a minimum spanning tree has the least longest edge of all ways (Hu 1961), exactly: the
    tree is found by the order of the costs alone. Of the ways whose edges are no longer than that, the one of least
    total cost is taken.

    Args:
        edges: ends of each, which lead both ways.
        costs: of each, zero or positive.
        start: first node.
        end: last node.
        nodes: number of nodes.

    Raises:
        ValueError: if a cost is negative or not a number, or no way leads from one node to the other.
    """
    if not np.all(costs >= 0):
        raise ValueError("costs of edges must be numbers that are not negative")
    if start == end:
        return Bottleneck(np.array([start]), 0.0)
    # Ranks, for an edge of no cost is none in a sparse matrix.
    order = np.argsort(costs, kind="stable")
    rank = np.empty(len(costs))
    rank[order] = np.arange(1, len(costs) + 1)
    tree = minimum_spanning_tree(_matrix(edges, rank, nodes))
    way = _traced(breadth_first_order(tree, start, directed=False)[1], start, end)
    highest = max(float(tree[a, b] or tree[b, a]) for a, b in pairwise(way.tolist()))
    longest = float(costs[order[int(highest) - 1]])
    kept = costs <= longest
    least = np.finfo(float).tiny + 1e-12 * longest
    graph = _matrix(edges[kept], np.maximum(costs[kept], least), nodes)
    _, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
    return Bottleneck(_traced(before, start, end), longest)


def _matrix(edges: Int[np.ndarray, "m 2"], values: Float[np.ndarray, "m"], nodes: int) -> csr_array:
    """A sparse matrix with the least value of each edge, both ways as one."""
    low, high = edges.min(axis=1), edges.max(axis=1)
    best = np.lexsort((values, high, low))
    first = np.ones(len(best), dtype=bool)
    first[1:] = (np.diff(low[best]) != 0) | (np.diff(high[best]) != 0)
    some = best[first & (low != high)[best]]
    return csr_array(coo_array((values[some], (low[some], high[some])), shape=(nodes, nodes)))


def _traced(before: Int[np.ndarray, "n"], start: int, end: int) -> Int[np.ndarray, "k"]:
    """The way that predecessors tell.

    Raises:
        ValueError: if there is none.
    """
    way = [end]
    while way[-1] != start:
        if before[way[-1]] < 0:
            raise ValueError(f"no way leads from node {start} to node {end}")
        way.append(int(before[way[-1]]))
    return np.array(way[::-1])


def grid_edges(shape: tuple[int, int]) -> Int[np.ndarray, "m 2"]:
    """Pairs of neighbours of a grid, along its axes and diagonals, by row ``i * nb + j``."""
    row = np.arange(shape[0] * shape[1]).reshape(shape)
    pairs = (
        (row[:-1], row[1:]),
        (row[:, :-1], row[:, 1:]),
        (row[:-1, :-1], row[1:, 1:]),
        (row[:-1, 1:], row[1:, :-1]),
    )
    return np.concatenate([np.stack([one.ravel(), other.ravel()], axis=1) for one, other in pairs])
