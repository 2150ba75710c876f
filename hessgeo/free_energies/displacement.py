"""Coordinates of a parameter box: a smooth map ``u(t) = t + d(t)`` into as many dimensions as wanted, by splines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.grids import Frame
from hessgeo.numerics.bsplines import SplineBasis


@dataclass(frozen=True)
class Displacement:
    """``u(t) = (t, 0) + d(t)`` in box units, each component of ``d`` a tensor product of cubic B-splines.

    Components beyond the parameters have no ``t`` to be added to. Without affine part in ``d`` the gauge is fixed:
    ``u -> M u + b`` changes no posterior.

    Attributes:
        frame: box units, in which the splines live and ``u`` is counted.
        basis: the splines, over ``[-1, 1]^2``.
        coefficients: of each component of ``d``.
    """

    frame: Frame
    basis: SplineBasis
    coefficients: Float[Tensor, "component ka kb"]

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.coefficients)

    def __call__(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch component"]:
        """``u(t)`` in box units."""
        moved = self._each(t, (0, 0))
        unit = self.frame.into(t)
        return torch.cat([moved[..., :2] + unit, moved[..., 2:]], dim=-1)

    def jacobian(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch component axis"]:
        """``[c, i] = d u_c / d t_i``, per parameter unit."""
        slopes = torch.stack([self._each(t, order) for order in ((1, 0), (0, 1))], dim=-1)
        eye = torch.eye(self.dimension, 2).to(slopes)
        return (slopes + eye) / self.frame.scale(t)

    def second(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch component axis axis"]:
        """``[c, i, j] = d_i d_j u_c``, per squared parameter units."""
        by_order = {order: self._each(t, order) for order in ((2, 0), (1, 1), (0, 2))}
        scale = self.frame.scale(t)
        return _symmetric(lambda order: by_order[order]) / torch.outer(scale, scale)

    def connection(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis axis"]:
        """``[m, i, k]``: Christoffel symbols of the flat connection whose straight lines are those of ``u``.

        ``Gamma^m_ik = (J^-1)^m_c d_i d_k u_c``, per parameter unit, of two coordinates.
        """
        return torch.einsum("...mc,...cik->...mik", torch.linalg.inv(self.jacobian(t)), self.second(t))

    def _each(self, t: Tensor, derivative: tuple[int, int]) -> Float[Tensor, "*batch component"]:
        unit = self.frame.into(t)
        return torch.stack([self.basis.evaluate(c, unit, derivative) for c in self.coefficients], dim=-1)


def _symmetric(second: Callable[[tuple[int, int]], Tensor]) -> Float[Tensor, "*batch axis axis"]:
    """The matrix of second derivatives, each known by how often it is by ``a`` and by ``b``."""
    aa, ab, bb = (second((pair.count(0), pair.count(1))) for pair in combinations_with_replacement((0, 1), 2))
    return torch.stack([torch.stack([aa, ab], dim=-1), torch.stack([ab, bb], dim=-1)], dim=-2)


def bending(basis: SplineBasis) -> Float[Tensor, "size bend"]:
    """Orthonormal basis of the coefficients that have no affine part: what a displacement is made of."""
    whole, _ = torch.linalg.qr(torch.cat([basis.affine, torch.eye(basis.size, dtype=torch.float64)], dim=1))
    return whole[:, basis.affine.shape[1] :]
