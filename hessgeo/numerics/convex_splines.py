"""Convexity of cubic splines as a property of finitely many small matrices: the control net of the Hessian.

Within a cell the Hessian of a tensor-product cubic spline is a polynomial in the cell's coordinates, so it is a convex
combination of its Bernstein coefficients there (de Casteljau; Farin, *Curves and Surfaces*). If these matrices are
positive definite, the Hessian is so at every point of the box, not on a lattice alone. Each is linear in the spline's
coefficients, so the condition is convex, and ``-sum log det`` is a self-concordant barrier of it (Nesterov and
Nemirovski 1994). Cutting the cells into parts brings the condition nearer to what it stands for.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from math import comb

import numpy as np
import torch
from jaxtyping import Float

from hessgeo.numerics.banded import Blocks
from hessgeo.numerics.bsplines import SplineBasis, derivatives


class HessianControl:
    """The Bernstein coefficients of a spline's Hessian, cell by cell.

    Args:
        basis: the splines, of one axis or two.
        parts: into how many a cell is cut along each axis.
    """

    def __init__(self, basis: SplineBasis, parts: int = 2) -> None:
        self.basis = basis
        middles = [axis.low + axis.spacing * (np.arange(axis.count - 3) + 0.5) for axis in basis.axes]
        cells = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, len(middles))
        rows, _ = basis.local(torch.from_numpy(cells), (0,) * len(middles))
        self.blocks = Blocks(rows.numpy(), basis.size)
        self._maps = _control_maps(basis, parts)
        self._places = self.blocks.places()

    @property
    def count(self) -> int:
        """Number of control matrices."""
        return len(self.blocks.rows) * len(self._maps)

    def at(self, c: Float[np.ndarray, "size"]) -> Float[np.ndarray, "cell control part"]:
        """The control matrices: ``F_aa, F_ab, F_bb``, or ``F_aa`` alone of one axis."""
        near = self._maps.shape[-1]
        found = c[self.blocks.rows] @ self._maps.reshape(-1, near).T
        return found.reshape(len(found), *self._maps.shape[:2])

    def pull_back(self, covectors: Float[np.ndarray, "cell control part"]) -> Float[np.ndarray, "size"]:
        """The gradient by the coefficients of what has these derivatives by the control matrices."""
        local = covectors.reshape(len(covectors), -1) @ self._maps.reshape(-1, self._maps.shape[-1])
        return np.bincount(self.blocks.rows.ravel(), local.ravel(), self.basis.size)

    def curvature(self, second: Float[np.ndarray, "cell control pair"]) -> Float[np.ndarray, "diagonal size"]:
        """The same of second derivatives, as a band; of each pair of parts once, as ``numpy.triu_indices`` has them."""
        local = second.reshape(len(second), -1) @ self._squares
        diagonals = self.blocks.width + 1
        flat = np.bincount(self._places, local.ravel(), diagonals * self.basis.size)
        return flat.reshape(diagonals, self.basis.size)

    @cached_property
    def _squares(self) -> Float[np.ndarray, "control_pair near_pair"]:
        """What each pair of parts of each control matrix brings to the lower triangle of a cell's block."""
        low, high = self.blocks.pairs
        found = []
        for p, q in zip(*np.triu_indices(self._maps.shape[1]), strict=True):
            one, other = self._maps[:, p], self._maps[:, q]
            square = one[:, low] * other[:, high]
            found.append(square if p == q else square + other[:, low] * one[:, high])
        return np.stack(found, axis=1).reshape(-1, len(low))


def least_eigenvalue(parts: Float[np.ndarray, "*batch part"]) -> Float[np.ndarray, "*batch"]:
    """The least eigenvalue of symmetric matrices given by their parts."""
    if parts.shape[-1] == 1:
        return parts[..., 0]
    half = (parts[..., 0] + parts[..., 2]) / 2
    radius = np.hypot((parts[..., 0] - parts[..., 2]) / 2, parts[..., 1])
    # Where both are positive, the determinant over the larger: a difference would lose its digits.
    positive = half > 0
    large = np.where(positive, half + radius, 1.0)
    return np.where(positive, _determinant(parts) / large, half - radius)


def log_barrier(parts: Float[np.ndarray, "*batch part"]) -> float:
    """``-sum log det``; infinite unless all are positive definite."""
    determinant = _determinant(parts)
    if not ((parts[..., 0] > 0).all() and (determinant > 0).all()):
        return np.inf
    return float(-np.log(determinant).sum())


def barrier_derivatives(
    parts: Float[np.ndarray, "*batch part"],
) -> tuple[Float[np.ndarray, "*batch part"], Float[np.ndarray, "*batch pair"]]:
    """First and second derivatives of the barrier by the parts of positive definite matrices."""
    if parts.shape[-1] == 1:
        return -1 / parts, 1 / parts**2
    x, y, z = np.moveaxis(parts, -1, 0)
    determinant = _determinant(parts)
    slope = np.stack([z, -2 * y, x], axis=-1) / determinant[..., None]
    bend = {(0, 2): -1.0, (1, 1): 2.0}  # second derivatives of minus the determinant
    rows, columns = (side.tolist() for side in np.triu_indices(3))
    second = [
        slope[..., p] * slope[..., q] + bend.get((p, q), 0.0) / determinant
        for p, q in zip(rows, columns, strict=True)
    ]
    return -slope, np.stack(second, axis=-1)


def _determinant(parts: Float[np.ndarray, "*batch part"]) -> Float[np.ndarray, "*batch"]:
    return parts[..., 0] if parts.shape[-1] == 1 else parts[..., 0] * parts[..., 2] - parts[..., 1] ** 2


def _control_maps(basis: SplineBasis, parts: int) -> Float[np.ndarray, "control part near"]:
    """Control matrices of one cell from its coefficients."""
    orders = derivatives(2, len(basis.axes))
    # All parts of a matrix need one degree: that of the splines, of one axis what their second derivative has.
    degree = 3 if len(basis.axes) == 2 else 1
    maps = []
    for order in orders:
        sides = [
            _bernstein(derivative, parts, degree) / axis.spacing**derivative
            for axis, derivative in zip(basis.axes, order, strict=True)
        ]
        whole = sides[0]
        for side in sides[1:]:
            whole = np.einsum("pk,ql->pqkl", whole, side).reshape(len(whole) * len(side), -1)
        maps.append(whole)
    return np.stack(maps, axis=1)


def _bernstein(derivative: int, parts: int, degree: int) -> Float[np.ndarray, "control 4"]:
    """Bernstein coefficients, on each part of a cell of side one, of a derivative of its four cubic B-splines."""
    cubic = np.array([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6
    powers = np.zeros((degree + 1, 4))
    for p in range(min(degree, 3 - derivative) + 1):
        powers[p] = np.prod(np.arange(p + 1, p + derivative + 1)) * cubic[p + derivative]
    found = []
    for part, i in product(range(parts), range(degree + 1)):
        # x = (part + r) / parts, of which r^p has the Bernstein coefficients C(i, p) / C(degree, p).
        row = np.zeros(4)
        for n in range(degree + 1):
            for p in range(min(n, i) + 1):
                share = comb(n, p) * part ** (n - p) / parts**n
                row += share * comb(i, p) / comb(degree, p) * powers[n]
        found.append(row)
    return np.array(found)
