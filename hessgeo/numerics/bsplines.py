"""Uniform cubic B-splines on an interval and their tensor products, in torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import combinations_with_replacement
from math import comb, factorial, prod

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix
from torch import Tensor

from hessgeo.grids import Extent

# Row p holds the coefficients of r^p, r in [0, 1), of the four cubic B-splines that are non-zero on an interval.
_CUBIC = torch.tensor([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]], dtype=torch.float64) / 6


@dataclass(frozen=True)
class SplineAxis:
    """The ``count`` uniform cubic B-splines that span ``[low, high]`` (``count - 3`` intervals).

    Raises:
        ValueError: if ``count`` is below 4, or the interval is empty.
    """

    low: float
    high: float
    count: int

    def __post_init__(self) -> None:
        if self.count < 4:
            raise ValueError(f"splines: {self.count} cubic B-splines cannot span an interval; at least 4")
        if self.low >= self.high:
            raise ValueError(f"spline interval [{self.low}, {self.high}] must increase")

    @property
    def spacing(self) -> float:
        """Distance between knots."""
        return (self.high - self.low) / (self.count - 3)

    @property
    def _near(self) -> float:
        """How far a coordinate may be off a knot by rounding, in knot intervals."""
        return 1e-9 + 4 * np.finfo(float).eps * max(abs(self.low), abs(self.high)) / self.spacing

    @property
    def greville(self) -> Float[np.ndarray, "count"]:
        """Coefficients that represent the coordinate itself: ``sum_k xi_k B_k(x) = x``."""
        return self.low + self.spacing * (np.arange(self.count) - 1.0)

    def local(
        self, x: Float[Tensor, "*batch"], derivative: int = 0
    ) -> tuple[Int[Tensor, "*batch"], Float[Tensor, "*batch 4"]]:
        """First non-zero spline at each point, and the ``derivative``-th derivative of the four that are not zero.

        Outside the interval the outermost cubic pieces are continued.
        """
        u = (x - self.low) / self.spacing
        # A point on a knot belongs to the piece on its right, also where its coordinate is off by a rounding.
        first = (u.detach() + self._near).floor().long().clamp(0, self.count - 4)
        r = u - first
        powers = []
        for p in range(4):
            # d^k r^p / dr^k
            factor = float(np.prod(np.arange(p - derivative + 1, p + 1))) if p >= derivative else 0.0
            powers.append(factor * r ** max(p - derivative, 0))
        weights = torch.stack(powers, dim=-1) @ _CUBIC.to(x) / self.spacing**derivative
        return first, weights

    def matrix(self, x: Float[Tensor, "point"], derivative: int = 0) -> Float[Tensor, "point count"]:
        """Dense design matrix ``B_k^(derivative)(x_i)``."""
        first, weights = self.local(x, derivative)
        columns = first[:, None] + torch.arange(4, device=x.device)
        return torch.zeros(len(x), self.count, dtype=x.dtype, device=x.device).scatter(1, columns, weights)


def derivatives(order: int, axes: int) -> list[tuple[int, ...]]:
    """The mixed derivatives of one order, each once: ``(2, 0), (1, 1), (0, 2)``, or ``(2,)`` of one axis."""
    along = combinations_with_replacement(range(axes), order)
    return [tuple(chosen.count(axis) for axis in range(axes)) for chosen in along]


@dataclass(frozen=True)
class SplineBasis:
    """Tensor-product cubic B-splines over a box of one axis or two; coefficient ``(k, l)`` has row ``k * count_b + l``.

    Of one axis they are the splines themselves, and of what is told of derivatives the first counts.
    """

    axes: tuple[SplineAxis, ...]

    @classmethod
    def over(cls, extent: Extent, splines: tuple[int, ...]) -> SplineBasis:
        """So many splines along each side of a box."""
        return cls(tuple(SplineAxis(*side, count) for side, count in zip(extent, splines, strict=True)))

    @property
    def a(self) -> SplineAxis:
        """Along the first parameter."""
        return self.axes[0]

    @property
    def b(self) -> SplineAxis:
        """Along the second."""
        return self.axes[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of splines along each parameter."""
        return tuple(axis.count for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return prod(self.shape)

    def local(
        self, t: Float[Tensor, "point axis"], derivative: tuple[int, ...] = (0, 0)
    ) -> tuple[Int[Tensor, "point near"], Float[Tensor, "point near"]]:
        """Rows of the sixteen coefficients (of one axis four) that count at each point, and their derivative there."""
        (rows, weights), *others = self._along(t, derivative)
        for axis, (places, values) in zip(self.axes[1:], others, strict=True):
            rows = (rows[:, :, None] * axis.count + places[:, None, :]).flatten(1)
            weights = (weights[:, :, None] * values[:, None, :]).flatten(1)
        return rows, weights

    def _along(
        self, t: Float[Tensor, "*batch axis"], derivative: tuple[int, ...]
    ) -> list[tuple[Int[Tensor, "*batch 4"], Float[Tensor, "*batch 4"]]]:
        """Of each axis the four splines that count at each point, and their derivatives."""
        offsets = torch.arange(4, device=t.device)
        found = [axis.local(t[..., k], derivative[k]) for k, axis in enumerate(self.axes)]
        return [(first[..., None] + offsets, weights) for first, weights in found]

    def design(self, t: Float[np.ndarray, "point axis"], derivative: tuple[int, ...] = (0, 0)) -> csr_matrix:
        """Sparse design matrix of a mixed derivative, sixteen entries a row (of one axis four)."""
        rows, weights = self.local(torch.from_numpy(np.ascontiguousarray(t, dtype=float)), derivative)
        starts = np.arange(0, rows.numel() + 1, rows.shape[1])
        return csr_matrix((weights.numpy().ravel(), rows.numpy().ravel(), starts), shape=(len(t), self.size))

    def matrix(
        self, t: Float[Tensor, "point axis"], derivative: tuple[int, ...] = (0, 0)
    ) -> Float[Tensor, "point size"]:
        """Dense design matrix of the mixed derivative ``d^p/da^p d^q/db^q``."""
        whole, *others = (axis.matrix(t[:, k], derivative[k]) for k, axis in enumerate(self.axes))
        for other in others:
            whole = (whole[:, :, None] * other[:, None, :]).flatten(1)
        return whole

    def evaluate(
        self,
        coefficients: Float[Tensor, "*counts"],
        t: Float[Tensor, "*batch axis"],
        derivative: tuple[int, ...] = (0, 0),
    ) -> Float[Tensor, "*batch"]:
        """Mixed derivative of ``sum_kl c_kl B_k(a) B_l(b)``; 16 coefficients a point, differentiable in ``t``."""
        along = self._along(t, derivative)
        if len(along) == 1:
            ((rows, weights),) = along
            return (coefficients.to(t)[rows] * weights).sum(-1)
        (rows_a, weight_a), (rows_b, weight_b) = along
        patch = coefficients.to(t)[rows_a[..., :, None], rows_b[..., None, :]]
        return torch.einsum("...k,...kl,...l->...", weight_a, patch, weight_b)

    def derivative_tensor(
        self, coefficients: Float[Tensor, "*counts"], t: Float[Tensor, "*batch axis"], rank: int
    ) -> Float[Tensor, "*batch_and_axes"]:
        """All derivatives of one order: gradient, Hessian, third derivatives, as a symmetric tensor of that rank."""
        mixed = derivatives(rank, len(self.axes))
        return symmetric([self.evaluate(coefficients, t, order) for order in mixed], t.shape, rank=rank)

    @property
    def affine(self) -> Float[Tensor, "size part"]:
        """Orthonormal basis of the coefficients of affine functions: the gauge directions of a free energy."""
        # The coordinates themselves are these up to a factor and a constant, which could be large.
        steps = (np.arange(count) - (count - 1) / 2 for count in self.shape)
        columns = [np.ones(self.size), *(side.ravel() for side in np.meshgrid(*steps, indexing="ij"))]
        return torch.from_numpy(np.linalg.qr(np.stack(columns, axis=1))[0])

    def third_difference_penalty(self) -> Float[Tensor, "size size"]:
        """``S`` with ``c' S c ~ integral F_aaa^2 + 3 F_aab^2 + 3 F_abb^2 + F_bbb^2``, per unit area.

        Differences of the coefficients stand for derivatives, in units of the box (so that a box measured in other
        units gets the same penalty). Its null space is the quadratic polynomials, ``quadratics``.
        """
        along = [
            [_difference(axis.count, order) / (1.0 / (axis.count - 3)) ** order for order in range(4)]
            for axis in self.axes
        ]
        penalty = torch.zeros(self.size, self.size, dtype=torch.float64)
        for orders in derivatives(3, len(self.axes)):
            sides = [along[k][order] for k, order in enumerate(orders)]
            rows = reduce(torch.kron, sides)
            penalty += factorial(3) / prod(map(factorial, orders)) * rows.T @ rows / len(rows)
        return penalty

    @property
    def quadratics(self) -> int:
        """Dimension of the quadratic polynomials: six, of one axis three."""
        return comb(len(self.axes) + 2, 2)


def symmetric(
    by_order: list[Float[Tensor, "*batch"]], shape: torch.Size, *, rank: int
) -> Float[Tensor, "*batch_and_axes"]:
    """Totally symmetric tensor at points of a shape, whose entry with ``k`` indices ``b`` is ``by_order[k]``."""
    dims = shape[-1]
    order = torch.zeros((dims,) * rank, dtype=torch.long)
    for axis in range(rank):
        order = order + torch.arange(dims).reshape([dims if k == axis else 1 for k in range(rank)])
    return torch.stack(by_order, dim=-1)[..., order.flatten()].reshape(*shape[:-1], *order.shape)


def _difference(count: int, order: int) -> Float[Tensor, "rows count"]:
    return torch.from_numpy(np.diff(np.eye(count), n=order, axis=0))
