"""Swendsen-Wang sampling of square lattices with ferromagnetic couplings and a field.

Local updates do not equilibrate an ordered lattice; this one moves whole clusters.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from hessgeo.systems.random_streams import next_uniform, next_word, open_stream, stream_keys

_ZERO, _ONE, _TOP = np.uint64(0), np.uint64(1), np.uint64(1 << 62)


@njit
def _join(parent: np.ndarray, i: int, j: int) -> None:
    """Merge the clusters of two sites; the smaller root stays, so that a root comes before its cluster."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    while parent[j] != j:
        parent[j] = parent[parent[j]]
        j = parent[j]
    if i < j:
        parent[j] = i
    elif j < i:
        parent[i] = j


@njit
def _coins(odds: np.uint64, stream: np.ndarray) -> np.uint64:
    """64 independent bits, each set with probability ``odds / 2^63``.

    Each bit stands for a uniform number, compared with the odds digit by digit until none is undecided: eight words of
    random bits for 64 comparisons, on average.
    """
    undecided, coins = ~_ZERO, _ZERO
    digit = _TOP
    while undecided != _ZERO and digit != _ZERO:
        word = next_word(stream)
        if odds & digit:
            coins |= undecided & ~word
            undecided &= word
        else:
            undecided &= ~word
        digit >>= _ONE
    return coins


@njit
def _bond(
    spins: np.ndarray, parent: np.ndarray, side: int, diagonal: bool, odds: np.uint64, stream: np.ndarray
) -> None:
    """Join equal neighbours along both axes, or both diagonals, each with probability ``odds / 2^63``."""
    one_coins, two_coins = _ZERO, _ZERO
    for y in range(side):
        row, below = y * side, (y + 1 if y + 1 < side else 0) * side
        for x in range(side):
            if x & 63 == 0:
                one_coins, two_coins = _coins(odds, stream), _coins(odds, stream)
            i, right = row + x, x + 1 if x + 1 < side else 0
            if diagonal:
                one, two = below + right, below + (x - 1 if x > 0 else side - 1)
            else:
                one, two = row + right, below + x
            if (one_coins & _ONE) & np.uint64(spins[i] == spins[one]):
                _join(parent, i, one)
            if (two_coins & _ONE) & np.uint64(spins[i] == spins[two]):
                _join(parent, i, two)
            one_coins >>= _ONE
            two_coins >>= _ONE


@njit
def _turn(spins: np.ndarray, parent: np.ndarray, size: np.ndarray, field: float, stream: np.ndarray) -> None:
    """Give each cluster a new spin, up with odds of exp(2 field size): the sum over the ghost's bonds, done exactly."""
    sites = len(spins)
    if field != 0.0:
        for i in range(sites):
            size[i] = 0
        for i in range(sites):
            # A root comes before its cluster, so that its own root is known.
            parent[i] = parent[parent[i]]
            size[parent[i]] += 1
    for i in range(sites):
        root = parent[parent[i]]
        parent[i] = root
        if root != i:
            spins[i] = spins[root]
        elif field == 0.0:
            spins[i] = 1 if next_word(stream) >> np.uint64(63) else -1
        else:
            up = 1.0 / (1.0 + np.exp(-2.0 * field * size[i]))
            spins[i] = 1 if next_uniform(stream) < up else -1


@njit
def _run(
    seed: np.uint64,
    index: np.ndarray,
    odds: np.ndarray,
    field: np.ndarray,
    sweeps: int,
    side: int,
    out: np.ndarray,
) -> None:
    stream, parent = np.empty(4, dtype=np.uint64), np.empty(side * side, dtype=np.int32)
    size = np.zeros(side * side, dtype=np.int32)
    for n in range(len(index)):
        open_stream(seed, index[n], stream)
        spins = out[n]
        for i in range(side * side):
            spins[i] = 1
        for _ in range(sweeps):
            for i in range(side * side):
                parent[i] = i
            _bond(spins, parent, side, False, odds[n, 0], stream)
            if odds[n, 1] > _ZERO:
                _bond(spins, parent, side, True, odds[n, 1], stream)
            _turn(spins, parent, size, field[n], stream)


def swendsen_wang(
    couplings: Float[np.ndarray, "n 2"],
    field: Float[np.ndarray, "n"],
    index: Int[np.ndarray, "n"],
    seed: int,
    *,
    side: int,
    sweeps: int,
) -> Int[np.ndarray, "n side side"]:
    """Draw one state a point of ``exp(K1 sum_nearest s s' + K2 sum_diagonal s s' + h sum s)`` on a torus.

    Equal neighbours are bonded with probability ``1 - exp(-2 K)`` (Swendsen and Wang 1987); each cluster then takes a
    spin from its exact distribution in the field, which is the ghost spin summed over. Starts from all spins up.

    Args:
        couplings: ``(K1, K2)`` at each point, neither negative.
        field: ``h`` at each point.
        index: number of each sample, with ``seed`` all that its randomness comes from.
        seed: seed of the study.
        side: spins along each axis, at least 3.
        sweeps: updates of all bonds and clusters before the state is taken.

    Raises:
        ValueError: on a negative coupling, which clusters cannot sample.
    """
    if np.any(couplings < 0):
        raise ValueError(f"a coupling is {couplings.min():g}, must not be negative for cluster sampling")
    out = np.empty((len(index), side * side), dtype=np.int8)
    # Just below 1 at most: the digits before the point are not compared.
    odds = np.minimum(-np.expm1(-2 * couplings) * 2.0**63, 2.0**63 - 1024).astype(np.uint64)
    key, indices = stream_keys(index, seed)
    _run(key, indices, odds, np.ascontiguousarray(field, dtype=np.float64), sweeps, side, out)
    return out.reshape(-1, side, side)
