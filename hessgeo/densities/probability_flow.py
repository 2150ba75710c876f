"""The likelihood of a diffusion model, by the ordinary differential equation of its probability flow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from hessgeo.densities.base import Density

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

# (points x (batch, d), angle) -> velocity (batch, d)
Velocity = Callable[[Float[Tensor, "batch d"], float], Float[Tensor, "batch d"]]


class ProbabilityFlowDensity(Density):
    """The density of a variance-preserving diffusion model at a small noise level.

    With ``x_a = cos(a) x_0 + sin(a) noise`` the probability flow (Song et al. 2021) is, in the angle ``a``,

        dx / da = v(x, a),    v = E[cos(a) noise - sin(a) x_0 | x_a = x],

    the velocity that a v-prediction network is trained for, so that

        log p_a0(x) = log N(x(a_1); 0, I) + int_{a_0}^{a_1} div v(x(a), a) da.

    Solved by Runge-Kutta steps of fourth order, even in ``u = log tan(a / 2)``: where pixels hardly vary, ``v`` is
    ``cot(a) x``, and ``dx / du = sin(a) v`` is smooth down to small angles. Where data lie on a surface, or on 17 grey
    levels, the density at ``a_0 -> 0`` does not exist: that of ``x_0 + tan(a_0) noise`` does, which is what
    ``log_prob`` returns, at points on the scale of ``x_0``.

    Args:
        velocity: ``v`` on flat points.
        dimension: of a point.
        start: ``a_0``, radians; the width of the smoothing is ``tan(a_0)`` on the scale of the data.
        stop: ``a_1``, at which the model is taken for standard normal: at most a right angle, and at most the
            ``last_angle`` of a velocity that has one, as those of networks of the noise (``network_velocity``); None
            for the largest allowed.
        steps: Runge-Kutta steps, four evaluations each.
        probes: random vectors ``e`` of signs in Hutchinson's estimate ``mean e . J e`` of the divergence, the same
            for all points and steps, so that differences between points are not noise; None for the exact trace.
        seed: of the probes.
        batch_size: rows that the network sees at once; a point takes as many as there are probes.

    Raises:
        ValueError: on angles that do not rise from 0 to the last that is allowed, or a count below one.
    """

    def __init__(
        self,
        velocity: Velocity,
        *,
        dimension: int,
        start: float,
        stop: float | None = None,
        steps: int = 12,
        probes: int | None = None,
        seed: int = 0,
        batch_size: int = 4096,
    ) -> None:
        last = getattr(velocity, "last_angle", math.pi / 2)
        stop = last if stop is None else stop
        if not 0 < start < stop <= last:
            limit = "a right angle" if last == math.pi / 2 else f"the last of the network's schedule, {last}"
            raise ValueError(f"the angles {start} and {stop} must rise between 0 and {limit}")
        if min(steps, batch_size, 1 if probes is None else probes) < 1:
            raise ValueError(f"steps {steps}, probes {probes} and batch_size {batch_size} must be at least 1")
        self.velocity, self.dimension = velocity, dimension
        self.start, self.stop, self.steps, self.batch_size = start, stop, steps, batch_size
        if probes is None:
            # The mean over the axes, scaled to their sum: the same formula gives the exact trace.
            self.probes = math.sqrt(dimension) * torch.eye(dimension, dtype=torch.float64)
        else:
            generator = torch.Generator().manual_seed(seed)
            signs = torch.randint(2, (probes, dimension), generator=generator)
            self.probes = 2.0 * signs.double() - 1

    def _rates(self, x: Float[Tensor, "n d"], u: float) -> tuple[Tensor, Tensor]:
        """``dx / du`` and its divergence at each point; differentiable where the points are."""
        angle = 2 * math.atan(math.exp(u))
        outer = torch.is_grad_enabled() and x.requires_grad
        k = len(self.probes)
        with torch.enable_grad():
            repeated = x.repeat_interleave(k, dim=0)
            repeated = repeated if outer else repeated.detach().requires_grad_(True)
            probes = self.probes.to(x).repeat(len(x), 1)
            velocity = math.sin(angle) * self.velocity(repeated, angle)
            (product,) = torch.autograd.grad((velocity * probes).sum(), repeated, create_graph=outer)
            divergence = (product * probes).sum(dim=1).reshape(len(x), k).mean(dim=1)
        velocity = velocity[::k]
        return (velocity, divergence) if outer else (velocity.detach(), divergence.detach())

    def _integrate(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """``log p`` of the noisy variable at the start."""
        low, high = (math.log(math.tan(angle / 2)) for angle in (self.start, self.stop))
        h = (high - low) / self.steps
        total = x.new_zeros(len(x))
        for step in range(self.steps):
            u = low + step * h
            v1, d1 = self._rates(x, u)
            v2, d2 = self._rates(x + h / 2 * v1, u + h / 2)
            v3, d3 = self._rates(x + h / 2 * v2, u + h / 2)
            v4, d4 = self._rates(x + h * v3, u + h)
            x = x + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
            total = total + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
        normal = -x.square().sum(dim=1) / 2 - self.dimension / 2 * math.log(2 * math.pi)
        return normal + total

    def log_prob(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """``log p`` of ``x_0 + tan(a_0) noise`` in nats, with Hutchinson's error if there are probes."""
        rows = max(1, self.batch_size // len(self.probes))
        # The fused kernels of attention have no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            flat = math.cos(self.start) * x.reshape(-1, self.dimension)
            parts = [self._integrate(block) for block in flat.split(rows)]
        return torch.cat(parts).reshape(x.shape[:-1]) + self.dimension * math.log(math.cos(self.start))

    @torch.no_grad()
    def model_score(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The network's own score at the start, from one evaluation.

        ``grad log p_a = -E[noise | x] / sin(a)`` and ``E[noise | x] = sin(a) x + cos(a) v``. For a perfect network
        it is the gradient of ``log_prob``; for others the two differ, and only ``score`` is consistent with it.
        """
        noisy = math.cos(self.start) * x.reshape(-1, self.dimension)
        parts = [self.velocity(block, self.start) for block in noisy.split(self.batch_size)]
        noise = math.sin(self.start) * noisy + math.cos(self.start) * torch.cat(parts)
        # The chain rule of the scaling by the cosine.
        return (-math.cos(self.start) / math.sin(self.start) * noise).reshape(x.shape)


def scheduler_angles(scheduler: SchedulerMixin) -> Float[np.ndarray, "times"]:
    """The angle ``arccos sqrt(abar_t)`` of each time that a schedule was trained at, rising."""
    return np.arccos(np.sqrt(scheduler.alphas_cumprod.double().cpu().numpy()))


class NetworkVelocity:
    """The velocity of a denoising network in flat coordinates, made by ``network_velocity``.

    Attributes:
        last_angle: to which it is known. A network of the velocity is followed to the right angle, beyond the last time
            of its schedule as at that time; for one of the noise ``v`` has ``cos(a)`` in the denominator, and what the
            network leaves of the noise there is divided by zero at the right angle: it ends with the schedule.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        angles: Float[np.ndarray, "times"],
        kind: str,
        shape: tuple[int, int, int],
    ) -> None:
        self.network, self.angles, self.kind, self.shape = network, angles, kind, shape
        self.last_angle = math.pi / 2 if kind == "v_prediction" else float(angles[-1])
        self.dtype = next(network.parameters()).dtype

    def __call__(self, x: Float[Tensor, "batch d"], angle: float) -> Float[Tensor, "batch d"]:
        """The velocity at points and an angle."""
        # Between the times of the schedule the network interpolates: its time is a sum of sines.
        time = float(np.interp(angle, self.angles, np.arange(len(self.angles))))
        times = torch.full((len(x),), time, dtype=self.dtype, device=x.device)
        output = self.network(x.reshape(-1, *self.shape).to(self.dtype), times).sample
        output = output.reshape(x.shape).to(x.dtype)
        if self.kind == "v_prediction":
            return output
        # v = cos(a) noise - sin(a) x_0 with x = cos(a) x_0 + sin(a) noise.
        return (output - math.sin(angle) * x) / math.cos(angle)


def network_velocity(
    network: torch.nn.Module, scheduler: SchedulerMixin, shape: tuple[int, int, int]
) -> NetworkVelocity:
    """The velocity of a denoising network of ``diffusers`` in flat coordinates.

    Args:
        network: ``(images, times) -> prediction`` of the velocity, or of the noise.
        scheduler: its noise schedule, variance preserving.
        shape: (channels, height, width) of an image.

    Raises:
        ValueError: if the network predicts something else, or the noise at a last angle that is a right one.
    """
    kind = scheduler.config.prediction_type
    if kind not in ("v_prediction", "epsilon"):
        raise ValueError(f"prediction_type is {kind!r}, must be v_prediction or epsilon")
    angles = scheduler_angles(scheduler)
    if kind == "epsilon" and not angles[-1] < math.pi / 2:
        raise ValueError("the schedule ends in pure noise, where a network of the noise has no velocity")
    return NetworkVelocity(network, angles, kind, shape)
