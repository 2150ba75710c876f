"""Least squares for a spline from values at nodes and slopes at sources, and the barrier that keeps it convex."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, reduce
from math import factorial, prod
from operator import add

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix, diags_array, identity, kron, vstack

from hessgeo.grids import Grid, bilinear_weights
from hessgeo.numerics.banded import band, solve
from hessgeo.numerics.bsplines import SplineBasis, derivatives
from hessgeo.numerics.convex_splines import HessianControl, barrier_derivatives, log_barrier

SMOOTH = 1e-8  # of squared third differences, beside squared misfits: decides where the data leave a choice


@dataclass(frozen=True)
class Observations:
    """Values and slopes in box units, ``F`` without its affine part and divided by its range.

    Attributes:
        some: which nodes have a value.
        nodes: those.
        values: there.
        mass: weight of each.
        t: sources.
        slopes: at each.
        weights: of the errors of the slopes.
        scale: what ``F`` was divided by.
        affine: constant, and slope in box units, of what was taken away.
    """

    some: Bool[np.ndarray, "place"]
    nodes: Float[np.ndarray, "node axis"]
    values: Float[np.ndarray, "node"]
    mass: Float[np.ndarray, "node"]
    t: Float[np.ndarray, "n axis"]
    slopes: Float[np.ndarray, "n axis"]
    weights: Float[np.ndarray, "n axis axis"]
    scale: float
    affine: tuple[float, ...]

    @classmethod
    def of(
        cls,
        grid: Grid,
        values: Float[np.ndarray, "*nodes"],
        t: Float[np.ndarray, "n axis"],
        slopes: Float[np.ndarray, "n axis"],
        weights: Float[np.ndarray, "n axis axis"] | None,
        mass: Float[np.ndarray, "*nodes"] | None,
        places: Float[np.ndarray, "place axis"] | None = None,
    ) -> Observations:
        """Checked, and in box units.

        Raises:
            ValueError: on shapes that do not match, or values that are not finite.
        """
        dims, half = len(grid.shape), np.array(grid.frame.half)
        mass = np.ones_like(values) if mass is None else mass
        if weights is None:
            weights = np.broadcast_to(np.diag(np.array(grid.spacing) ** 2), (len(t), dims, dims))
        _check(grid, values, t, slopes, weights, mass, places)
        some = mass.ravel() > 0
        whole = grid.unit.points if places is None else grid.frame.into(places).clip(-1, 1)
        nodes, f = whole[some], values.ravel()[some]
        affine = np.linalg.lstsq(np.column_stack([np.ones(len(nodes)), nodes]), f)[0]
        f = f - affine[0] - nodes @ affine[1:]
        scale = float(np.ptp(f)) or 1.0
        return cls(
            some,
            nodes,
            f / scale,
            mass.ravel()[some] / mass.max(),
            grid.frame.into(t).clip(-1, 1),
            (slopes * half - affine[1:]) / scale,
            weights / np.outer(half, half),
            scale,
            tuple(affine.tolist()),
        )

    def curvature(self) -> Float[np.ndarray, "axis axis"]:
        """Of the positive definite quadratic that fits the slopes about best."""
        centred, slopes = self.t - self.t.mean(axis=0), self.slopes - self.slopes.mean(axis=0)
        found = np.linalg.lstsq(centred, slopes)[0]
        values, vectors = np.linalg.eigh((found + found.T) / 2)
        firm = values.clip(min=0.1 * max(np.abs(values).max(), 0.1))
        return vectors * firm @ vectors.T

    def distance(self, basis: SplineBasis, c: Float[np.ndarray, "size"]) -> dict[str, float]:
        """How far a spline misses them, root mean squares in units of their ranges."""
        value = basis.design(self.nodes, (0,) * len(basis.shape)) @ c - self.values
        slope = [basis.design(self.t, order) @ c for order in derivatives(1, len(basis.shape))]
        return self.misses(value, np.stack(slope, axis=-1) - self.slopes)

    def misses(
        self, value: Float[np.ndarray, "node"], slope: Float[np.ndarray, "n axis"]
    ) -> dict[str, float]:
        """Root mean squares of errors in units of the ranges of ``F`` and of its slopes."""
        span = float(np.ptp(self.slopes, axis=0).max()) or 1.0
        return {
            "value_error": float(np.sqrt((value**2).mean())),
            "slope_error": float(np.sqrt((slope**2).sum(axis=1).mean())) / span,
        }


@dataclass(frozen=True)
class Misfit:
    """A weighted sum of squares ``|R c - y|^2 / 2``, of values, slopes, and third differences of the coefficients.

    Attributes:
        basis: the splines, in box units.
        rows: ``R``.
        mass_root: by which values are multiplied.
        slope_roots: ``V`` with ``W = V V'``, by which slopes are: ``delta' W delta = |V' delta|^2``.
        right: ``y``.
    """

    basis: SplineBasis
    rows: csr_matrix
    mass_root: Float[np.ndarray, "node"]
    slope_roots: Float[np.ndarray, "n axis axis"]
    right: Float[np.ndarray, "row"]

    @classmethod
    def of(cls, basis: SplineBasis, data: Observations, smoothness: float = SMOOTH) -> Misfit:
        """Of what was observed; ``smoothness`` is the weight of squared third differences."""
        root = np.sqrt(data.mass)
        rows = [diags_array(root) @ basis.design(data.nodes, (0,) * len(basis.shape))]
        scales, vectors = np.linalg.eigh(data.weights)
        roots = vectors * np.sqrt(scales.clip(min=0))[:, None, :]
        designs = [basis.design(data.t, order) for order in derivatives(1, len(basis.shape))]
        for k in range(len(basis.shape)):
            parts = [diags_array(roots[:, axis, k]) @ design for axis, design in enumerate(designs)]
            rows.append(reduce(add, parts))
        rows.append(np.sqrt(smoothness) * _third_differences(basis.shape))
        made = cls(basis, csr_matrix(vstack(rows)), root, roots, np.empty(0))
        return replace(made, right=made.side(data.values, data.slopes))

    def side(
        self, values: Float[np.ndarray, "node *column"], slopes: Float[np.ndarray, "n axis *column"]
    ) -> Float[np.ndarray, "row *column"]:
        """``y`` of other values and slopes."""
        turned = np.einsum("nak,na...->kn...", self.slope_roots, slopes)
        parts = [(values.T * self.mass_root).T, *turned]
        rest = self.rows.shape[0] - sum(map(len, parts))
        return np.concatenate([*parts, np.zeros((rest, *values.shape[1:]))])

    def residual(self, c: Float[np.ndarray, "size"]) -> Float[np.ndarray, "row"]:
        """``R c - y``."""
        return self.rows @ c - self.right

    @cached_property
    def hessian(self) -> Float[np.ndarray, "diagonal size"]:
        """``R' R``, as a band."""
        width = sum(3 * prod(self.basis.shape[k + 1 :]) for k in range(len(self.basis.shape)))
        return band(self.rows.T @ self.rows, width)

    def least(
        self, right: Float[np.ndarray, "row *column"] | None = None
    ) -> Float[np.ndarray, "size *column"]:
        """The coefficients of least misfit, to ``y`` or to other right sides."""
        right = self.right if right is None else right
        found = np.zeros((self.basis.size, *right.shape[1:]))
        for _ in range(2):  # the second time for the digits that the first has lost
            found = found - solve(self.hessian, self.rows.T @ (self.rows @ found - right))
        return found


