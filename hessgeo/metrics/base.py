"""A Riemannian metric on the parameter plane, and its derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.grids import Extent

Box = Extent
_ASYMMETRY = (
    1e-6  # difference of the off-diagonal entries, share of the largest, that is rounding in single precision
)


class MetricJet(NamedTuple):
    """A metric and its first two derivatives at the same points.

    Attributes:
        value: ``g_ij``.
        first: ``[..., i, j, k] = d_k g_ij``.
        second: ``[..., i, j, k, l] = d_k d_l g_ij``.
    """

    value: Float[Tensor, "*batch 2 2"]
    first: Float[Tensor, "*batch 2 2 2"]
    second: Float[Tensor, "*batch 2 2 2 2"]


class Metric(ABC):
    """A map from points of the plane to symmetric 2 x 2 matrices.

    Attributes:
        box: ``((a_min, a_max), (b_min, b_max))`` outside of which the metric means nothing; None for the whole plane.
    """

    box: Box | None = None

    @abstractmethod
    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """The metric tensor at each point, in the units of ``t`` to the power -2."""

    def slope(self, t: Float[Tensor, "*batch 2"]) -> tuple[Tensor, Float[Tensor, "*batch 2 2 2"]]:
        """The metric and ``[..., i, j, k] = d_k g_ij``, by forward differentiation of ``__call__``."""
        t = t.contiguous()  # torch refuses to differentiate along views that share their memory
        parts = [torch.func.jvp(self, (t,), (axis,)) for axis in _axes(t)]
        return parts[0][0], torch.stack([slope for _, slope in parts], dim=-1)

    def jet(self, t: Float[Tensor, "*batch 2"]) -> MetricJet:
        """The metric with its first and second derivatives, by nested forward differentiation of ``__call__``."""
        t = t.contiguous()  # torch refuses to differentiate along views that share their memory
        along = _axes(t)

        def derivative(k: int) -> Callable[[Tensor], Any]:
            return lambda point: torch.func.jvp(self, (point,), (along[k],))

        (value, in_a), (_, in_aa) = torch.func.jvp(derivative(0), (t,), (along[0],))
        _, (in_b, in_ab) = torch.func.jvp(derivative(0), (t,), (along[1],))
        _, (_, in_bb) = torch.func.jvp(derivative(1), (t,), (along[1],))
        return stack_jet(value, (in_a, in_b), (in_aa, in_ab, in_bb))


class FunctionMetric(Metric):
    """A metric given by a function of points, such as a user's own.

    Args:
        function: ``(*batch, 2) -> (*batch, 2, 2)``, each point by itself.
        step: of central differences, in units of ``t``, for a function that torch cannot differentiate (first
            derivatives to fourth order in it, second ones to second order, which costs steps, not accuracy);
            None to differentiate it.
        box: where it is defined; None for the whole plane.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], *, step: float | None = None, box: Box | None = None
    ) -> None:
        self.function, self.step, self.box = function, step, box

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """The function's value.

        Raises:
            ValueError: if it has not the shape of a metric.
        """
        g = self.function(t)
        if g.shape != (*t.shape, 2):
            raise ValueError(
                f"the metric function gave shape {tuple(g.shape)} for points of shape {tuple(t.shape)}, "
                f"must be {(*t.shape, 2)}"
            )
        return g.to(t.dtype)

    def slope(self, t: Float[Tensor, "*batch 2"]) -> tuple[Tensor, Float[Tensor, "*batch 2 2 2"]]:
        """See ``Metric.slope``; by differences if there is a step."""
        return super().slope(t) if self.step is None else _difference_jet(self, t, self.step)[:2]

    def jet(self, t: Float[Tensor, "*batch 2"]) -> MetricJet:
        """See ``Metric.jet``; by differences if there is a step."""
        return super().jet(t) if self.step is None else _difference_jet(self, t, self.step)


def as_metric(metric: Metric | Callable[[Tensor], Tensor]) -> Metric:
    """A metric as it is, a function as a ``FunctionMetric``."""
    return metric if isinstance(metric, Metric) else FunctionMetric(metric)


def asymmetries(metric: Metric, t: Float[Tensor, "m k 2"]) -> dict[int, str]:
    """Rows of points at one of which the metric is no symmetric matrix: a line that names point and entries."""
    g = metric(t)
    wrong = (g[..., 0, 1] - g[..., 1, 0]).abs() > _ASYMMETRY * g.abs().amax(dim=(-2, -1))
    found = {}
    for row, place in reversed(
        torch.nonzero(wrong).tolist()
    ):  # the first place of a row is the one that stays
        (a, b), (upper, lower) = t[row, place].tolist(), g[row, place].flatten()[1:3].tolist()
        found[row] = f"the metric at ({a:g}, {b:g}) is not symmetric: g_ab is {upper:g} and g_ba is {lower:g}"
    return found


def stack_jet(
    value: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor, Tensor]
) -> MetricJet:
    """A jet from ``g``, ``(g_a, g_b)`` and ``(g_aa, g_ab, g_bb)``."""
    in_aa, in_ab, in_bb = second
    rows = [torch.stack([in_aa, in_ab], dim=-1), torch.stack([in_ab, in_bb], dim=-1)]
    return MetricJet(value, torch.stack(first, dim=-1), torch.stack(rows, dim=-2))


def _axes(t: Tensor) -> tuple[Tensor, ...]:
    return tuple(axis.expand_as(t).contiguous() for axis in torch.eye(t.shape[-1]).to(t))


def _difference_jet(metric: Metric, t: Tensor, h: float) -> MetricJet:
    def at(i: int, j: int) -> Tensor:
        return metric(t + t.new_tensor([i * h, j * h]))

    value = at(0, 0)
    in_a = (8 * (at(1, 0) - at(-1, 0)) - at(2, 0) + at(-2, 0)) / (12 * h)
    in_b = (8 * (at(0, 1) - at(0, -1)) - at(0, 2) + at(0, -2)) / (12 * h)
    in_aa = (at(1, 0) - 2 * value + at(-1, 0)) / h**2
    in_bb = (at(0, 1) - 2 * value + at(0, -1)) / h**2
    in_ab = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * h**2)
    return stack_jet(value, (in_a, in_b), (in_aa, in_ab, in_bb))
