"""Pairs far from the origin: solved in units of their own box, where rounding hides nothing."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.geodesics.curves import Curves
from hessgeo.geodesics.result import Geodesics
from hessgeo.grids import Frame
from hessgeo.metrics.base import Box, Metric
from hessgeo.metrics.gridded import GriddedMetric

_FAR = 64.0  # half sides from the origin beyond which an axis is counted from the centre of its box
_EPSILON = torch.finfo(torch.float64).eps
_SHARE = 16.0  # of the square of a rounding, in box units, that is left of it in the decrement of a curve


def far_frame(box: Box | None, starts: Float[Tensor, "m d"], ends: Float[Tensor, "m d"]) -> Frame | None:
    """Units centred on the box, or without one on the pairs, along axes where it is small and far; None if none is.

    Steps along a curve are differences of its points: these lose the digits that an offset takes. Near the origin
    coordinates stay as they are, since there they are known to more digits than their differences.
    """
    if box is None:
        both = torch.cat([starts, ends])
        box = tuple(zip(both.amin(dim=0).tolist(), both.amax(dim=0).tolist(), strict=True))
    centre, half = [], []
    for low, high in box:
        middle, reach = low + (high - low) / 2, (high - low) / 2
        far = abs(middle) > _FAR * reach
        centre.append(middle if far else 0.0)
        half.append(reach if far and reach > 0 else 1.0)
    return Frame(tuple(centre), tuple(half)) if any(centre) else None


def least_tolerance(metric: Metric, frame: Frame) -> float:
    """The decrement, relative to the energy, that the rounding of parameters leaves: they are where ``g`` is read."""
    if isinstance(metric, GriddedMetric):
        return 0.0
    rounding = max(abs(c) / h for c, h in zip(frame.centre, frame.half, strict=True)) * _EPSILON
    return _SHARE * rounding**2


def out_of(paths: Geodesics, frame: Frame, metric: Metric, refused: dict[int, str]) -> Geodesics:
    """Paths in the parameters of a metric, that were solved in the units of a frame, but for pairs refused in these."""
    refined = tuple((rows, _moved(curves, frame)) for rows, curves in paths.refined)
    return replace(
        paths,
        points=frame.out_of(paths.points),
        tangents=paths.tangents * frame.scale(paths.tangents),
        refined=refined,
        metric=metric,
        failures=paths.failures | refused,
    )


def _moved(curves: Curves, frame: Frame) -> Curves:
    coefficients = curves.coefficients * frame.scale(curves.coefficients)
    coefficients[..., 0, :] += coefficients.new_tensor(frame.centre)
    return Curves(coefficients)
