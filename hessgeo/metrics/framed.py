"""Metrics read in box units: the same metric, of parameters that are counted from the centre of a box in its halves."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from hessgeo.grids import Frame
from hessgeo.metrics.base import Metric, MetricJet, SpeedJet
from hessgeo.metrics.gridded import GriddedMetric


def in_frame(metric: Metric, frame: Frame) -> Metric:
    """A metric of box units ``u``, ``t = centre + half u``: ``g_u = H g_t H``.

    That of a grid is read in these units to the last digit; of any other what the rounding of ``t`` leaves of it.
    """
    return metric.in_frame(frame) if isinstance(metric, GriddedMetric) else FramedMetric(metric, frame)


class FramedMetric(Metric):
    """See ``in_frame``.

    Args:
        metric: of parameters.
        frame: the units.
    """

    def __init__(self, metric: Metric, frame: Frame) -> None:
        self.metric, self.frame = metric, frame
        self.box = None if metric.box is None else frame.of_box(metric.box)

    def __call__(self, t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """The metric at each point."""
        return self._scaled(self.metric(self.frame.out_of(t)), 2)

    def slope(self, t: Float[Tensor, "*batch d"]) -> tuple[Tensor, Float[Tensor, "*batch d d d"]]:
        """See ``Metric.slope``."""
        g, first = self.metric.slope(self.frame.out_of(t))
        return self._scaled(g, 2), self._scaled(first, 3)

    def jet(self, t: Float[Tensor, "*batch d"]) -> MetricJet:
        """See ``Metric.jet``."""
        g, first, second = self.metric.jet(self.frame.out_of(t))
        return MetricJet(self._scaled(g, 2), self._scaled(first, 3), self._scaled(second, 4))

    def speed_jet(self, t: Float[Tensor, "*batch d"], v: Float[Tensor, "*batch d"]) -> SpeedJet:
        """See ``Metric.speed_jet``."""
        parts = self.metric.speed_jet(self.frame.out_of(t), v * self.frame.scale(v))
        return SpeedJet(*(self._scaled(part, 2) for part in parts))

    def _scaled(self, values: Any, rank: int) -> Any:
        half = self.frame.scale(values)
        for axis in range(1, rank + 1):
            values = values * half.reshape(-1, *(1,) * (axis - 1))
        return values
