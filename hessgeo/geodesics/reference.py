"""The solver of Lobashev et al. (2025), as an ablation beside ``solve.geodesics``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from hessgeo.geodesics.curves import length
from hessgeo.metrics.base import Box, Metric, as_metric


@dataclass(frozen=True)
class AdamCurves:
    """What the scheme ends with; it has no certificate.

    Attributes:
        points: of each polyline.
        length: of the polylines in the metric, by quadrature.
        energy: at the midpoints, the scheme's own objective.
    """

    points: Float[Tensor, "m n 2"]
    length: Float[Tensor, "m"]
    energy: Float[Tensor, "m"]


def adam_geodesics(
    metric: Metric | Callable[[Tensor], Tensor],
    starts: Float[Tensor, "m 2"],
    ends: Float[Tensor, "m 2"],
    *,
    points: int = 90,
    steps: int = 5000,
    learning_rate: float = 0.01,
    detach: bool = True,
    box: Box | None = None,
    progress: bool = False,
) -> AdamCurves:
    """Polylines between pairs of points by Adam on the midpoint energy, from the straight line.

    ``E = sum_k <d_k, g((x_k + x_{k+1}) / 2) d_k>``. With ``detach`` the gradient through ``g`` is left out, as in the
    published code: what the iteration then seeks is ``sum_k g_k d_k`` in balance, which no minimum of ``E`` satisfies
    unless ``g`` is constant.

    Args:
        metric: as of ``solve.geodesics``.
        starts: first points.
        ends: last points.
        points: of each curve, ends included (published: 90).
        steps: of Adam (published: 5,000).
        learning_rate: of Adam, in units of ``t`` (published: 0.01).
        detach: leave out the gradient through the metric.
        box: points are put back into it after each step.
        progress: show a bar.

    Raises:
        ValueError: if there is no inner point to move.
    """
    if points < 3:
        raise ValueError(f"points is {points}, must be at least 3")
    metric = as_metric(metric)
    starts, ends = starts.double(), ends.double()
    share = torch.linspace(0, 1, points, dtype=starts.dtype, device=starts.device)[1:-1, None]
    inner = (starts[:, None] + share * (ends - starts)[:, None]).requires_grad_()
    optimiser = torch.optim.Adam([inner], lr=learning_rate)
    for _ in tqdm(range(steps), desc="Adam", disable=not progress):
        optimiser.zero_grad(set_to_none=True)
        curve = torch.cat([starts[:, None], inner, ends[:, None]], dim=1)
        middle = (curve[:, 1:] + curve[:, :-1]) / 2
        g = metric(middle.detach()).detach() if detach else metric(middle)
        step = curve.diff(dim=1)
        # Curves are independent: Adam scales each coordinate by itself, so their sum is their joint objective.
        torch.einsum("mki,mkij,mkj->", step, g, step).backward()
        optimiser.step()
        if box is not None:
            low, high = inner.new_tensor(box).T
            with torch.no_grad():
                inner.clamp_(low, high)
    with torch.no_grad():
        curve = torch.cat([starts[:, None], inner, ends[:, None]], dim=1)
        step = curve.diff(dim=1)
        g = metric((curve[:, 1:] + curve[:, :-1]) / 2)
        energy = (points - 1) * torch.einsum("mki,mkij,mkj->m", step, g, step)
        return AdamCurves(curve, length(curve, metric), energy)
