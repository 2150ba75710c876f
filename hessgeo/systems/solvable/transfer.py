"""Transfer matrices of two-dimensional lattices: partition functions with their derivatives, and exact samples.

A row of ``width`` spins is a number whose bit ``i`` is set where spin ``i`` is up. The matrix between rows is
symmetric, ``A_ss' = exp(t1 phi1(s, s') + t2 phi2(s, s'))``, and ``Z = Tr A^rows``. Statistics are counted from those of
a configuration near the most likely one, so that nothing overflows and variances of an ordered lattice lose no digits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from hessgeo.numerics.jets import D1, D2, D11, D12, SIZE, VALUE, exponential_jet, multiply

# 50 MB of work at 12 x 12.
STARTS_AT_ONCE = 32


def row_spins(width: int) -> Int[np.ndarray, "rows width"]:
    """The spins, -1 or 1, of every row."""
    return 2 * ((np.arange(2**width)[:, None] >> np.arange(width)) & 1) - 1


def bracelets(width: int) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"]]:
    """One row of each class under rotation and reflection, and the number of rows in its class."""
    rows = np.arange(2**width)
    reflected = sum(((rows >> i) & 1) << (width - 1 - i) for i in range(width))
    smallest = rows.copy()
    for one in (rows, reflected):
        for shift in range(width):
            turned = ((one << shift) | (one >> (width - shift))) & (2**width - 1)
            smallest = np.minimum(smallest, turned)
    return np.unique(smallest, return_counts=True)


def trace_jet(
    phi: Float[np.ndarray, "2 rows rows"], t: Float[np.ndarray, "2"], *, width: int, rows: int
) -> Float[np.ndarray, "6"]:
    """The jet of ``Tr A^rows`` from the whole matrix; time as ``4^width`` times the number of bracelets.

    Args:
        phi: statistics of each pair of rows, symmetric and invariant under rotation and reflection of both.
        t: their parameters.
        width: spins a row.
        rows: rows around the torus.
    """
    matrix = exponential_jet(t[0] * phi[0] + t[1] * phi[1], phi[0], phi[1])
    starts, counts = bracelets(width)
    half = np.zeros((SIZE, 2**width, len(starts)))
    half[VALUE, starts, np.arange(len(starts))] = 1
    for _ in range(rows // 2):
        half = multiply(matrix, half, np.matmul)
    rest = multiply(matrix, half, np.matmul) if rows % 2 else half
    return multiply(half, rest).sum(axis=1) @ counts


def factorised_trace_jet(
    first: Float[np.ndarray, "rows"],
    second: Float[np.ndarray, "rows"],
    t: Float[np.ndarray, "2"],
    *,
    rows: int,
) -> Float[np.ndarray, "6"]:
    """The jet of ``Tr A^rows`` where rows meet by ``t1 sum_i s_i s'_i`` alone, so that half a row is summed at a time.

    ``t1`` couples neighbouring rows; a pair of spins counts ``s s' - sign(t1)``, so that the favoured one has weight
    1. Time as ``rows 2^(3/2 width)`` times the number of bracelets: a second at 12 x 12.

    Args:
        first: statistic of ``t1`` within each row.
        second: statistic of ``t2`` within each row.
        t: the parameters.
        rows: rows around the torus.
    """
    width = len(first).bit_length() - 1
    halves = (meeting_matrices(width - width // 2, t[0]), meeting_matrices(width // 2, t[0]))
    inside = exponential_jet((t[0] * first + t[1] * second) / 2, first / 2, second / 2)[:, None, :]
    starts, counts = bracelets(width)
    total = np.zeros(SIZE)
    for begin in range(0, len(starts), STARTS_AT_ONCE):
        part = slice(begin, begin + STARTS_AT_ONCE)
        half = np.zeros((SIZE, len(starts[part]), 2**width))
        half[VALUE, np.arange(len(starts[part])), starts[part]] = 1
        for _ in range(rows // 2):
            half = _advance(half, inside, halves)
        rest = _advance(half, inside, halves) if rows % 2 else half
        total += multiply(half, rest).sum(axis=2) @ counts[part]
    return total


def meeting_matrices(width: int, t1: float) -> Float[np.ndarray, "3 rows rows"]:
    """``exp(t1 phi)`` and its two derivatives, with ``phi`` the sum over pairs of spins of ``s s' - sign(t1)``."""
    spins = row_spins(width)
    phi = (spins @ spins.T - (width if t1 >= 0 else -width)).astype(np.float64)
    weight = np.exp(t1 * phi)
    return np.stack([weight, phi * weight, phi**2 * weight])