@dataclass(frozen=True)
class Centre:
    """A point on the way to the nearest convex spline: misfit plus ``weight`` times the barrier, see ``Point``.

    Attributes:
        misfit: what is to become least.
        control: the matrices that must stay positive definite.
        floor: how much above zero their eigenvalues must stay.
        weight: of the barrier.
        c: coefficients.
    """

    misfit: Misfit
    control: HessianControl
    floor: float
    weight: float
    c: Float[np.ndarray, "size"]

    @cached_property
    def matrices(self) -> Float[np.ndarray, "cell control part"]:
        """The control matrices less the floor."""
        parts = self.control.at(self.c)
        parts[..., [0, -1] if parts.shape[-1] > 1 else [0]] -= self.floor
        return parts

    @cached_property
    def square(self) -> float:
        """The misfit alone."""
        return float((self.misfit.residual(self.c) ** 2).sum() / 2)

    @property
    def loss(self) -> float:
        """Misfit and barrier."""
        barrier = log_barrier(self.matrices)
        return self.square + self.weight * barrier if np.isfinite(barrier) else np.inf

    def newton(self) -> tuple[Float[np.ndarray, "size"], float]:
        """Newton's step, and its decrement."""
        first, second = barrier_derivatives(self.matrices)
        slope = self.misfit.rows.T @ self.misfit.residual(self.c) + self.weight * self.control.pull_back(
            first
        )
        step = -solve(self.misfit.hessian + self.weight * self.control.curvature(second), slope)
        return step, -float(slope @ step) / 2

    def moved(self, step: Float[np.ndarray, "size"], length: float) -> Centre:
        """The point a share of the step from here."""
        return self.at(self.c + length * step, self.weight)

    def at(self, c: Float[np.ndarray, "size"], weight: float) -> Centre:
        """Another point of the same problem."""
        return Centre(self.misfit, self.control, self.floor, weight, c)

    @property
    def gap(self) -> float:
        """How much the misfit can lie above the least of all convex splines: the barrier's parameter by its weight."""
        return self.weight * self.control.count * len(self.misfit.basis.shape)


