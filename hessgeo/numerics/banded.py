"""Symmetric banded matrices, as LAPACK stores their lower triangle: sums of small blocks, and their solution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.sparse import coo_matrix, spmatrix

_HAIRS = (0.0, 1e-14, 1e-12, 1e-10)  # of a diagonal of ones


def band(matrix: spmatrix, width: int) -> Float[np.ndarray, "diagonal size"]:
    """The lower diagonals of a sparse symmetric matrix, ``[k, j] = A[j + k, j]``.

    Args:
        matrix: zero farther than ``width`` from its diagonal.
        width: diagonals below the main one.

    Raises:
        ValueError: if something lies farther away.
    """
    entries = coo_matrix(matrix)
    below = entries.row >= entries.col
    row, column = entries.row[below].astype(np.int64), entries.col[below].astype(np.int64)
    if (row - column > width).any():
        raise ValueError(f"a matrix of band width {(row - column).max()} does not fit into {width} diagonals")
    size = matrix.shape[1]
    flat = np.bincount((row - column) * size + column, entries.data[below], (width + 1) * size)
    return flat.reshape(width + 1, size)


@dataclass(frozen=True)
class Blocks:
    """Where small symmetric blocks go in a banded matrix: block ``m`` belongs to unknowns ``rows[m]``.

    Attributes:
        rows: unknowns of each block, ascending.
        size: number of unknowns.
    """

    rows: Int[np.ndarray, "block near"]
    size: int

    @property
    def width(self) -> int:
        """Diagonals below the main one that the blocks reach."""
        return int((self.rows[:, -1] - self.rows[:, 0]).max())

    @property
    def pairs(self) -> tuple[Int[np.ndarray, "pair"], Int[np.ndarray, "pair"]]:
        """Rows and columns of the lower triangle of a block."""
        return np.tril_indices(self.rows.shape[1])

    def places(self) -> Int[np.ndarray, "block_pair"]:
        """Flat places, in the band, of all entries of the blocks' lower triangles; to be computed once."""
        low, high = self.pairs
        columns = self.rows[:, high]
        return ((self.rows[:, low] - columns) * self.size + columns).ravel()


def solve(
    matrix: Float[np.ndarray, "diagonal size"], right: Float[np.ndarray, "size *column"]
) -> Float[np.ndarray, "size *column"]:
    """``A^-1 y`` by Cholesky's method, for a positive definite band; after scaling its diagonal to one.

    A matrix that rounding has made indefinite gets a hair more on its diagonal, which makes of a step of Newton's a
    shorter one.

    Raises:
        numpy.linalg.LinAlgError: if the matrix is not positive definite.
    """
    root = np.sqrt(np.where(matrix[0] > 0, matrix[0], 1.0))
    scaled = matrix / root
    for k in range(len(matrix)):  # the row j + k of column j
        scaled[k, : matrix.shape[1] - k] /= root[k:]
    for hair in _HAIRS:
        scaled[0] += hair
        try:
            factor = cholesky_banded(scaled, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            if hair == _HAIRS[-1]:
                raise
            continue
        break
    root = root.reshape(-1, *(1,) * (right.ndim - 1))
    return cho_solve_banded((factor, True), right / root, check_finite=False) / root