def _advance(
    v: Float[np.ndarray, "6 m rows"],
    inside: Float[np.ndarray, "6 1 rows"],
    halves: tuple[Float[np.ndarray, "3 high high"], Float[np.ndarray, "3 low low"]],
) -> Float[np.ndarray, "6 m rows"]:
    """One factor of the matrix: half the weight of a row, the meeting with the next, half the weight of that."""
    high, low = halves
    shape = v.shape
    v = multiply(inside, v).reshape(*shape[:2], high.shape[1], low.shape[1])
    v = _meet(v, high, lambda matrix, x: matrix @ x)
    v = _meet(v, low, lambda matrix, x: x @ matrix)
    return multiply(inside, v.reshape(shape))


def _meet(
    v: Float[np.ndarray, "6 *any"], matrices: Float[np.ndarray, "3 s s"], apply: Callable[..., np.ndarray]
) -> Float[np.ndarray, "6 *any"]:
    """Apply a jet that depends on the first parameter alone."""
    out = apply(matrices[0], v)
    slope, bend = apply(matrices[1], v[[VALUE, D1, D2]]), apply(matrices[2], v[VALUE])
    out[D1] += slope[0]
    out[D11] += 2 * slope[1] + bend
    out[D12] += slope[2]
    return out


class RowSampler:
    """Independent exact samples of a torus, one row after another from powers of its transfer matrix.

    The first row has probability ``(A^rows)_ss / Z``, each further row ``A_{s's} (A^left)_{s, first}`` given the last
    row ``s'``. The powers take two or three products of matrices for each new parameter point.

    Args:
        log_matrix: natural parameters -> ``log A``, up to a constant.
        width: spins a row.
        rows: rows around the torus.
    """

    def __init__(
        self,
        log_matrix: Callable[[Float[np.ndarray, "2"]], Float[np.ndarray, "rows rows"]],
        *,
        width: int,
        rows: int,
    ) -> None:
        self.log_matrix, self.width, self.rows = log_matrix, width, rows
        self.spins = row_spins(width).astype(np.int8)

    def sample(
        self, natural: Float[np.ndarray, "n 2"], uniforms: Float[np.ndarray, "n rows"]
    ) -> Int[np.ndarray, "n rows width"]:
        """One sample at each point, from one uniform number a row."""
        states = np.empty((len(natural), self.rows, self.width), dtype=np.int8)
        points, which = np.unique(natural, axis=0, return_inverse=True)
        which = which.reshape(-1)
        for k, point in enumerate(points):
            log_matrix = self.log_matrix(point)
            matrix = np.exp(log_matrix - log_matrix.max())
            first = np.cumsum(self._closed_loops(matrix))
            for i in np.flatnonzero(which == k):
                states[i] = self.spins[self._draw(matrix, first, uniforms[i])]
        return states

    def _closed_loops(self, matrix: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "s"]:
        """The diagonal of ``A^rows``, up to a factor."""
        half = np.linalg.matrix_power(matrix, self.rows // 2)
        rest = half @ matrix if self.rows % 2 else half
        return np.einsum("ij,ij->i", half, rest)

    def _draw(
        self,
        matrix: Float[np.ndarray, "s s"],
        first: Float[np.ndarray, "s"],
        uniform: Float[np.ndarray, "rows"],
    ) -> list[int]:
        drawn = [_invert(first, uniform[0])]
        # Columns drawn[0] of A, A^2, ..., each scaled to a largest entry of 1.
        ways = [np.zeros(len(matrix))]
        ways[0][drawn[0]] = 1
        for _ in range(self.rows - 1):
            column = matrix @ ways[-1]
            ways.append(column / column.max())
        for k in range(1, self.rows):
            drawn.append(_invert(np.cumsum(matrix[drawn[-1]] * ways[self.rows - k]), uniform[k]))
        return drawn


def _invert(cumulative: Float[np.ndarray, "s"], uniform: float) -> int:
    """The entry that a uniform number falls on; never one of zero weight."""
    return int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
