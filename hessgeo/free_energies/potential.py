"""The smooth potential that comes nearest to values at nodes and slopes at sources, convex if asked for.

What a fit without a basis says of a free energy are numbers at nodes and slopes at sources. A Hessian metric is what
the nearest ``C^2`` potential has, and a metric at all if that potential is convex: here everywhere in the box, by the
control net of its Hessian (``numerics.convex_splines``), not at the nodes alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.free_energies.base import Certificate
from hessgeo.free_energies.potential_problem import SMOOTH, Centre, Misfit, Observations, quadratic
from hessgeo.grids import Frame, Grid
from hessgeo.numerics.bsplines import SplineBasis, derivatives
from hessgeo.numerics.convex_splines import HessianControl, least_eigenvalue
from hessgeo.numerics.factor import in_words
from hessgeo.numerics.newton import minimise

_FLOOR = 1e-8  # least eigenvalue that is asked for, of F in its range and the box in half sides
_GAP = 1e-11  # mean square, of F in its range, by which a convex potential may miss the nearest one ..
_RELATIVE_GAP = 1e-3  # .. or as a share of the misfit
_SHRINK = 8.0  # of the barrier's weight, from one centre to the next
_CENTRED = 0.1  # decrement, by the weight, that is near enough to a centre to go on from it
_MAX_ITERATIONS = 300
_LATTICE = 4  # times as fine as the nodes: where eigenvalues are counted


@dataclass(frozen=True)
class Potential:
    """A potential in tensor-product cubic B-splines: twice continuously differentiable, its derivatives exact.

    Attributes:
        frame: box units, in which the splines live.
        basis: the splines, over ``[-1, 1]^d``.
        coefficients: their weights; the affine part of the potential is apart, so that it costs them no digits.
        affine: constant, and slope in box units.
        certificate: see ``nearest_potential``.
    """

    frame: Frame
    basis: SplineBasis
    coefficients: Float[Tensor, "*counts"]
    affine: tuple[float, ...]
    certificate: Certificate

    @property
    def coefficients_with_plane(self) -> Float[Tensor, "*counts"]:
        """Weights of the splines that hold the affine part, too."""
        sides = torch.meshgrid(*(torch.from_numpy(axis.greville) for axis in self.basis.axes), indexing="ij")
        plane = sum(slope * side for slope, side in zip(self.affine[1:], sides, strict=True))
        return self.coefficients + self.affine[0] + plane

    def value(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """``F(t)``, in the units and the gauge of the values it was made from."""
        u = self.frame.into(t)
        return self.basis.evaluate(self.coefficients, u) + self.affine[0] + u @ u.new_tensor(self.affine[1:])

    def gradient(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """``grad F(t)``."""
        return self._tensor(t, 1) + t.new_tensor(self.affine[1:]) / self.frame.scale(t)

    def hessian(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis"]:
        """``grad^2 F(t)``, continuous."""
        return self._tensor(t, 2)

    def third(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis axis"]:
        """Third derivatives, piecewise continuous."""
        return self._tensor(t, 3)

    def _tensor(self, t: Tensor, rank: int) -> Tensor:
        found, scale = (
            self.basis.derivative_tensor(self.coefficients, self.frame.into(t), rank),
            self.frame.scale(t),
        )
        for axis in range(rank):
            found = found / scale.reshape([-1 if k == axis else 1 for k in range(rank)])
        return found


@in_words("potential")
def nearest_potential(
    grid: Grid,
    values: Float[np.ndarray, "*nodes"],
    t: Float[np.ndarray, "n axis"],
    slopes: Float[np.ndarray, "n axis"],
    weights: Float[np.ndarray, "n axis axis"] | None = None,
    *,
    mass: Float[np.ndarray, "*nodes"] | None = None,
    places: Float[np.ndarray, "place axis"] | None = None,
    smoothness: float = SMOOTH,
    convex: bool = True,
    refinement: int = 1,
    parts: int = 2,
) -> Potential:
    r"""The spline potential nearest to values at nodes and slopes at sources, by weighted least squares.

    Minimises ``sum_g s_g (F(t_g) - F_g)^2 + sum_i delta_i' W_i delta_i``, ``delta_i = grad F(t_i) - eta_i``. With
    ``s_g`` the marginal over sources and ``W_i = C_i`` the covariance of the model posterior of source ``i`` this is,
    up to ``N^2 / 2`` and the covariance of the two errors, the divergence that they cause. A hair of squared third
    differences decides what the data leave open, such as mixed derivatives in the corners.

    With ``convex``, least among potentials whose Hessian is positive definite *at every point* of the box: its control
    matrices on ``parts`` parts of each cell have eigenvalues of at least ``1e-8`` (box units, of the range of ``F``).
    The condition is sufficient, and more parts bring it nearer to what is necessary. Found by a logarithmic
    barrier, its weight divided by eight from centre to centre (Boyd and Vandenberghe 2004, 11.3); the misfit
    of the result lies above the least by at most ``gap``.

    A kink within a cell no spline follows: ``value_error`` and ``slope_error`` say how far the data are missed.

    Args:
        grid: the nodes, and the box.
        values: at the nodes; a node of no mass may hold NaN.
        t: sources, nodes of the grid or not.
        slopes: at each, in the gauge of the values.
        weights: of the slopes' errors, positive semi-definite, squared parameter units; by default a cell squared.
        mass: weight of each value, by default one.
        places: of the values, if they are not nodes of the grid; there is one axis of them then.
        smoothness: weight of the squared third differences of the coefficients.
        convex: whether to constrain it.
        refinement: cells of the splines per cell of the grid, along each axis.
        parts: of a cell, along each axis, that the condition of convexity knows.

    Returns:
        The potential. Its certificate has ``converged``, ``iterations``, ``decrement`` and ``gap`` (both as mean
        squares of ``F`` in its range), ``least_eigenvalue`` on a lattice four times as fine as the nodes,
        ``definite_share`` of that lattice, ``eigenvalue_bound`` (no eigenvalue anywhere lies below; both in box
        units, of the range of ``F``), ``definite_everywhere``, and the distance to the data: ``value_error`` and
        ``slope_error``, root mean squares in units of the ranges of ``F`` without affine part and of its gradient.

    Raises:
        ValueError: on shapes that do not match, or values that are not finite.
        DegenerateError: if the data do not determine the splines.
    """
    data = Observations.of(grid, values, t, slopes, weights, mass, places)
    shape = tuple((nodes - 1) * refinement + 3 for nodes in grid.shape)
    basis = SplineBasis.over(grid.unit.extent, shape)
    misfit, control = Misfit.of(basis, data, smoothness), HessianControl(basis, parts)
    found: Certificate = {"converged": True, "iterations": 1, "decrement": 0.0, "gap": 0.0}
    c = misfit.least()
    if convex and least_eigenvalue(control.at(c)).min() < _FLOOR:
        start = quadratic(basis, data.curvature())
        c, found = _nearest_convex(misfit, control, start, grid.size)
    certificate = {**found, **_definiteness(basis, control, c, grid), **data.distance(basis, c)}
    return Potential(
        grid.frame,
        basis,
        torch.from_numpy(data.scale * c).reshape(shape),
        data.affine,
        certificate,
    )


def _nearest_convex(
    misfit: Misfit, control: HessianControl, start: Float[np.ndarray, "size"], nodes: int
) -> tuple[Float[np.ndarray, "size"], Certificate]:
    """Path following: the centres of ever smaller weights of the barrier, from a strictly convex quadratic."""
    centre = Centre(misfit, control, _FLOOR, 1.0, start)
    # At first the barrier weighs as much as what the quadratic misses.
    centre = centre.at(start, max(centre.square, _GAP * nodes) / control.count)
    spent = 0
    while True:
        last = centre.gap <= max(_GAP * nodes, _RELATIVE_GAP * centre.square)
        found = minimise(
            centre, tolerance=_CENTRED * centre.weight, max_iterations=_MAX_ITERATIONS, what="convex potential",
            spent=spent, rounding=1e-13,
        )  # fmt: skip
        centre, spent = found.point, found.iterations
        if last or not found.converged:
            break
        centre = centre.at(centre.c, centre.weight / _SHRINK)
    numbers = {"decrement": found.decrement / nodes, "gap": centre.gap / nodes}
    return centre.c, {"converged": found.converged, "iterations": spent, **numbers}


def _definiteness(
    basis: SplineBasis, control: HessianControl, c: Float[np.ndarray, "size"], grid: Grid
) -> Certificate:
    """Where the Hessian is positive definite: on a fine lattice, and everywhere."""
    lattice = Grid(grid.unit.extent, tuple(_LATTICE * (nodes - 1) + 1 for nodes in grid.shape))
    orders = derivatives(2, len(grid.shape))
    found = np.stack([basis.design(lattice.points, order) @ c for order in orders], axis=-1)
    least, bound = least_eigenvalue(found), float(least_eigenvalue(control.at(c)).min())
    return {
        "least_eigenvalue": float(least.min()),
        "definite_share": float((least > 0).mean()),
        "eigenvalue_bound": bound,
        "definite_everywhere": bound > 0,
    }