def quadratic(basis: SplineBasis, a: Float[np.ndarray, "axis axis"]) -> Float[np.ndarray, "size"]:
    """Coefficients of ``<u, A u> / 2``."""
    sides = np.meshgrid(*(axis.greville for axis in basis.axes), indexing="ij")
    places = np.stack([side.ravel() for side in sides], axis=-1)
    # The splines' own second moment: sum_k (xi_k^2 - h^2 / 3) B_k(x) = x^2.
    own = np.array([axis.spacing**2 / 3 for axis in basis.axes])
    return np.einsum("ni,ij,nj->n", places, a, places) / 2 - (np.diag(a) * own).sum() / 2


def _check(
    grid: Grid,
    values: Float[np.ndarray, "..."],
    t: Float[np.ndarray, "..."],
    slopes: Float[np.ndarray, "..."],
    weights: Float[np.ndarray, "..."],
    mass: Float[np.ndarray, "..."],
    places: Float[np.ndarray, "..."] | None,
) -> None:
    """Refuse what does not belong together, or is not finite where it counts."""
    dims = len(grid.shape)
    shape = grid.shape if places is None else (len(places),)
    if values.shape != shape or mass.shape != shape:
        raise ValueError(
            f"potential: values {values.shape} and mass {mass.shape} must have the shape {shape}"
        )
    if t.shape != slopes.shape or t.shape[1:] != (dims,) or weights.shape != (*t.shape, dims):
        raise ValueError(
            f"potential: sources {t.shape}, slopes {slopes.shape} and weights {weights.shape} must have shapes "
            f"(n, {dims}), (n, {dims}) and (n, {dims}, {dims})"
        )
    finite = [values[mass > 0], t, slopes, weights, mass]
    if not all(np.isfinite(part).all() for part in finite) or (mass < 0).any() or not (mass > 0).any():
        raise ValueError("potential: values, slopes or weights are not finite, or no node has mass")
    bilinear_weights(t, grid)  # refuses sources outside of the box


def _third_differences(shape: tuple[int, ...]) -> csr_matrix:
    """``D`` with ``|D c|^2`` the squared third differences of coefficients, mixed ones as often as they occur."""
    rows = []
    for orders in derivatives(3, len(shape)):
        sides = [
            csr_matrix(np.diff(np.eye(count), n=order, axis=0)) if order else identity(count)
            for count, order in zip(shape, orders, strict=True)
        ]
        times = factorial(3) / prod(map(factorial, orders))
        rows.append(np.sqrt(times) * reduce(kron, sides))
    return csr_matrix(vstack(rows))
