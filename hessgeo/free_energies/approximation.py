"""The error that a spline basis itself makes, which no number of samples or nodes takes away.

A basis that cannot follow a potential leaves a misfit that is the same at every repetition: taken for noise it would
shrink with more nodes while the error stays. It is measured by what another number of splines makes of the same data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from scipy.ndimage import uniform_filter
from torch import Tensor

from hessgeo.grids import Frame, Grid, bilinear_weights
from hessgeo.numerics.bsplines import SplineBasis, derivatives, symmetric

_FEWEST = 7  # splines along an axis of which half as many, four, still make a fit


def other_count(splines: int) -> int:
    """Splines along an axis to compare with: half the knot intervals where there are four or more, else twice."""
    return (splines - 3) // 2 + 3 if splines >= _FEWEST else finer_count(splines)


def finer_count(splines: int) -> int:
    """Splines along an axis with twice the knot intervals, all knots kept."""
    return 2 * (splines - 3) + 3


@dataclass(frozen=True)
class ApproximationError:
    """Squares of the difference of two spline fits, averaged over the neighbourhood of each place, in box units.

    The error of ``k``-th derivatives of cubic splines falls as the power ``4 - k`` of the knot spacing. Against half
    the intervals the difference is at least three times the error of second derivatives, of which half is
    taken; against twice as many it is three quarters of it.

    Attributes:
        frame: the box.
        value: mean square of the error of ``F``, the affine part of the difference removed, on a lattice.
        gradient: the same of both components of its gradient.
        hessian: mean products of the errors of ``(F_aa, F_ab, F_bb)``, of one axis that of ``F_aa``.
    """

    frame: Frame
    value: Float[Tensor, "*places"]
    gradient: Float[Tensor, "*places axis"]
    hessian: Float[Tensor, "*places pair pair"]

    @classmethod
    def between(
        cls,
        frame: Frame,
        first: tuple[SplineBasis, Float[Tensor, "size"]],
        second: tuple[SplineBasis, Float[Tensor, "other"]],
    ) -> ApproximationError:
        """The error of the first fit as its difference to the second tells it; both over ``[-1, 1]^d``."""
        dims = len(first[0].axes)
        factors = [0.5 if b < a else 4 / 3 for a, b in zip(first[0].shape, second[0].shape, strict=True)]
        axes, reach = zip(
            *(_lattice(a, b) for a, b in zip(first[0].shape, second[0].shape, strict=True)), strict=True
        )
        t = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        orders = [order for total in range(3) for order in derivatives(total, dims)]
        parts = [
            torch.stack([basis.evaluate(c.reshape(basis.shape), t, order) for order in orders], dim=-1)
            for basis, c in (first, second)
        ]
        off = max(factors) * (parts[0] - parts[1])
        plane = torch.cat([torch.ones_like(t[..., :1]), t], dim=-1).reshape(-1, dims + 1)
        affine = torch.linalg.lstsq(plane, off[..., 0].reshape(-1, 1)).solution[:, 0]
        off[..., 0] -= (plane @ affine).reshape(off.shape[:-1])
        off[..., 1 : dims + 1] -= affine[1:]

        def smooth(values: Tensor) -> Tensor:
            size = (*reach, *(1,) * (values.ndim - dims))
            return torch.from_numpy(uniform_filter(values.numpy(), size=size, mode="nearest"))

        second_order = off[..., dims + 1 :]
        return cls(
            frame,
            smooth(off[..., 0] ** 2),
            smooth(off[..., 1 : dims + 1] ** 2),
            smooth(second_order[..., :, None] * second_order[..., None, :]),
        )

    def of_value(self, t: Float[Tensor, "point axis"]) -> Float[Tensor, "point"]:
        """Squared error of ``F``."""
        return self._at(self.value, t)

    def of_gradient(self, t: Float[Tensor, "point axis"]) -> Float[Tensor, "point axis"]:
        """Squared errors of the gradient."""
        return self._at(self.gradient, t) / self.frame.scale(t) ** 2

    def of_hessian(
        self, t: Float[Tensor, "point axis"], weights: Float[Tensor, "point pair"]
    ) -> Float[Tensor, "point"]:
        """Squared error of ``<weights, (F_aa, F_ab, F_bb)>``."""
        half = self.frame.scale(t)
        first, second = torch.triu_indices(len(half), len(half))
        scaled = weights / (half[first] * half[second])
        return torch.einsum("pi,pij,pj->p", scaled, self._at(self.hessian, t), scaled)

    def products(self, t: Float[Tensor, "point axis"]) -> Float[Tensor, "point pair pair"]:
        """Mean products of the errors of ``(F_aa, F_ab, F_bb)`` in box units."""
        return self._at(self.hessian, t)

    def of_metric(
        self, t: Float[Tensor, "*batch axis"], jacobian: Float[Tensor, "*batch axis axis"] | None
    ) -> Float[Tensor, "*batch axis axis"]:
        """Errors of the metric's entries, or of those of ``J' g J``."""
        points = t.reshape(-1, t.shape[-1])
        errors = [self.of_hessian(points, weights).sqrt() for weights in entry_weights(points, jacobian)]
        return symmetric([error.reshape(t.shape[:-1]) for error in errors], t.shape, rank=2)

    def _at(self, values: Float[Tensor, "*places_and_item"], t: Float[Tensor, "point axis"]) -> Tensor:
        return between_nodes(self.frame, values, t)


def between_nodes(
    frame: Frame, values: Float[Tensor, "*nodes_and_item"], t: Float[Tensor, "*batch axis"]
) -> Float[Tensor, "*batch_and_item"]:
    """Linear between the nodes of a lattice over a box; what lies outside is moved onto its edge."""
    dims = len(frame.half)
    lattice = Grid(((-1.0, 1.0),) * dims, tuple(values.shape[:dims]))
    points = frame.into(t.detach().reshape(-1, dims)).clamp(-1, 1)
    found = bilinear_weights(points.cpu().numpy(), lattice) @ values.reshape(lattice.size, -1).numpy()
    return torch.from_numpy(found).to(t).reshape((*t.shape[:-1], *values.shape[dims:]))


def entry_weights(
    t: Float[Tensor, "point axis"], jacobian: Float[Tensor, "*batch axis axis"] | None
) -> list[Float[Tensor, "point pair"]]:
    """Of each entry of ``J' g J``, each once, what it takes of ``(g_aa, g_ab, g_bb)``."""
    dims = t.shape[1]
    pairs = list(combinations_with_replacement(range(dims), 2))
    j = (
        torch.eye(dims).to(t).expand(len(t), dims, dims)
        if jacobian is None
        else jacobian.reshape(-1, dims, dims)
    )
    return [
        torch.stack(
            [
                j[:, p, first] * j[:, q, second] + (j[:, q, first] * j[:, p, second] if p != q else 0.0)
                for p, q in pairs
            ],
            dim=-1,
        )
        for first, second in pairs
    ]


def project(basis: SplineBasis, c: Float[Tensor, "size"], onto: SplineBasis) -> Float[Tensor, "other"]:
    """Coefficients in another basis over the same box that come nearest, by least squares along each axis."""
    sides = []
    for axis, other in zip(basis.axes, onto.axes, strict=True):
        x = torch.linspace(axis.low, axis.high, 4 * max(axis.count, other.count), dtype=c.dtype)
        sides.append(torch.linalg.lstsq(other.matrix(x), axis.matrix(x)).solution)
    moved = sides[0] @ c.reshape(basis.shape[0], -1)
    return (moved @ sides[1].T if len(sides) == 2 else moved).flatten()


def _lattice(first: int, second: int) -> tuple[Float[Tensor, "place"], int]:
    """Places at both knots and middles of the finer basis, and how many of them span two intervals of the coarser."""
    fine, coarse = max(first, second) - 3, min(first, second) - 3
    places = 2 * max(fine, 2) + 1
    return torch.linspace(-1, 1, places, dtype=torch.float64), min(2 * round(2 * fine / coarse) + 1, places)
