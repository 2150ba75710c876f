"""The tree of phases: which boundaries are there at each step of a sampler, and in which order they come.

A step is a noise level, ``sigma / sqrt(alpha^2 + sigma^2)`` of its state ``x = alpha x_0 + sigma z``: one at pure
noise, zero at the image. Levels fall from step to step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import eigenvalues, in_units
from hessgeo.metrics.measured import embedding_metric
from hessgeo.phases.segment import PhaseMap, segment_phases

Pair = tuple[int, int]
Node = tuple[tuple[int, ...], float, tuple[int, ...]]  # of a tree: its phases, where it parts, into what
TILE = 4  # nodes along a side of what is drawn at once: neighbours tell the same


@dataclass(frozen=True)
class Decision:
    """When two phases part for good.

    Attributes:
        phases: the two, the smaller label first.
        level: noise level below which both sides keep their phase; 0 if they never part, 1 if they were apart at first.
        low: lower end of its interval.
        high: upper end.
        places: nodes that it was found from.
    """

    phases: Pair
    level: float
    low: float
    high: float
    places: int


@dataclass(frozen=True)
class Branch:
    """A set of final phases that are one down to some noise level.

    Attributes:
        phases: labels of the final phases in it, in rising order.
        level: noise level at which it parts; 0 of a leaf.
        born: noise level at which it parted from the others, 1 of the root.
        children: numbers, in the list of branches, of what it parts into; none of a leaf.
    """

    phases: tuple[int, ...]
    level: float
    born: float
    children: tuple[int, ...] = ()


def step_phases(
    embedding: Float[np.ndarray, "k a b d"],
    final: Float[np.ndarray, "a b d"],
    grid: Grid,
    *,
    persistence: float,
    minimum_area: float,
    smoothing: float,
) -> list[PhaseMap]:
    """Phases of the predictions of each step, from the metric measured on their embeddings.

    Ridges are sought in ``log(lambda_max + floor)``. The floor is the median of ``lambda_max`` over the final images,
    what changes inside a phase when all is done: early predictions are all but one image, and a ridge among their tiny
    differences parts nothing that could be seen.

    Args:
        embedding: of the predictions, a step after the other.
        final: of the images.
        grid: the nodes; eigenvalues are those of the box made a square.
        persistence: as of ``segment_phases``.
        minimum_area: the same.
        smoothing: the same.
    """
    options = {"persistence": persistence, "minimum_area": minimum_area, "smoothing": smoothing}

    def largest(nodes: np.ndarray) -> np.ndarray:
        return eigenvalues(in_units(embedding_metric(nodes, grid), grid.square))[..., -1]

    floor = float(np.median(largest(final)))
    if not floor > 0:
        raise ValueError("the final images are all alike over half of the nodes, so nothing parts them")
    return [segment_phases(largest(nodes) + floor, grid, **options) for nodes in embedding]


def overlaps(
    label: Int[np.ndarray, "*nodes"], final: Int[np.ndarray, "*nodes"]
) -> Int[np.ndarray, "final_phase phase"]:
    """Nodes that each final phase, a row, shares with each phase of a step, a column; labels count from 1."""
    counts = np.zeros((int(final.max()), int(label.max())), dtype=int)
    np.add.at(counts, (final.ravel() - 1, label.ravel() - 1), 1)
    return counts


def neighbours(label: Int[np.ndarray, "a b"]) -> dict[Pair, int]:
    """Pairs of phases that meet along an edge, with the number of pairs of nodes astride their boundary."""
    found: dict[Pair, int] = {}
    for one, other in ((label[:-1], label[1:]), (label[:, :-1], label[:, 1:])):
        low, high = np.minimum(one, other), np.maximum(one, other)
        pairs, counts = np.unique(np.stack([low, high], -1)[low != high], axis=0, return_counts=True)
        for (a, b), count in zip(pairs.tolist(), counts.tolist(), strict=True):
            found[a, b] = found.get((a, b), 0) + count
    return dict(sorted(found.items()))


def decisions_of_maps(
    labels: Int[np.ndarray, "k a b"],
    final: Int[np.ndarray, "a b"],
    levels: Float[np.ndarray, "k"],
    *,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Decision]:
    """When the phases on both sides of each boundary stop being one, from a phase map a step.

    A final phase is, at a step, in the phase that most of its nodes are in. Two are parted from the step from which on
    these differ. The level is half-way between that step's and the one before. The interval holds both of these, and
    the same of nodes drawn anew, a tile of ``TILE`` x ``TILE`` at a time.

    Args:
        labels: the phases of each step, from 1.
        final: the final phases, from 1.
        levels: noise level of each step, falling.
        draws: of nodes.
        confidence: of the interval over these.
        seed: of the draws.

    Raises:
        ValueError: if levels do not fall, or there is not one of them a step.
    """
    _check(labels, final, levels)
    tile, tiles = tiles_of(final.shape)
    shape = (len(labels), int(final.max()), int(np.max(labels)))
    shared = np.zeros((tiles, *shape))
    for k, label in enumerate(labels):
        np.add.at(shared[:, k], (tile, final.ravel() - 1, label.ravel() - 1), 1)
    flat = shared.reshape(tiles, -1)
    drawn = np.random.default_rng(seed).multinomial(tiles, np.full(tiles, 1 / tiles), size=draws) @ flat
    counts = np.concatenate([flat.sum(axis=0, keepdims=True), drawn]).reshape(-1, *shape)
    # The phase of each step that a final one is in: (draw, step, final phase), the first of them of the map itself.
    homes, edges, tail = counts.argmax(axis=-1), np.concatenate([[1.0], levels, [0.0]]), (1 - confidence) / 2
    drawn_at_all = counts[:, 0].sum(axis=-1) > 0
    decisions = []
    for (i, j), places in neighbours(final).items():
        both = drawn_at_all[:, i - 1] & drawn_at_all[:, j - 1]
        first = _last_run(homes[both, :, i - 1] != homes[both, :, j - 1])
        low, high = edges[first + 1], edges[first]
        # Apart at the first step, or never.
        ends = {0: 1.0, len(levels): 0.0}
        level = ends.get(int(first[0]), float(low[0] + high[0]) / 2)
        least, most = (float(np.quantile(side, q)) for side, q in ((low, tail), (high, 1 - tail)))
        decisions.append(
            Decision((i, j), level, min(least, float(low[0])), max(most, float(high[0])), places)
        )
    return decisions


def tiles_of(shape: tuple[int, ...]) -> tuple[Int[np.ndarray, "node"], int]:
    """The tile of each node, row by row, and how many tiles there are."""
    rows, columns = (np.arange(nodes) // TILE for nodes in shape)
    return (rows[:, None] * (columns[-1] + 1) + columns).ravel(), int((rows[-1] + 1) * (columns[-1] + 1))


def _last_run(apart: Bool[np.ndarray, "draw k"]) -> Int[np.ndarray, "draw"]:
    """The step from which on it holds to the end; their number if it does not at the last."""
    return apart.shape[1] - np.cumprod(apart[:, ::-1], axis=1).sum(axis=1)


def _check(labels: np.ndarray, final: np.ndarray, levels: np.ndarray) -> None:
    if len(labels) != len(levels) or any(label.shape != final.shape for label in labels):
        shapes = f"{np.shape(labels)} of {len(levels)} levels and a final map of {final.shape}"
        raise ValueError(f"there must be a map of one shape for each level, not {shapes}")
    if np.any(np.diff(levels) >= 0) or not 0 <= levels[-1] <= levels[0] <= 1:
        raise ValueError(f"levels must fall from at most 1 to at least 0, not {list(levels)}")


def phase_tree(decisions: Sequence[Decision], phases: int) -> list[Branch]:
    """The tree whose leaves are the final phases, in the order in which their boundaries come.

    From the images back to the noise the two branches join whose boundary is decided last; that between two branches
    is all that lies between their phases, its level the mean over the boundary's nodes (average linkage), so that no
    short piece where two phases touch holds together what a long boundary parts. Levels never fall on the way back.

    Args:
        decisions: a level for each two phases that meet.
        phases: how many there are, all of which must hang together.

    Returns:
        The branches: the leaves in the order of their labels, then what they grow from; the root is the last.

    Raises:
        ValueError: if the phases do not hang together.
    """
    nodes: list[Node] = [((label,), 0.0, ()) for label in range(1, phases + 1)]
    # Between two branches, by their numbers: the sum of levels over the boundary's nodes, and how many these are.
    between = {
        (low - 1, high - 1): (one.level * one.places, one.places)
        for one in decisions
        for low, high in (one.phases,)
    }
    while between:
        pair = min(between, key=lambda pair: (between[pair][0] / between[pair][1], pair))
        total, places = between.pop(pair)
        nodes.append(_parted(nodes, pair, total / places))
        joined: dict[Pair, tuple[float, int]] = {}
        for (low, high), (levels, count) in between.items():
            low, high = sorted(len(nodes) - 1 if end in pair else end for end in (low, high))
            before = joined.get((low, high), (0.0, 0))
            joined[low, high] = (before[0] + levels, before[1] + count)
        between = joined
    if len(nodes[-1][0]) < phases:
        raise ValueError(f"the boundaries given do not join all of the {phases} phases")
    return _grown(nodes)


def _parted(nodes: Sequence[Node], pair: Pair, level: float) -> Node:
    """The branch that two are; what parts at one level parts at once: three ways, not two and two."""
    # A mean rounds, and two of the same levels may differ by that.
    ends = [nodes[end][2] if nodes[end][2] and level - nodes[end][1] < 1e-12 else (end,) for end in pair]
    members = tuple(sorted(nodes[pair[0]][0] + nodes[pair[1]][0]))
    return members, level, tuple(sorted(ends[0] + ends[1]))


def _grown(nodes: Sequence[Node]) -> list[Branch]:
    """The branches that are part of the tree, numbered anew, with the level at which each is born."""
    kept, queue = [], [len(nodes) - 1]
    while queue:
        kept.append(queue.pop())
        queue += nodes[kept[-1]][2]
    kept.sort()
    number, born = {node: place for place, node in enumerate(kept)}, dict.fromkeys(kept, 1.0)
    for node in kept:
        born |= dict.fromkeys(nodes[node][2], nodes[node][1])
    return [
        Branch(nodes[node][0], nodes[node][1], born[node], tuple(number[part] for part in nodes[node][2]))
        for node in kept
    ]


def branches_at(tree: Sequence[Branch], level: float) -> list[Branch]:
    """The branches that are there at a noise level; of what parts just there, the parts."""
    return [
        branch
        for branch in tree
        if branch.level < level <= branch.born or (level <= 0 and not branch.children)
    ]


# --- two trees ---


@dataclass(frozen=True)
class Alignment:
    """Two trees side by side.

    Attributes:
        leaves: for each leaf of the first the one of the second that it shares most nodes with, if that is mutual.
        shared: share of all nodes that lie in leaves which belong together.
        pairs: boundaries that both have, by the labels of the first: its level there and in the second.
        concordance: Kendall's tau of these levels, 1 if the orders agree; NaN of fewer than two, or of equal levels.
    """

    leaves: Mapping[int, int]
    shared: float
    pairs: Mapping[Pair, tuple[float, float]]
    concordance: float


def align(
    first: Int[np.ndarray, "*nodes"],
    second: Int[np.ndarray, "*nodes"],
    decisions: tuple[Sequence[Decision], Sequence[Decision]],
) -> Alignment:
    """Set two histories of the same latents side by side: leaves by overlap, then boundaries by their leaves.

    Args:
        first: final phases of one, from 1.
        second: of the other, on the same nodes.
        decisions: of both.

    Raises:
        ValueError: if the maps differ in shape.
    """
    from scipy.stats import kendalltau

    if first.shape != second.shape:
        raise ValueError(f"maps of {first.shape} and {second.shape} nodes are not of the same latents")
    counts = overlaps(second, first)
    to, back = counts.argmax(axis=1), counts.argmax(axis=0)
    leaves = {i + 1: int(to[i]) + 1 for i in range(len(counts)) if back[to[i]] == i and counts[i, to[i]]}
    shared = sum(int(counts[i - 1, j - 1]) for i, j in leaves.items()) / first.size
    levels = {decision.phases: decision.level for decision in decisions[1]}
    pairs = {}
    for decision in decisions[0]:
        one, other = (leaves.get(label) for label in decision.phases)
        if one is not None and other is not None and (key := (min(one, other), max(one, other))) in levels:
            pairs[decision.phases] = (decision.level, levels[key])
    columns = np.array(list(pairs.values())).reshape(-1, 2).T
    varied = len(pairs) > 1 and all(np.ptp(column) > 0 for column in columns)
    tau = float(kendalltau(*columns).statistic) if varied else float("nan")
    return Alignment(leaves, shared, pairs, tau)
