"""A smooth metric through a field of metrics on a grid, positive definite between the nodes as well as on them."""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from hessgeo.grids import Frame, Grid
from hessgeo.metrics import gridded_kernel
from hessgeo.metrics.base import ASYMMETRY, Metric, MetricJet, stack_jet
from hessgeo.metrics.diagnostics import in_units, positive_definite
from hessgeo.metrics.repair import repair
from hessgeo.numerics.interpolation import interpolate, interpolating_basis

_SERIES = (
    0.5  # up to this square of the argument, series: the differences of hyperbolic functions cancel there
)
_TERMS = 10  # 0.5^10 / 21! is far below rounding
_ORDERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))  # value, a, b, aa, ab, bb

# A quantity with its derivatives in the two parameters, in that order.
Jet = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class GriddedMetric(Metric):
    """``g(t) = exp S(t)``, with ``S`` the cubic spline (C2, not-a-knot) through the matrix logarithms at the nodes.

    Positive definite everywhere, equal to the field at the nodes, the same whichever way the axes of the matrices
    point and in whatever units (log-Euclidean interpolation, Arsigny et al. 2006, the box made a square); off the nodes
    its error is of fourth order in the spacing. Outside the grid's box the outermost pieces are continued, which means
    nothing: ``box`` is that of the grid, and geodesics stay in it.

    Args:
        values: symmetric positive definite matrices at the nodes, see ``repair.repair`` for one that is not.
        grid: the nodes, at least four along both axes.

    Raises:
        ValueError: if a matrix is not symmetric or not positive definite (or not finite), or shapes do not fit.
    """

    def __init__(self, values: Float[np.ndarray, "na nb 2 2"], grid: Grid) -> None:
        values = np.asarray(values, dtype=float)
        if values.shape != (*grid.shape, 2, 2) or min(grid.shape) < 4:
            raise ValueError(
                f"metric of shape {values.shape} on a grid {grid.shape}: must be (na, nb, 2, 2), na, nb >= 4"
            )
        definite = positive_definite(values)
        if not definite.all():
            raise ValueError(
                f"the metric is not positive definite at {int((~definite).sum())} of {definite.size} nodes: "
                "repair it first"
            )
        off = np.abs(values[..., 0, 1] - values[..., 1, 0])
        if (off > ASYMMETRY * np.abs(values).max(axis=(-2, -1))).any():
            raise ValueError(f"the metric is not symmetric: g_ab and g_ba differ by up to {off.max():g}")
        self.grid, self.box = grid, grid.extent
        self._units = torch.from_numpy(np.outer(grid.square, grid.square))
        logarithm = _matrix_logarithm(in_units(values, grid.square))
        parts = np.stack(
            [
                (logarithm[..., 0, 0] + logarithm[..., 1, 1]) / 2,
                (logarithm[..., 0, 0] - logarithm[..., 1, 1]) / 2,
                logarithm[..., 0, 1],
            ],
            axis=-1,
        )
        self.basis = interpolating_basis(grid.extent, grid.shape)
        self.coefficients = torch.from_numpy(interpolate(interpolate(parts, 0), 1))
        self._on: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def in_frame(self, frame: Frame) -> GriddedMetric:
        """The same metric of parameters in the units of a frame: nothing is interpolated anew."""
        other = copy(self)
        other.grid = Grid(frame.of_box(self.grid.extent), self.grid.shape)
        other.box, other._on = other.grid.extent, {}
        half = torch.tensor(frame.half, dtype=torch.float64)
        other._units = self._units / torch.outer(half, half)
        other.basis = interpolating_basis(other.grid.extent, other.grid.shape)
        return other

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """The metric at each point."""
        if _plain(t):
            return self._compiled(t, 0)[..., 0, :, :]
        mean, half, off = self._logarithm(t, 0)[..., 0, 0, :].unbind(-1)
        even, odd, *_ = _hyperbolic(half**2 + off**2)
        scale = mean.exp()
        g = _matrix(scale * (even + odd * half), scale * odd * off, scale * (even - odd * half))
        return g / self._units.to(g)

    def jet(self, t: Float[Tensor, "*batch 2"]) -> MetricJet:
        """See ``Metric.jet``; by the chain rule."""
        if _plain(t):
            whole = self._compiled(t, 2)
            value, in_a, in_b, in_aa, in_ab, in_bb = whole.unbind(-3)
            return stack_jet(value, (in_a, in_b), (in_aa, in_ab, in_bb))
        mean, half, off = self._logarithm_jet(t)
        square = _add(_multiply(half, half), _multiply(off, off))
        even, odd, odd_1, odd_2 = _hyperbolic(square[0])
        # With u the square: d cosh(sqrt u) / du = odd / 2.
        even_jet = _compose(even, odd / 2, odd_1 / 2, square)
        odd_jet = _compose(odd, odd_1, odd_2, square)
        scale = mean[0].exp()
        scale_jet = _compose(scale, scale, scale, mean)
        even_jet, odd_jet = _multiply(scale_jet, even_jet), _multiply(scale_jet, odd_jet)
        tilt, cross = _multiply(odd_jet, half), _multiply(odd_jet, off)
        value, in_a, in_b, in_aa, in_ab, in_bb = (
            _matrix(e + h, o, e - h) / self._units.to(e)
            for e, h, o in zip(even_jet, tilt, cross, strict=True)
        )
        return stack_jet(value, (in_a, in_b), (in_aa, in_ab, in_bb))

    def slope(self, t: Float[Tensor, "*batch 2"]) -> tuple[Tensor, Float[Tensor, "*batch 2 2 2"]]:
        """See ``Metric.slope``."""
        return self.jet(t)[:2]

    def _compiled(self, t: Float[Tensor, "*batch 2"], order: int) -> Float[Tensor, "*batch part 2 2"]:
        axes = [(axis.low, axis.high, float(axis.count)) for axis in self.basis.axes]
        found = gridded_kernel.evaluate(
            t.reshape(-1, 2).contiguous().numpy(),
            self.coefficients.numpy(),
            np.array(axes),
            self._units.numpy(),
            order,
        )
        return torch.from_numpy(found).reshape(*t.shape[:-1], *found.shape[1:])

    def _coefficients(self, t: Tensor) -> Tensor:
        key = (t.device, t.dtype)
        if key not in self._on:
            self._on[key] = self.coefficients.to(t)
        return self._on[key]

    def _logarithm(self, t: Float[Tensor, "*batch 2"], order: int) -> Float[Tensor, "*batch p q part"]:
        """Mixed derivatives of the three splines, to ``order`` in both parameters, from one gathering."""
        offsets = torch.arange(4, device=t.device)
        in_a = [self.basis.a.local(t[..., 0], k) for k in range(order + 1)]
        in_b = [self.basis.b.local(t[..., 1], k) for k in range(order + 1)]
        rows = (in_a[0][0][..., None] + offsets)[..., None] * self.basis.b.count
        rows = rows + (in_b[0][0][..., None] + offsets)[..., None, :]
        patch = (
            self._coefficients(t).flatten(0, 1).index_select(0, rows.flatten()).reshape(*rows.shape[:-1], 12)
        )
        along_a = torch.stack([weights for _, weights in in_a], dim=-2)
        along_b = torch.stack([weights for _, weights in in_b], dim=-2)
        half = (along_a @ patch).unflatten(-1, (4, 3))  # (..., order in a, 4, part)
        return along_b[..., None, :, :] @ half

    def _logarithm_jet(self, t: Float[Tensor, "*batch 2"]) -> tuple[Jet, Jet, Jet]:
        whole = self._logarithm(t, 2)
        parts = (tuple(whole[..., p, q, part] for p, q in _ORDERS) for part in range(3))
        return tuple(parts)  # type: ignore[return-value]


