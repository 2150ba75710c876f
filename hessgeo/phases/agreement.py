"""How far two maps of phases agree: the adjusted Rand index, its interval over replicates, and a null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Float64, Int

STABLE, RELATED, UNRELATED = "as one map", "alike, but not as one map", "not told from chance"
ALIKE = "alike beyond chance"  # of maps without replicates, which say no more

_DRAWS = 400  # of one map moved and turned round the box
_SEED = 72


@dataclass(frozen=True)
class Agreement:
    """How far two maps of the same nodes agree.

    Attributes:
        first: name of one map.
        second: name of the other.
        value: adjusted Rand index of the two maps.
        low: quantile of the index over replicates, at the confidence asked for; the value where that is less.
        high: its other end.
        chance: quantile ``confidence`` of the index with one map moved and turned at random.
        p: share of those that reach the value, itself counted among them.
        own: lower quantile of what replicates of either map alone agree with the map they are of, the less of both.
        verdict: ``not told from chance`` if the value does not exceed ``chance``; else ``as one map`` if ``high``
            reaches ``own``, or ``alike, but not as one map``;
            of maps without replicates ``alike beyond chance``.
    """

    first: str
    second: str
    value: float
    low: float
    high: float
    chance: float
    p: float
    own: float
    verdict: str


def rand_of_table(table: Float[np.ndarray, "*batch p q"]) -> Float64[np.ndarray, "*batch"]:
    """Adjusted Rand index (Hubert & Arabie 1985) of a table of how often two labels meet.

    It is 1 where the labels agree up to their names, 0 on average where they have nothing to do with each other, and 1
    of two labels that are both constant.
    """

    def pairs(counts: np.ndarray) -> np.ndarray:
        return counts * (counts - 1) / 2

    both = pairs(table).sum(axis=(-2, -1))
    one, other = pairs(table.sum(axis=-1)).sum(axis=-1), pairs(table.sum(axis=-2)).sum(axis=-1)
    expected = one * other / pairs(table.sum(axis=(-2, -1)))
    room = (one + other) / 2 - expected
    return np.divide(both - expected, room, where=room > 0, out=np.ones_like(room))


def adjusted_rand(label: Int[np.ndarray, "*nodes"], other: Int[np.ndarray, "*nodes"]) -> float:
    """Adjusted Rand index of two labels, whole numbers from 0 on, of the same nodes; see ``rand_of_table``."""
    rows, columns = int(label.max()) + 1, int(other.max()) + 1
    met = np.bincount((label.astype(np.int64) * columns + other).ravel(), minlength=rows * columns)
    return float(rand_of_table(met.reshape(rows, columns).astype(float)))


def chance_agreement(
    label: Int[np.ndarray, "*nodes"], other: Int[np.ndarray, "*nodes"], *, draws: int = _DRAWS
) -> Float[np.ndarray, "draw"]:
    """Adjusted Rand index of a map with another that is moved round the box, mirrored and turned at random.

    The moved map has the same phases, areas and smoothness, and has lost its place. Of a box that is not square
    quarter turns are left out.
    """
    rng = np.random.default_rng(_SEED)
    found = []
    for _ in range(draws):
        moved = np.roll(other, rng.integers(0, other.shape), axis=tuple(range(other.ndim)))
        for axis in range(other.ndim):
            moved = np.flip(moved, axis) if rng.random() < 0.5 else moved
        if len(set(other.shape)) == 1 and rng.random() < 0.5:
            moved = moved.T
        found.append(adjusted_rand(label, moved))
    return np.array(found)


def agreement(
    names: tuple[str, str],
    label: Int[np.ndarray, "*nodes"],
    other: Int[np.ndarray, "*nodes"],
    replicates: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    *,
    confidence: float = 0.95,
) -> Agreement:
    """How far two maps agree, with the interval over their replicates and against chance.

    Args:
        names: of both maps.
        label: the first.
        other: the second.
        replicates: of each map, draw by draw from the same nodes; of a map that has none, none.
        confidence: of the interval and the test.
    """
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    value, null = adjusted_rand(label, other), chance_agreement(label, other)
    # A map without replicates is taken as it is.
    count = max(map(len, replicates))
    drawn = [own or [map_] * count for own, map_ in zip(replicates, (label, other), strict=True)]
    spread = [adjusted_rand(p, q) for p, q in zip(*drawn, strict=True)] or [value]
    # Of half of the nodes maps agree a little less: the interval holds the value that it is of.
    low, high = np.quantile([*spread, value], tails)
    low, high = min(low, value), max(high, value)
    alone = [
        np.quantile([adjusted_rand(map_, p) for p in own], tails[0])
        for own, map_ in zip(replicates, (label, other), strict=True)
        if own
    ]
    own, limit = float(min(alone, default=1.0)), float(np.quantile(null, confidence))
    word = UNRELATED if value <= limit else ALIKE if not alone else STABLE if high >= own else RELATED
    p = (1 + int((null >= value).sum())) / (1 + len(null))
    return Agreement(*names, value, float(low), float(high), limit, p, own, word)


def agreements(
    maps: Mapping[str, Int[np.ndarray, "*nodes"]],
    replicates: Mapping[str, Sequence[np.ndarray]],
    *,
    confidence: float = 0.95,
) -> list[Agreement]:
    """``agreement`` of every two of some maps, in their order."""
    return [
        agreement(
            (one, two), maps[one], maps[two], (replicates.get(one, ()), replicates.get(two, ())),
            confidence=confidence,
        )
        for one, two in combinations(maps, 2)
    ]  # fmt: skip
