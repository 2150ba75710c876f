"""Uniform cubic B-splines on an interval and their tensor products, in torch."""

from __future__ import annotations

from dataclasses import dataclass

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
        first = (u.detach() + 1e-9).floor().long().clamp(0, self.count - 4)
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


@dataclass(frozen=True)
class SplineBasis:
    """Tensor-product cubic B-splines over a box; coefficient ``(k, l)`` has row ``k * count_b + l``."""

    a: SplineAxis
    b: SplineAxis

    @classmethod
    def over(cls, extent: Extent, splines: tuple[int, int]) -> SplineBasis:
        """So many splines along each side of a box."""
        return cls(SplineAxis(*extent[0], splines[0]), SplineAxis(*extent[1], splines[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of splines along each parameter."""
        return self.a.count, self.b.count

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return self.a.count * self.b.count

    def local(
        self, t: Float[Tensor, "point 2"], derivative: tuple[int, int] = (0, 0)
    ) -> tuple[Int[Tensor, "point 16"], Float[Tensor, "point 16"]]:
        """Rows of the sixteen coefficients that count at each point, and their mixed derivative there."""
        first_a, in_a = self.a.local(t[:, 0], derivative[0])
        first_b, in_b = self.b.local(t[:, 1], derivative[1])
        offsets = torch.arange(4, device=t.device)
        rows = (first_a[:, None, None] + offsets[:, None]) * self.b.count + first_b[:, None, None] + offsets
        return rows.flatten(1), (in_a[:, :, None] * in_b[:, None, :]).flatten(1)

    def design(self, t: Float[np.ndarray, "point 2"], derivative: tuple[int, int] = (0, 0)) -> csr_matrix:
        """Sparse design matrix of a mixed derivative, sixteen entries a row."""
        rows, weights = self.local(torch.from_numpy(np.ascontiguousarray(t, dtype=float)), derivative)
        starts = np.arange(0, 16 * len(t) + 1, 16)
        return csr_matrix((weights.numpy().ravel(), rows.numpy().ravel(), starts), shape=(len(t), self.size))

    def matrix(
        self, t: Float[Tensor, "point 2"], derivative: tuple[int, int] = (0, 0)
    ) -> Float[Tensor, "point size"]:
        """Dense design matrix of the mixed derivative ``d^p/da^p d^q/db^q``."""
        in_a = self.a.matrix(t[:, 0], derivative[0])
        in_b = self.b.matrix(t[:, 1], derivative[1])
        return (in_a[:, :, None] * in_b[:, None, :]).flatten(1)

    def evaluate(
        self,
        coefficients: Float[Tensor, "count_a count_b"],
        t: Float[Tensor, "*batch 2"],
        derivative: tuple[int, int] = (0, 0),
    ) -> Float[Tensor, "*batch"]:
        """Mixed derivative of ``sum_kl c_kl B_k(a) B_l(b)``; 16 coefficients a point, differentiable in ``t``."""
        first_a, weight_a = self.a.local(t[..., 0], derivative[0])
        first_b, weight_b = self.b.local(t[..., 1], derivative[1])
        offsets = torch.arange(4, device=t.device)
        patch = coefficients.to(t)[
            first_a[..., None, None] + offsets[:, None], first_b[..., None, None] + offsets
        ]
        return torch.einsum("...k,...kl,...l->...", weight_a, patch, weight_b)

    @property
    def affine(self) -> Float[Tensor, "size 3"]:
        """Orthonormal basis of the coefficients of affine functions: the gauge directions of a free energy."""
        # The coordinates themselves are these up to a factor and a constant, which could be large.
        steps = (np.arange(count) - (count - 1) / 2 for count in self.shape)
        grid_a, grid_b = np.meshgrid(*steps, indexing="ij")
        columns = np.stack([np.ones(self.size), grid_a.ravel(), grid_b.ravel()], axis=1)
        return torch.from_numpy(np.linalg.qr(columns)[0])

    def third_difference_penalty(self) -> Float[Tensor, "size size"]:
        """``S`` with ``c' S c ~ integral F_aaa^2 + 3 F_aab^2 + 3 F_abb^2 + F_bbb^2``, per unit area.

        Differences of the coefficients stand for derivatives, in units of the box (so that a box measured in other
        units gets the same penalty). Its null space is the quadratic polynomials: six dimensions.
        """
        scale = [1.0 / (axis.count - 3) for axis in (self.a, self.b)]
        in_a = [_difference(self.a.count, order) / scale[0] ** order for order in range(4)]
        in_b = [_difference(self.b.count, order) / scale[1] ** order for order in range(4)]
        penalty = torch.zeros(self.size, self.size, dtype=torch.float64)
        for order, weight in zip(range(4), (1.0, 3.0, 3.0, 1.0), strict=True):
            rows = torch.kron(in_a[3 - order], in_b[order])
            penalty += weight * rows.T @ rows / len(rows)
        return penalty


def _difference(count: int, order: int) -> Float[Tensor, "rows count"]:
    return torch.from_numpy(np.diff(np.eye(count), n=order, axis=0))
