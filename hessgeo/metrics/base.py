"""A Riemannian metric on the parameters, and its derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.grids import Extent

Box = Extent
_ENTRIES = 2**22  # numbers that derivatives in many dimensions are worked out on at once
ASYMMETRY = (
    1e-6  # difference of the off-diagonal entries, share of the largest, that is rounding in single precision
)


class MetricJet(NamedTuple):
    """A metric and its first two derivatives at the same points.

    Attributes:
        value: ``g_ij``.
        first: ``[..., i, j, k] = d_k g_ij``.
        second: ``[..., i, j, k, l] = d_k d_l g_ij``.
    """

    value: Float[Tensor, "*batch d d"]
    first: Float[Tensor, "*batch d d d"]
    second: Float[Tensor, "*batch d d d d"]


class SpeedJet(NamedTuple):
    """A metric and what the squared speed ``<v, g(t) v>`` needs of its derivatives.

    Attributes:
        value: ``g_ij``.
        along: ``[..., j, k] = v_i d_k g_ij``.
        bend: ``[..., k, l] = v_i v_j d_k d_l g_ij``.
    """

    value: Float[Tensor, "*batch d d"]
    along: Float[Tensor, "*batch d d"]
    bend: Float[Tensor, "*batch d d"]


class Metric(ABC):
    """A map from points to symmetric matrices, in the plane or any other number ``d`` of dimensions.

    Attributes:
        box: ``((a_min, a_max), (b_min, b_max))``, an interval an axis, outside of which the metric means nothing; None
            for the whole space.
    """

    box: Box | None = None

    @abstractmethod
    def __call__(self, t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """The metric tensor at each point, in the units of ``t`` to the power -2."""

    def slope(self, t: Float[Tensor, "*batch d"]) -> tuple[Tensor, Float[Tensor, "*batch d d d"]]:
        """The metric and ``[..., i, j, k] = d_k g_ij``, by forward differentiation of ``__call__``."""
        d = t.shape[-1]
        value, slope = torch.func.jvp(self, (_repeated(t, d),), (_along(t, range(d)),))
        return value[0], torch.movedim(slope, 0, -1)

    def jet(self, t: Float[Tensor, "*batch d"]) -> MetricJet:
        """The metric with its first and second derivatives, by nested forward differentiation of ``__call__``.

        All pairs of axes at once, as ``d (d + 1) / 2`` copies of the points.
        """
        d = t.shape[-1]
        pairs = [(k, m) for k in range(d) for m in range(k, d)]
        inner, outer = (_along(t, axes) for axes in zip(*pairs, strict=True))

        def slope(point: Tensor) -> tuple[Tensor, Tensor]:
            value, first = torch.func.jvp(self, (point,), (inner,))[:2]
            return value, first

        (value, first), (_, second) = torch.func.jvp(slope, (_repeated(t, len(pairs)),), (outer,))
        own = [pairs.index((k, k)) for k in range(d)]
        both = torch.tensor([[pairs.index((min(k, m), max(k, m))) for m in range(d)] for k in range(d)])
        whole = second[both.to(t.device)]  # k m *batch i j
        return MetricJet(value[0], torch.movedim(first[own], 0, -1), torch.movedim(whole, (0, 1), (-2, -1)))

    def speed_jet(self, t: Float[Tensor, "*batch d"], v: Float[Tensor, "*batch d"]) -> SpeedJet:
        """What ``<v, g(t) v>`` needs to second order in point and velocity.

        From ``jet`` where a metric has its own; else by differentiating the squared speed itself backward, twice, for
        all second derivatives of ``g`` may be too many.
        """
        if type(self).jet is not Metric.jet:
            return contracted(self.jet(t), v)
        return differentiated_speed(self, t, v)


def contracted(jet: MetricJet, v: Float[Tensor, "*batch d"]) -> SpeedJet:
    """What a squared speed needs of the derivatives of its metric."""
    g, first, second = jet
    d = v.shape[-1]
    along = (v[..., None, :] @ first.flatten(-2))[..., 0, :].unflatten(-1, (d, d))
    squares = (v[..., :, None] * v[..., None, :]).flatten(-2)
    bend = (squares[..., None, :] @ second.flatten(-4, -3).flatten(-2))[..., 0, :]
    return SpeedJet(g, along, bend.unflatten(-1, (d, d)))


def differentiated_speed(
    metric: Metric, t: Float[Tensor, "*batch d"], v: Float[Tensor, "*batch d"]
) -> SpeedJet:
    """The parts of a ``SpeedJet`` by reverse differentiation, as ``2 d`` copies of the points, in blocks."""
    d = t.shape[-1]
    block = max(1, _ENTRIES // d**3)
    parts = zip(t.reshape(-1, d).split(block), v.reshape(-1, d).split(block), strict=True)
    found = [_squared_speed(metric, x, w) for x, w in parts]
    whole = [torch.cat(one) if len(found) > 1 else one[0] for one in zip(*found, strict=True)]
    return SpeedJet(*(values.reshape(*t.shape, d) for values in whole))


def _squared_speed(metric: Metric, t: Float[Tensor, "n d"], v: Float[Tensor, "n d"]) -> tuple[Tensor, ...]:
    d = t.shape[-1]
    with torch.enable_grad():
        point = t.detach().expand(2 * d, *t.shape).contiguous().requires_grad_()
        g = metric(point)
        lowered = (g[d:] @ v[..., None])[..., 0]
        if not g.requires_grad:  # the same everywhere
            return g[0], torch.zeros_like(g[0]), torch.zeros_like(g[0])
        squared = (v * (g[:d] @ v[..., None])[..., 0]).sum()
        (rate,) = torch.autograd.grad(squared, point, create_graph=True)
        axes = torch.arange(d, device=t.device)
        # The first copies give the rows of one matrix, one each, the others those of the other.
        each = rate[axes, :, axes].sum() + lowered[axes, :, axes].sum()
        (rows,) = torch.autograd.grad(each, point)
    bend, along = rows.movedim(0, -2).split(d, dim=-2)
    return g[0].detach(), along, bend


class FunctionMetric(Metric):
    """A metric given by a function of points, such as a user's own.

    Args:
        function: ``(*batch, d) -> (*batch, d, d)``, each point by itself.
        step: of central differences, in units of ``t``, for a function that torch cannot differentiate (first
            derivatives to fourth order in it, second ones to second order, which costs steps, not accuracy);
            None to differentiate it.
        box: where it is defined; None for the whole space.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], *, step: float | None = None, box: Box | None = None
    ) -> None:
        self.function, self.step, self.box = function, step, box

    def __call__(self, t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """The function's value.

        Raises:
            ValueError: if it is no tensor of real numbers with the shape of a metric.
        """
        g = self.function(t)
        if not isinstance(g, Tensor) or g.is_complex():
            what = g.dtype if isinstance(g, Tensor) else type(g).__name__
            raise ValueError(f"the metric function gave {what}, must be a tensor of real numbers")
        if g.shape != (*t.shape, t.shape[-1]):
            raise ValueError(
                f"the metric function gave shape {tuple(g.shape)} for points of shape {tuple(t.shape)}, "
                f"must be {(*t.shape, t.shape[-1])}"
            )
        return g.to(t.dtype)

    def slope(self, t: Float[Tensor, "*batch d"]) -> tuple[Tensor, Float[Tensor, "*batch d d d"]]:
        """See ``Metric.slope``; by differences if there is a step."""
        return super().slope(t) if self.step is None else _difference_jet(self, t, self.step)[:2]

    def jet(self, t: Float[Tensor, "*batch d"]) -> MetricJet:
        """See ``Metric.jet``; by differences if there is a step."""
        return super().jet(t) if self.step is None else _difference_jet(self, t, self.step)

    def speed_jet(self, t: Float[Tensor, "*batch d"], v: Float[Tensor, "*batch d"]) -> SpeedJet:
        """See ``Metric.speed_jet``; by differences along ``t`` if there is a step."""
        return differentiated_speed(self, t, v) if self.step is None else contracted(self.jet(t), v)


def as_metric(metric: Metric | Callable[[Tensor], Tensor]) -> Metric:
    """A metric as it is, a function as a ``FunctionMetric``."""
    return metric if isinstance(metric, Metric) else FunctionMetric(metric)


def asymmetries(metric: Metric, t: Float[Tensor, "m k d"]) -> dict[int, str]:
    """Rows of points at one of which the metric is no symmetric matrix: a line that names point and entries."""
    g = metric(t)
    apart = (g - g.mT).abs()
    wrong = apart.amax(dim=(-2, -1)) > ASYMMETRY * g.abs().amax(dim=(-2, -1))
    found = {}
    # The first place of a row is the one that stays.
    for row, place in reversed(torch.nonzero(wrong).tolist()):
        where = ", ".join(f"{x:g}" for x in t[row, place].tolist())
        i, j = sorted(divmod(int(apart[row, place].argmax()), t.shape[-1]))
        upper, lower = float(g[row, place, i, j]), float(g[row, place, j, i])
        names = (f"g_{i + 1},{j + 1}", f"g_{j + 1},{i + 1}") if t.shape[-1] > 2 else ("g_ab", "g_ba")
        found[row] = (
            f"the metric at ({where}) is not symmetric: {names[0]} is {upper:g} and {names[1]} is {lower:g}"
        )
    return found


def stack_jet(
    value: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor, Tensor]
) -> MetricJet:
    """A jet from ``g``, ``(g_a, g_b)`` and ``(g_aa, g_ab, g_bb)``."""
    in_aa, in_ab, in_bb = second
    rows = [torch.stack([in_aa, in_ab], dim=-1), torch.stack([in_ab, in_bb], dim=-1)]
    return MetricJet(value, torch.stack(first, dim=-1), torch.stack(rows, dim=-2))


