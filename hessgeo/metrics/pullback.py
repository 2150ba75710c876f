"""Pull-back metrics ``J' J`` of feature maps: pixels, perceptual features, image embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.grids import Grid
from hessgeo.metrics.base import Box, Metric
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.metrics.measured import FeatureRows, embedding_metric
from hessgeo.metrics.repair import relative_floor, repair

FeatureMap = Callable[[Tensor], Tensor]


class PullbackMetric(Metric):
    """``g_ij(t) = <d_i f, d_j f>``: squared distances of features to second order in a step of ``t``.

    Args:
        features: ``(n, 2) -> (n, d)``, each point by itself.
        derivatives: ``forward`` differentiates it in forward mode, one pass an axis (``torch.func.jvp``);
            ``differences`` takes central ones, for maps that torch cannot differentiate.
        step: of the differences, in units of ``t``; their error is of second order in it.
        box: where the map is defined; None for the whole plane.
    """

    def __init__(
        self,
        features: FeatureMap,
        *,
        derivatives: Literal["forward", "differences"] = "forward",
        step: float = 1e-4,
        box: Box | None = None,
    ) -> None:
        if derivatives not in ("forward", "differences"):
            raise ValueError(f"derivatives is {derivatives!r}, must be forward or differences")
        if not step > 0:
            raise ValueError(f"step is {step}, must be positive")
        self.features, self.derivatives, self.step, self.box = features, derivatives, step, box

    def jacobian(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch d 2"]:
        """``d f / d t`` at each point."""
        flat = t.reshape(-1, 2)
        columns = []
        for k in (0, 1):
            along = torch.zeros_like(flat)
            along[:, k] = 1.0
            if self.derivatives == "forward":
                columns.append(torch.func.jvp(self.features, (flat,), (along,))[1])
            else:
                ahead, behind = (
                    self.features(flat + self.step * along),
                    self.features(flat - self.step * along),
                )
                columns.append((ahead - behind) / (2 * self.step))
        jacobian = torch.stack(columns, dim=-1)
        return jacobian.reshape(*t.shape[:-1], *jacobian.shape[1:])

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """The metric at each point, positive semi-definite."""
        jacobian = self.jacobian(t)
        return jacobian.mT @ jacobian


@dataclass(frozen=True)
class FeatureMetric:
    """The pull-back metric of features that are known at the nodes of a grid.

    Attributes:
        metric: smooth and positive definite.
        field: at the nodes, before its repair.
        repaired: nodes at which an eigenvalue was raised to ``floor``, because features do not change there.
        floor: the least eigenvalue.
    """

    metric: GriddedMetric
    field: Float[np.ndarray, "na nb 2 2"]
    repaired: int
    floor: float


def feature_metric(
    features: Float[np.ndarray, "na nb d"] | FeatureRows,
    grid: Grid,
    *,
    smoothing: float = 0.0,
    floor: float = 1e-3,
) -> FeatureMetric:
    """Pull-back of features at the nodes of a grid, made a smooth metric.

    Of pixels it is the metric of Shao et al. (2018), of the features of a network that of Wang and Ponce (2021), of an
    image embedding the one whose Hessian form is fitted elsewhere.

    Args:
        features: of every node, or a function that makes one row of nodes, see ``embedding_metric``.
        grid: the nodes.
        smoothing: width of a Gaussian filter over the features first, in cells.
        floor: least eigenvalue, as a share of the median of the largest one: where features are constant the metric is
            zero, and so would lengths be.

    Raises:
        ValueError: if features are not finite, or constant at most nodes.
    """
    field = embedding_metric(features, grid, smoothing=smoothing)
    units = grid.square
    repaired = repair(field, floor=relative_floor(field, floor, units=units), units=units)
    return FeatureMetric(GriddedMetric(repaired.metric, grid), field, repaired.count, repaired.floor)