def smooth_metric(metric: Metric, grid: Grid, *, floor: float | None = None) -> GriddedMetric:
    """A metric read at the nodes of a grid and made smooth, such as the Hessian of a cubic spline, which has kinks.

    Args:
        metric: what to read.
        grid: the nodes; closer than the features of the metric.
        floor: least eigenvalue with the box made a square, see ``repair.repair``; None refuses a metric that is not
            positive definite.

    Raises:
        ValueError: if the metric is not positive definite at a node and there is no floor.
    """
    with torch.no_grad():
        values = metric(torch.from_numpy(grid.points)).numpy().reshape(*grid.shape, 2, 2)
    return GriddedMetric(
        values if floor is None else repair(values, floor=floor, units=grid.square).metric, grid
    )


def _plain(t: Tensor) -> bool:
    """Whether points are numbers in double precision on the CPU, and nobody differentiates by them."""
    if t.requires_grad and torch.is_grad_enabled():
        return False
    return t.device.type == "cpu" and t.dtype == torch.float64 and not is_functorch_wrapped_tensor(t)


def _matrix_logarithm(g: Float[np.ndarray, "*batch 2 2"]) -> Float[np.ndarray, "*batch 2 2"]:
    values, vectors = np.linalg.eigh(g)
    return (vectors * np.log(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def _hyperbolic(square: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``C = cosh x``, ``S = sinh x / x`` and the first two derivatives of ``S`` in ``u = x^2``; smooth at zero."""
    small = square < _SERIES
    u = torch.where(small, square, torch.zeros_like(square))
    even, odd, odd_1, odd_2 = (torch.zeros_like(u) for _ in range(4))
    factorial, power = 1.0, torch.ones_like(u)  # (2k)!, u^k
    for k in range(_TERMS):
        factorial_odd = factorial * (2 * k + 1)
        even = even + power / factorial
        odd = odd + power / factorial_odd
        odd_1 = odd_1 + (k + 1) * power / (factorial_odd * (2 * k + 2) * (2 * k + 3))
        odd_2 = odd_2 + (k + 1) * (k + 2) * power / (
            factorial_odd * (2 * k + 2) * (2 * k + 3) * (2 * k + 4) * (2 * k + 5)
        )
        factorial, power = factorial_odd * (2 * k + 2), power * u
    v = torch.where(small, torch.ones_like(square), square)
    root = v.sqrt()
    cosh, sinh = root.cosh(), root.sinh() / root
    sinh_1 = (cosh - sinh) / (2 * v)
    sinh_2 = (sinh / 2 - 3 * sinh_1) / (2 * v)
    pairs = ((even, cosh), (odd, sinh), (odd_1, sinh_1), (odd_2, sinh_2))
    chosen = [torch.where(small, series, closed) for series, closed in pairs]
    return chosen[0], chosen[1], chosen[2], chosen[3]


def _matrix(first: Tensor, off: Tensor, last: Tensor) -> Tensor:
    return torch.stack([first, off, off, last], dim=-1).unflatten(-1, (2, 2))


def _add(x: Jet, y: Jet) -> Jet:
    return tuple(p + q for p, q in zip(x, y, strict=True))  # type: ignore[return-value]


def _multiply(x: Jet, y: Jet) -> Jet:
    """The rule of Leibniz."""
    return (
        x[0] * y[0],
        x[1] * y[0] + x[0] * y[1],
        x[2] * y[0] + x[0] * y[2],
        x[3] * y[0] + 2 * x[1] * y[1] + x[0] * y[3],
        x[4] * y[0] + x[1] * y[2] + x[2] * y[1] + x[0] * y[4],
        x[5] * y[0] + 2 * x[2] * y[2] + x[0] * y[5],
    )


def _compose(value: Tensor, first: Tensor, second: Tensor, u: Jet) -> Jet:
    """The jet of a function of one variable, given its value and derivatives at ``u``."""
    return (
        value,
        first * u[1],
        first * u[2],
        first * u[3] + second * u[1] ** 2,
        first * u[4] + second * u[1] * u[2],
        first * u[5] + second * u[2] ** 2,
    )
