"""Ising lattices beyond whole transfer matrices: log Z and its gradient from the matrix's leading eigenvectors.

The matrix between rows of a ferromagnet is ``A = D^(1/2) (M (x) M') D^(1/2)`` with ``D`` the weight of a row within
itself and ``M``, ``M'`` the meetings of its halves: positive, symmetric, and applied to a vector in ``2^(3/2 width)``.
``Z = Tr A^rows`` is all but in its leading eigenvalues, and the others are bounded by ``Tr A^2``, which is a sum over
pairs of rows and so known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hessgeo.systems.solvable.base import Points, check_points
from hessgeo.systems.solvable.transfer import meeting_matrices, row_spins

# Vectors at once: more than eigenvalues that coincide (both magnetisations, both directions of a momentum).
BLOCK = 8
LARGEST_BASIS = 320
SETTLED = 1e-2  # residual of a Ritz value, as a share of it, below which it stands for an eigenvalue
_SEED = 20_240_229  # of the vectors that the Krylov space starts from


class LeadingPartition(NamedTuple):
    """``log Z``, its gradient, and how far ``log Z`` may lie above."""

    log_partition: Float[np.ndarray, "n"]
    mean: Points
    remainder: Float[np.ndarray, "n"]


def leading_partition(natural: Points, *, width: int, rows: int, tolerance: float = 1e-7) -> LeadingPartition:
    """``log Z`` of a torus of spins at ``(K, h)``, ``K >= 0``, and the mean of ``(sum s s', sum s)``.

    A block Krylov space of ``A`` is widened until what its settled Ritz values leave out,

        sum_{i > k} lambda_i^rows <= lambda_k^(rows - 2) (Tr A^2 - sum_{i <= k} lambda_i^2),

    and what their residuals allow them to be off by, come together to less than ``tolerance Z``. The bound supposes
    that no eigenvalue above the last settled one is missed, which eight random starts see to: no more than four
    coincide. The gradient is ``rows sum_i lambda_i^(rows-1) <v_i, dA v_i> / Z`` (Hellmann-Feynman).

    Args:
        natural: ``(K, h)`` of each point.
        width: spins a row, at least 3; memory as ``2^width``, half a gigabyte at 18.
        rows: rows around the torus, at least 3.
        tolerance: on ``log Z``.

    Raises:
        ValueError: on a negative coupling, where ``A`` has eigenvalues of both signs.
        ArithmeticError: if a space of 320 dimensions does not reach the tolerance.
    """
    natural = check_points(natural)
    if np.any(natural[:, 0] < 0):
        raise ValueError(f"K is {natural[:, 0].min():g}, must not be negative")
    found = [_solve(point, width, rows, tolerance) for point in natural]
    log_z, mean, remainder = (np.array([one[k] for one in found]) for k in range(3))
    return LeadingPartition(log_z, mean.reshape(-1, 2), remainder)


@dataclass(frozen=True)
class _RowMatrix:
    """``A`` at one point, in units of the weight of a pair of rows all of whose spins lie along the field."""

    bonds: Float[np.ndarray, "rows"]  # within a row, less those of an ordered one
    spins: Float[np.ndarray, "rows"]
    root: Float[np.ndarray, "rows"]  # D^(1/2)
    high: Float[np.ndarray, "3 high high"]
    low: Float[np.ndarray, "3 low low"]

    @classmethod
    def of(cls, natural: Float[np.ndarray, "2"], width: int) -> _RowMatrix:
        coupling, field = natural
        spins = row_spins(width)
        bonds = ((spins * np.roll(spins, 1, axis=1)).sum(axis=1) - width).astype(np.float64)
        total = (spins.sum(axis=1) - (-width if field < 0 else width)).astype(np.float64)
        root = np.exp((coupling * bonds + field * total) / 2)
        halves = (meeting_matrices(half, coupling) for half in (width - width // 2, width // 2))
        return cls(bonds, total, root, *halves)

    def _meet(self, v: Float[np.ndarray, "m rows"], high: np.ndarray, low: np.ndarray) -> np.ndarray:
        return (high @ v.reshape(len(v), len(high), len(low)) @ low).reshape(v.shape)

    def apply(self, v: Float[np.ndarray, "m rows"]) -> Float[np.ndarray, "m rows"]:
        """``A v`` of each row."""
        return self.root * self._meet(self.root * v, self.high[0], self.low[0])

    @property
    def square_trace(self) -> float:
        """``Tr A^2``, the sum of the squares of its entries."""
        weight = self.root[None] ** 2
        return float((weight * self._meet(weight, self.high[0] ** 2, self.low[0] ** 2)).sum())

    def slopes(
        self, v: Float[np.ndarray, "m rows"], value: Float[np.ndarray, "m"]
    ) -> Float[np.ndarray, "m 2"]:
        """``<v, dA v>`` by ``K`` and ``h`` for eigenvectors ``v`` of eigenvalues ``value``."""
        w = self.root * v
        between = self._meet(w, self.high[1], self.low[0]) + self._meet(w, self.high[0], self.low[1])
        density = v**2
        return np.stack(
            [value * (density @ self.bonds) + (w * between).sum(axis=1), value * (density @ self.spins)], 1
        )


def _solve(
    natural: Float[np.ndarray, "2"], width: int, rows: int, tolerance: float
) -> tuple[float, Float[np.ndarray, "2"], float]:
    matrix = _RowMatrix.of(natural, width)
    square, size = matrix.square_trace, len(matrix.root)
    block, _ = _orthonormal(np.random.default_rng(_SEED).standard_normal((BLOCK, size)), np.empty((0, size)))
    basis, projected = np.empty((0, size)), np.empty((0, 0))
    while True:
        image = matrix.apply(block)
        basis = np.concatenate([basis, block])
        column = basis @ image.T
        projected = np.block([[projected, column[: len(projected)]], [column.T]])
        value, vectors = np.linalg.eigh(projected)
        value, vectors = value[::-1].clip(min=0), vectors[:, ::-1]
        block, rest = _orthonormal(image, basis)
        # A v - value v has a part along the next block alone.
        residual = np.linalg.norm(rest @ vectors[-len(block) :], axis=0)
        settled = int(np.argmax(np.append(residual > SETTLED * value, True)))
        remainder = _remainder(value[:settled], residual[:settled], square, rows)
        if remainder <= tolerance:
            break
        if len(basis) + len(block) > min(LARGEST_BASIS, size):
            raise ArithmeticError(f"the eigenvalues of a row of {width} spins leave {remainder:.1e} of Z out")
    share = (value[:settled] / value[0]) ** rows
    kept = max(1, int((share > 1e-3 * tolerance).sum()))
    v = vectors[:, :kept].T @ basis
    weight = share[:kept] / share.sum()
    mean = rows * (weight / value[:kept]) @ matrix.slopes(v, value[:kept])
    sign = -1.0 if natural[1] < 0 else 1.0
    ordered = np.array([2.0 * rows * width, sign * rows * width])
    log_z = rows * np.log(value[0]) + np.log(share.sum()) + ordered @ natural
    return float(log_z), mean + ordered, remainder


def _remainder(
    value: Float[np.ndarray, "k"], residual: Float[np.ndarray, "k"], square: float, rows: int
) -> float:
    """Bound on what is missing of ``Z``, as a share of it: other eigenvalues, and errors of these."""
    if not len(value):
        return np.inf
    scaled = value / value[0]
    share = scaled**rows
    others = scaled[-1] ** (rows - 2) * max(square / value[0] ** 2 - float((scaled**2).sum()), 0.0)
    # An eigenvalue lies within the residual of each Ritz value.
    errors = rows * float((share * residual / value).sum())
    return (others + errors) / float(share.sum())


def _orthonormal(
    block: Float[np.ndarray, "m rows"], basis: Float[np.ndarray, "k rows"]
) -> tuple[Float[np.ndarray, "m rows"], Float[np.ndarray, "m m"]]:
    """Orthonormal rows ``q`` orthogonal to the basis, and ``r`` with ``block = r' q`` plus a part in the basis."""
    whole = np.eye(len(block))
    # Twice is enough (Parlett 1980).
    for _ in range(2):
        block = block - (block @ basis.T) @ basis
        q, r = np.linalg.qr(block.T)
        block, whole = np.ascontiguousarray(q.T), r @ whole
    return block, whole
