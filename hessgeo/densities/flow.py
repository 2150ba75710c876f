"""A normalising flow as a density, on the neural spline flows of ``zuko``."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
import zuko
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from hessgeo.densities.base import Density
from hessgeo.densities.mixtures import BLOCK


class FlowDensity(Density):
    """``p(x) = N(f((x - m) / s)) |det f'| / prod s`` with an invertible network ``f``.

    Args:
        flow: the network, of standardised data.
        mean: ``m`` of the data.
        scale: ``s``, the standard deviation of the data along each axis.
        held_out: mean log-likelihood, in nats, of the points that the weights were not fitted to but were chosen by:
            the best value that training came by, which errs on the high side; NaN if there were no such points.
    """

    def __init__(
        self, flow: torch.nn.Module, mean: Float[Tensor, "d"], scale: Float[Tensor, "d"], held_out: float
    ) -> None:
        self.flow, self.mean, self.scale, self.held_out = flow, mean, scale, held_out
        self.dimension = len(mean)

    def log_prob(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """See ``Density``; evaluated in blocks."""
        standard = ((x - self.mean) / self.scale).reshape(-1, self.dimension)
        # The network holds some hundred numbers a point and coordinate.
        rows = max(1, BLOCK // (256 * self.dimension))
        parts = [self.flow().log_prob(block) for block in standard.split(rows)]
        return torch.cat(parts).reshape(x.shape[:-1]) - self.scale.log().sum()


def fit_flow(
    points: Float[Tensor, "n d"],
    *,
    transforms: int = 3,
    hidden: Sequence[int] = (64, 64),
    bins: int = 8,
    noise: float = 0.0,
    steps: int = 1000,
    batch_size: int = 256,
    learning_rate: float = 2e-3,
    held_out: float = 0.1,
    seed: int = 0,
    progress: bool = False,
) -> FlowDensity:
    """Train a neural spline flow (Durkan et al. 2019) on points by maximum likelihood.

    Adam with a cosine learning rate; the weights that are kept are those of the best likelihood on held-out points,
    looked at every twentieth of the way, for a flow fits its training points without end. All randomness comes
    from ``seed``; on one machine and at one number of threads the flow is a function of the arguments.

    Args:
        points: the data, in double precision for a flow in double precision.
        transforms: autoregressive spline transformations, between which the order of the axes is drawn anew.
        hidden: widths of the layers of the network of each.
        bins: of each spline, which covers five standard deviations on each side.
        noise: standard deviation of Gaussian noise on the training points, as a share of that of the data along
            each axis: the density is then that of the noisy data, without the spikes of data on a lattice.
        steps: optimiser steps.
        batch_size: points a step, drawn with replacement.
        learning_rate: at the start.
        held_out: share of the points kept for the choice of the weights; 0 keeps the last weights.
        seed: of the split, the weights, the batches and the noise.
        progress: show a progress bar.

    Raises:
        ValueError: on fewer than ten points, less than one step, an axis without spread or a share outside [0, 1).
        FloatingPointError: if the likelihood is not finite at the end.
    """
    n, d = points.shape
    if n < 10 or steps < 1 or not 0 <= held_out < 1:
        raise ValueError(f"{n} points, {steps} steps, held_out {held_out}: must be >= 10, >= 1 and in [0, 1)")
    mean, scale = points.mean(dim=0), points.std(dim=0)
    if not (scale > 0).all():
        raise ValueError(f"axis {int(scale.argmin())} has no spread: leave it out")
    standard = (points - mean) / scale
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(n, generator=generator)
    test, train = standard[order[: int(held_out * n)]], standard[order[int(held_out * n) :]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = zuko.flows.NSF(
            d, transforms=transforms, bins=bins, hidden_features=tuple(hidden), randperm=True
        )
    flow = flow.to(points.dtype)
    optimiser = torch.optim.Adam(flow.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, kept, every = -math.inf, copy.deepcopy(flow.state_dict()), max(1, steps // 20)
    fixed = noise * torch.randn(test.shape, generator=generator, dtype=points.dtype)
    for step in tqdm(range(1, steps + 1), desc="flow", disable=not progress):
        rows = torch.randint(len(train), (batch_size,), generator=generator)
        batch = train[rows] + noise * torch.randn((batch_size, d), generator=generator, dtype=points.dtype)
        loss = -flow().log_prob(batch).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        if len(test) and (step % every == 0 or step == steps):
            with torch.no_grad():
                score = flow().log_prob(test + fixed).mean().item()
            if score > best:
                best, kept = score, copy.deepcopy(flow.state_dict())
    if not math.isfinite(loss.item()):
        raise FloatingPointError(f"the likelihood of the flow became {loss.item()} within {steps} steps")
    if len(test):
        flow.load_state_dict(kept)
    flow.eval().requires_grad_(False)
    shift = scale.log().sum().item()
    return FlowDensity(flow, mean, scale, best - shift if len(test) else math.nan)