def _repeated(t: Tensor, count: int) -> Tensor:
    # A copy: torch refuses to differentiate along views that share their memory.
    return t.expand(count, *t.shape).contiguous()


def _along(t: Tensor, axes: Iterable[int]) -> Tensor:
    """For each axis, the unit vector along it at every point."""
    unit = torch.eye(t.shape[-1]).to(t)[list(axes)]
    return unit.reshape(-1, *[1] * (t.ndim - 1), t.shape[-1]).expand(-1, *t.shape).contiguous()


def _difference_jet(metric: Metric, t: Tensor, h: float) -> MetricJet:
    axes = h * torch.eye(t.shape[-1]).to(t)
    value, first, second = metric(t), [], {}
    for k, step in enumerate(axes):
        ahead, behind = metric(t + step), metric(t - step)
        first.append((8 * (ahead - behind) - metric(t + 2 * step) + metric(t - 2 * step)) / (12 * h))
        second[k, k] = (ahead - 2 * value + behind) / h**2
        for m, other in enumerate(axes[:k]):
            crossed = [metric(t + a * step + b * other) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
            mixed = (crossed[0] - crossed[1] - crossed[2] + crossed[3]) / (4 * h**2)
            second[k, m] = second[m, k] = mixed
    rows = [torch.stack([second[k, m] for m in range(len(axes))], dim=-1) for k in range(len(axes))]
    return MetricJet(value, torch.stack(first, dim=-1), torch.stack(rows, dim=-2))
