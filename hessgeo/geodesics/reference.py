"""Solvers that others published, beside ``solve.geodesics``: of Lobashev et al. (2025), and GEORCE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from hessgeo.geodesics.curves import length
from hessgeo.metrics.base import Box, Metric, as_metric

_HALVINGS = 30  # of a step of GEORCE, after which it is stuck


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


@dataclass(frozen=True)
class GeorceCurves:
    """What GEORCE ends with.

    Attributes:
        points: of each polyline.
        length: of the polylines in the metric, by quadrature.
        energy: at the first points of the segments, the scheme's own objective.
        converged: whether the gradient of the energy fell below its tolerance.
        iterations: of each curve.
    """

    points: Float[Tensor, "m n d"]
    length: Float[Tensor, "m"]
    energy: Float[Tensor, "m"]
    converged: Bool[Tensor, "m"]
    iterations: Int[Tensor, "m"]


@torch.no_grad()
def georce_geodesics(
    metric: Metric | Callable[[Tensor], Tensor],
    starts: Float[Tensor, "m d"],
    ends: Float[Tensor, "m d"],
    *,
    segments: int = 100,
    tolerance: float = 1e-4,
    max_iterations: int = 1000,
) -> GeorceCurves:
    """Polylines between pairs of points by GEORCE, from the straight line (Rygaard and Hauberg 2025).

    The energy ``E = sum_t <u_t, G(x_t) u_t>`` with ``x_{t+1} = x_t + u_t`` is a problem of optimal control. For fixed
    ``G_t`` and ``nu_t = grad_x <u_t, G(x) u_t>`` its conditions are linear, and solved by

        mu = (sum_t G_t^-1)^-1 (2 (a - b) - sum_t G_t^-1 sum_{j > t} nu_j)
        u_t = -G_t^-1 (mu + sum_{j > t} nu_j) / 2,

    towards which a step is halved until the energy falls.

    Args:
        metric: as of ``solve.geodesics``.
        starts: first points.
        ends: last points.
        segments: of each curve.
        tolerance: of the norm of the gradient of the energy.
        max_iterations: of each curve.

    Raises:
        ValueError: if there is no inner point to move.
    """
    if segments < 2:
        raise ValueError(f"segments is {segments}, must be at least 2")
    metric, starts = as_metric(metric), starts.double()
    whole = ends.double() - starts
    u = (whole / segments)[:, None].repeat(1, segments, 1)
    g, energy, nu, gradient = _control(metric, starts, u)
    iterations = torch.zeros(len(u), dtype=torch.long, device=u.device)
    stuck = torch.zeros_like(iterations, dtype=torch.bool)
    for _ in range(max_iterations):
        going = (gradient > tolerance) & ~stuck
        if not bool(going.any()):
            break
        iterations += going
        inverse = torch.linalg.inv(g)
        later = nu.flip(1).cumsum(dim=1).flip(1) - nu
        pulled = (inverse @ later[..., None])[..., 0]
        mu = torch.linalg.solve(inverse.sum(dim=1), -2 * whole - pulled.sum(dim=1))
        towards = -((inverse @ mu[:, None, :, None])[..., 0] + pulled) / 2 - u
        share = going.to(u)
        for _ in range(_HALVINGS):
            trial = u + share[:, None, None] * towards
            after = _control(metric, starts, trial)
            worse = going & ~(after[1] < energy)
            if not bool(worse.any()):
                break
            share = torch.where(worse, share / 2, share)
        stuck |= worse
        better = going & ~worse
        u = torch.where(better[:, None, None], trial, u)
        g, energy, nu, gradient = (
            torch.where(better.reshape(-1, *[1] * (old.ndim - 1)), new, old)
            for new, old in zip(after, (g, energy, nu, gradient), strict=True)
        )
    points = torch.cat([starts[:, None], starts[:, None] + u.cumsum(dim=1)], dim=1)
    converged = gradient <= tolerance
    return GeorceCurves(points, length(points, metric), segments * energy, converged, iterations)


def _control(
    metric: Metric, starts: Tensor, u: Float[Tensor, "m t d"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``G_t``, the energy, ``nu_t`` and the norm of the gradient of the energy in the inner points."""
    x = torch.cat([starts[:, None], starts[:, None] + u[:, :-1].cumsum(dim=1)], dim=1)
    g, along, _ = metric.speed_jet(x, u)
    lowered = (g @ u[..., None])[..., 0]
    nu = (u[..., None, :] @ along)[..., 0, :]
    gradient = nu[:, 1:] + 2 * (lowered[:, :-1] - lowered[:, 1:])
    return g, (u * lowered).sum(dim=(1, 2)), nu, gradient.flatten(1).norm(dim=1)
