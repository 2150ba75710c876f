"""How often a phase, and each place of a boundary, is found again in replicates of a map, and by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from scipy.stats import binomtest

REAL, NOT_TOLD = "real", "not told from noise"

_OVERLAP = 0.5  # of the union: above it at most one phase of another map is a partner (Hennig 2007)
_REACH = 1.0  # grid steps between two places that count as the same
_SHIFTS = 4  # of each replicate, round the box as on a torus, for what chance finds
_SEED = 71


@dataclass(frozen=True)
class Frequency:
    """How often something is found again.

    Attributes:
        share: of the replicates.
        low: end of the Clopper-Pearson interval of the share, at the confidence asked for.
        high: its other end.
        chance: share of replicates moved round the box at random in which it is found as well.
        verdict: ``real`` if it is found in at least ``confidence`` of the replicates and ``low`` lies above
            ``chance``; else ``not told from noise``.
    """

    share: float
    low: float
    high: float
    chance: float
    verdict: str


@dataclass(frozen=True)
class Recurrence:
    """What of a map of phases is found again.

    Attributes:
        phases: of each phase, by its label.
        boundaries: of each two neighbouring phases.
        edges: of each pair of unlike neighbours the share of replicates with a boundary within one grid step of the
            place half-way, in the order of ``edge_places``.
    """

    phases: dict[int, Frequency]
    boundaries: dict[tuple[int, int], Frequency]
    edges: Float[np.ndarray, "edge"]


def overlaps(
    label: Int[np.ndarray, "*nodes"], other: Int[np.ndarray, "*nodes"]
) -> Float[np.ndarray, "phase"]:
    """Largest share of the union that each phase of a map shares with one phase of another (Jaccard), by label."""
    count = int(other.max()) + 1
    pairs = np.bincount((label * count + other).ravel(), minlength=(int(label.max()) + 1) * count)
    shared = pairs.reshape(-1, count)[1:, 1:].astype(float)
    union = shared.sum(axis=1)[:, None] + shared.sum(axis=0) - shared
    return (shared / np.maximum(union, 1)).max(axis=1)


def edge_places(label: Int[np.ndarray, "*nodes"]) -> tuple[Int[np.ndarray, "edge axis"], np.ndarray]:
    """Places half-way between unlike neighbours, in half grid steps, and the two labels there, the smaller first.

    Returns:
        ``(edge, axis)``, sums of the indices of the two nodes; and ``(edge, 2)`` labels.
    """
    places, pairs = [], []
    for axis in range(label.ndim):
        here, there = np.moveaxis(label, axis, 0)[:-1], np.moveaxis(label, axis, 0)[1:]
        place = np.argwhere(here != there)
        both = np.stack([here[tuple(place.T)], there[tuple(place.T)]], axis=1)
        place = 2 * np.insert(place[:, 1:], axis, place[:, 0], axis=1)
        place[:, axis] += 1
        places.append(place)
        pairs.append(np.sort(both, axis=1))
    return np.concatenate(places), np.concatenate(pairs)


def near_boundary(
    label: Int[np.ndarray, "*nodes"], places: Int[np.ndarray, "edge axis"], *, reach: float = _REACH
) -> Bool[np.ndarray, "edge"]:
    """Whether a map has a boundary within ``reach`` grid steps of places given in half grid steps."""
    apart = np.ones([2 * nodes - 1 for nodes in label.shape], dtype=bool)
    own, _ = edge_places(label)
    if not len(own):
        return np.zeros(len(places), dtype=bool)
    apart[tuple(own.T)] = False
    return distance_transform_edt(apart)[tuple(places.T)] <= 2 * reach + 1e-9


def recurrence(
    label: Int[np.ndarray, "*nodes"],
    replicates: Sequence[Int[np.ndarray, "*nodes"]],
    *,
    confidence: float = 0.95,
) -> Recurrence:
    """How often the phases and boundaries of a map are found again in its replicates.

    A phase is found where one phase of the replicate shares more than half of the union of both; a boundary where
    more than half of its edges have a boundary of the replicate within one grid step. What chance finds is counted on
    the same replicates moved round the box at random: a map crowded with boundaries finds everything.

    Args:
        label: phase of each node, from 1.
        replicates: of the same nodes, at least one.
        confidence: of the intervals, and the share of replicates that a real phase is found in; in (0, 1).

    Raises:
        ValueError: if there is no replicate, or one of another shape.
    """
    if not replicates or any(other.shape != label.shape for other in replicates):
        raise ValueError(f"{len(replicates)} replicates must be one or more, of the shape {label.shape}")
    places, pairs = edge_places(label)
    names = sorted({(int(p), int(q)) for p, q in pairs})
    member = [(pairs == name).all(axis=1) for name in names]
    rng = np.random.default_rng(_SEED)
    seen = [_seen(label, other, places, member) for other in replicates]
    moved = [_seen(label, _moved(other, rng), places, member) for other in replicates for _ in range(_SHIFTS)]
    phases, boundaries, edges = (np.stack([one[k] for one in seen]) for k in range(3))
    by_chance, lines_by_chance = (np.stack([one[k] for one in moved]).mean(axis=0) for k in range(2))
    return Recurrence(
        {k + 1: frequency(phases[:, k], by_chance[k], confidence) for k in range(phases.shape[1])},
        {name: frequency(boundaries[:, k], lines_by_chance[k], confidence) for k, name in enumerate(names)},
        edges.mean(axis=0),
    )


def edges_found(
    label: Int[np.ndarray, "*nodes"],
    other: Int[np.ndarray, "*nodes"],
    *,
    draws: int = 100,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Share of a map's edges within a grid step of another's, and what chance reaches at most.

    Returns:
        The share; and its quantile ``confidence`` with the other map moved round the box at random.
    """
    places, _ = edge_places(label)
    if not len(places):
        return 1.0, 1.0
    rng = np.random.default_rng(_SEED)
    null = [near_boundary(_moved(other, rng), places).mean() for _ in range(draws)]
    return float(near_boundary(other, places).mean()), float(np.quantile(null, confidence))


def frequency(found: Bool[np.ndarray, "replicate"], chance: float, confidence: float) -> Frequency:
    """The share of replicates that found something, its interval and the verdict on it, see ``Frequency``."""
    count, of = int(np.sum(found)), len(found)
    interval = binomtest(count, of).proportion_ci(confidence, method="exact")
    real = count >= confidence * of and interval.low > chance
    return Frequency(
        count / of, float(interval.low), float(interval.high), float(chance), REAL if real else NOT_TOLD
    )


def _seen(
    label: np.ndarray, other: np.ndarray, places: np.ndarray, member: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which phases, which boundaries and which edges a replicate has."""
    near = near_boundary(other, places)
    lines = np.array([near[own].mean() > 0.5 for own in member], dtype=bool)
    return overlaps(label, other) > _OVERLAP, lines, near


def _moved(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A map moved round the box as on a torus, by at least an eighth of the box along each axis."""
    steps = [int(rng.integers(nodes // 8, nodes - nodes // 8 + 1)) for nodes in label.shape]
    return np.roll(label, steps, axis=tuple(range(label.ndim)))
