"""Swendsen-Wang sampling of square lattices with ferromagnetic couplings and a field.

Local updates do not equilibrate an ordered lattice; this one moves whole clusters.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from hessgeo.systems.random_streams import next_uniform, next_word, open_stream, stream_keys

# Most clusters are smaller: their odds are looked up.
_SMALL = 16
_ZERO, _ONE, _TOP = np.uint64(0), np.uint64(1), np.uint64(1 << 62)


@njit
def _find(parent: np.ndarray, i: int) -> int:
    """The root of a site's cluster; paths are halved on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit
def _join(parent: np.ndarray, i: int, j: int) -> None:
    """Merge the clusters of two sites; the smaller root stays, so that a root comes before its cluster."""
    i, j = _find(parent, i), _find(parent, j)
    parent[max(i, j)] = min(i, j)


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
def _bond_sides(
    spins: np.ndarray, parent: np.ndarray, side: int, odds: np.uint64, stream: np.ndarray
) -> None:
    """Start clusters by joining equal neighbours along both axes, each with probability ``odds / 2^63``.

    Row after row no site below has been met yet, so that it takes the root above it, or its own, without a search;
    and no step to the right depends on a coin, which a processor could not foresee.
    """
    one_coins, two_coins = _ZERO, _ZERO
    for i in range(side):
        parent[i] = i
    for y in range(side):
        row, last = y * side, y == side - 1
        root = _find(parent, row)
        for x in range(side):
            i, right = row + x, row + (x + 1 if x + 1 < side else 0)
            if i & 63 == 0:
                one_coins, two_coins = _coins(odds, stream), _coins(odds, stream)
            other = _find(parent, right)
            bonded = (one_coins & _ONE) & np.uint64(spins[i] == spins[right])
            low = min(root, other) if bonded else root
            parent[max(root, other) if bonded else root] = low
            if not last:
                below = i + side
                parent[below] = low if (two_coins & _ONE) & np.uint64(spins[i] == spins[below]) else below
            root = low if bonded else other
            one_coins >>= _ONE
            two_coins >>= _ONE
    row = side * (side - 1)
    for x in range(side):
        if x & 63 == 0:
            two_coins = _coins(odds, stream)
        if (two_coins & _ONE) & np.uint64(spins[row + x] == spins[x]):
            _join(parent, x, row + x)
        two_coins >>= _ONE


@njit
def _bond_diagonals(
    spins: np.ndarray, parent: np.ndarray, side: int, odds: np.uint64, stream: np.ndarray
) -> None:
    """Join equal neighbours along both diagonals, each with probability ``odds / 2^63``."""
    one_coins, two_coins = _ZERO, _ZERO
    for y in range(side):
        row, below = y * side, (y + 1 if y + 1 < side else 0) * side
        for x in range(side):
            i = row + x
            if i & 63 == 0:
                one_coins, two_coins = _coins(odds, stream), _coins(odds, stream)
            one, two = below + (x + 1 if x + 1 < side else 0), below + (x - 1 if x > 0 else side - 1)
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
    small = np.empty(_SMALL)
    for count in range(_SMALL):
        small[count] = 1.0 / (1.0 + np.exp(-2.0 * field * count))
    coins = _ZERO
    for i in range(sites):
        if i & 63 == 0:
            coins = next_word(stream)
        root = parent[parent[i]]
        parent[i] = root
        if field == 0.0:
            fresh = 1 if coins & _ONE else -1
            spins[i] = fresh if root == i else spins[root]
        elif root == i:
            count = size[i]
            up = small[count] if count < _SMALL else 1.0 / (1.0 + np.exp(-2.0 * field * count))
            spins[i] = 1 if next_uniform(stream) < up else -1
        else:
            spins[i] = spins[root]
        coins >>= _ONE


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
            _bond_sides(spins, parent, side, odds[n, 0], stream)
            if odds[n, 1] > _ZERO:
                _bond_diagonals(spins, parent, side, odds[n, 1], stream)
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
