"""Latents of given images: the sampler of a diffusion model, run backwards step by step."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hessgeo.systems.diffusion.denoisers import Denoiser

INVERTIBLE = ("DDIMScheduler", "FlowMatchEulerDiscreteScheduler")
TRUST = 0.5  # distance from the explicit iterate that further ones may go, in lengths of its own step
TYPICAL = 1.25  # largest root mean square of a latent that still passes for noise
MEMORY = 3  # earlier iterates that an accelerated one is built from


@dataclass(frozen=True)
class Inversion:
    """Latents of images, with how well they bring the images back.

    Attributes:
        latents: float32, as ``Denoiser.denoise`` takes them.
        reconstruction: the images made from these latents.
        residual: root mean square by which the worst step misses the latent it should lead to, per image.
        error: mean squared difference of image and reconstruction over the variance of the image's pixels.
        floor: the same for the autoencoder alone, which no latent can undercut by much.
        radius: root mean square of each latent; one for typical noise.
    """

    latents: Float[np.ndarray, "n c h w"]
    reconstruction: UInt8[np.ndarray, "n height width channels"]
    residual: Float[np.ndarray, "n"]
    error: Float[np.ndarray, "n"]
    floor: Float[np.ndarray, "n"]
    radius: Float[np.ndarray, "n"]


class InverseScheduler:
    """A scheduler that leads from a clean latent back to the noise a deterministic sampler made it from.

    A step of the sampler maps ``x_k`` to ``x_{k+1} = S_k(x_k, m(x_k, t_k))`` with ``m`` the model, and for a
    fixed output of the model is affine in ``x`` with slope ``A_k`` (where it clips nothing). For each level,
    from the last to the first, ``x <- x - (S_k(x, m(x, t_k)) - x_{k+1}) / A_k`` is iterated from
    ``x_{k+1}``. Its first iterate is DDIM inversion as usually done (Song et al. 2021); the further ones
    make it exact where they converge. They are Anderson-accelerated, and the iterate of least residual
    stands.

    It is used in place of a pipeline's own scheduler, so that conditioning and guidance are the pipeline's.

    Args:
        scheduler: the sampler's, DDIM or flow-matching Euler.
        iterations: evaluations of the model at each level.
        clip: whether steps clip as the sampler's do, or are inverted as if they did not. Where a step clips, its
            inverse may run away from the noise that the model knows.

    Raises:
        ValueError: on a scheduler whose steps cannot be inverted, or less than one iteration.
    """

    order = 1
    init_noise_sigma = 1.0

    def __init__(self, scheduler: Any, iterations: int, *, clip: bool = True) -> None:
        name = type(scheduler).__name__
        if name not in INVERTIBLE:
            raise ValueError(f"scheduler {name} cannot be inverted, must be one of {', '.join(INVERTIBLE)}")
        if name == "FlowMatchEulerDiscreteScheduler" and scheduler.config.get("stochastic_sampling"):
            raise ValueError(f"scheduler {name} draws noise (stochastic_sampling), so it cannot be inverted")
        if iterations < 1:
            raise ValueError(f"iterations is {iterations}, must be at least 1")
        self.forward, self.iterations = copy.deepcopy(scheduler), iterations
        if not clip:
            self.forward.register_to_config(clip_sample=False)
        self.config = scheduler.config

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        """Lay out the levels from the last to the first, each as often as it is iterated."""
        given = {"num_inference_steps": num_inference_steps, "device": device, "sigmas": sigmas, "mu": mu}
        self.forward.set_timesteps(**{name: value for name, value in given.items() if value is not None})
        levels = self.forward.timesteps
        self.timesteps = levels.flip(0).repeat_interleave(self.iterations)
        self.calls = 0
        self.level: _Level | None = None
        self.residual: Tensor | None = None

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Nothing to do: the levels are counted by the calls of ``step``."""

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """The model's input at a level."""
        return sample

    def _forward(self, level: int, output: Tensor, x: Tensor) -> Tensor:
        if hasattr(self.forward, "_step_index"):
            self.forward._step_index = level
        return self.forward.step(output, self.forward.timesteps[level], x, return_dict=False)[0]

    def _slope(self, level: int, like: Tensor) -> float:
        """``A_k``, from a step too short for any clipping."""
        zero, small = torch.zeros_like(like[:1]), torch.full_like(like[:1], 1e-3)
        step = self._forward(level, zero, small) - self._forward(level, zero, zero)
        return float(step.mean() / small.mean())

    def step(
        self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool = False
    ) -> tuple[Tensor]:
        """Improve the estimate of the latent at the present level, and at the end of it go on to the next."""
        turn, iteration = divmod(self.calls, self.iterations)
        number = len(self.forward.timesteps) - 1 - turn
        if self.level is None or self.residual is None:
            # Kept in float32 whatever the model's precision: a level's correction is far below its latent.
            target = sample.float()
            self.residual = target.new_zeros(len(target))
            self.level = _Level(target, self._slope(number, target))
        level = self.level
        level.improve(self._forward(number, model_output.float(), level.estimate))
        self.calls += 1
        estimate = level.estimate
        if iteration == self.iterations - 1:
            estimate = level.best if self.iterations > 1 else level.estimate
            self.residual = torch.maximum(self.residual, level.least)
            if number > 0:
                self.level = _Level(estimate, self._slope(number - 1, estimate))
        return (estimate.to(sample.dtype),)


class _Level:
    """Solve ``S(x) = target`` for one step ``S``, a batch of latents at once.

    An iterate that comes no closer than the best one is dropped: the next is the best with half the step. None goes
    farther than ``TRUST`` from the first, the explicit one: steps are short, and where a step clips, many latents lead
    to the same image, the farther of which no noise would be.

    Args:
        target: the latent after the step.
        slope: ``A``, the derivative of the step by its latent at a fixed output of the model.
    """

    def __init__(self, target: Tensor, slope: float) -> None:
        self.target, self.slope = target, slope
        self.estimate = self.best = target
        self.correction = torch.zeros_like(target)
        self.least = target.new_full((len(target),), torch.inf)
        self.damping = torch.ones_like(self.least)
        self.past: list[tuple[Tensor, Tensor]] = []
        self.explicit: Tensor | None = None

    def improve(self, stepped: Tensor) -> None:
        """Take in ``S(estimate)`` and move the estimate."""
        miss = stepped - self.target
        size = miss.flatten(1).square().mean(1).sqrt()
        better = size < self.least
        whole = better.view(-1, *(1,) * (miss.ndim - 1))
        self.best = torch.where(whole, self.estimate, self.best)
        self.correction = torch.where(whole, -miss / self.slope, self.correction)
        self.least = torch.where(better, size, self.least)
        self.damping = torch.where(better, 1.0, self.damping / 2)
        # Where no progress was made the history holds the best iterate again, which mixes to nothing new.
        self.past = [*self.past, (self.best, self.correction)][-MEMORY - 1 :]
        damped = self.best + self.damping.view(whole.shape) * self.correction
        estimate = torch.where(whole, _accelerated(self.past), damped)
        self.explicit = estimate if self.explicit is None else self.explicit
        self.estimate = self._trusted(estimate, self.explicit)

    def _trusted(self, x: Tensor, explicit: Tensor) -> Tensor:
        move, step = x - explicit, explicit - self.target
        length, most = (v.flatten(1).norm(dim=1) for v in (move, step))
        share = (TRUST * most / length.clamp(min=torch.finfo(x.dtype).tiny)).clamp(max=1)
        return explicit + share.view(-1, *(1,) * (x.ndim - 1)) * move


def _accelerated(past: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The next iterate of ``x <- x + f(x)`` from pairs ``(x, f)`` (Anderson's mixing, type II), each sample alone."""
    x, f = (torch.stack([pair[part].flatten(1) for pair in past], dim=-1) for part in (0, 1))
    shape = past[-1][0].shape
    if len(past) == 1:
        return (x + f)[..., 0].view(shape)
    dx, df = x.diff(dim=-1), f.diff(dim=-1)
    gram = (df.mT @ df).double()
    # A ridge far below any difference that counts; once the residuals are rounding it makes this a plain step.
    ridge = 1e-8 * gram.diagonal(dim1=1, dim2=2).sum(1) + torch.finfo(torch.float32).tiny
    gram = gram + torch.diag_embed(ridge[:, None].expand(-1, gram.shape[1]))
    weight = torch.linalg.solve(gram, (df.mT @ f[..., -1:]).double()).to(x)
    return (x[..., -1:] + f[..., -1:] - (dx + df) @ weight)[..., 0].view(shape)


def invert(
    denoiser: Denoiser, images: UInt8[np.ndarray, "n height width channels"], *, iterations: int = 10
) -> Inversion:
    """Find the latents from which a deterministic sampler makes given images.

    Several are found for each image and tried: by the explicit inverse, by the iterated one, and for a sampler that
    clips by the iterated inverse of the one that does not. The one that brings the image back best stands, but
    before all others one whose norm is that of noise (``TYPICAL``): far from it, a latent may lead to the image
    and still lie where the model knows nothing.

    Args:
        denoiser: the model, with the steps, prompt and guidance that the images are to be made with.
        images: of the model's own size.
        iterations: evaluations of the model at each step; 1 is DDIM inversion as usually done.

    Raises:
        ValueError: on images of another size, a sampler that draws noise (``eta > 0``) or cannot be inverted.
        FloatingPointError: if no latent of an image is finite.
    """
    if images.shape[1:] != denoiser.image_shape:
        raise ValueError(f"images have shape {images.shape[1:]}, the model makes {denoiser.image_shape}")
    if denoiser.eta > 0:
        raise ValueError(f"eta is {denoiser.eta}, must be 0: a sampler that draws noise has no inverse")
    clean = denoiser.encode(images)
    ways = [(count, True) for count in dict.fromkeys((1, iterations))]
    if denoiser.scheduler.config.get("clip_sample"):
        ways.append((iterations, False))
    tries = [_attempt(denoiser, images, clean, *way) for way in ways]
    errors = np.stack([np.where(np.isfinite(attempt.error), attempt.error, np.inf) for attempt in tries])
    penalty = np.stack([np.where(attempt.radius <= TYPICAL, 0.0, attempt.radius) for attempt in tries])
    choice = np.lexsort((errors, penalty), axis=0)[0]
    rows = np.arange(len(images))
    fields = (
        np.stack([getattr(attempt, field.name) for attempt in tries])[choice, rows]
        for field in dataclass_fields(Inversion)
    )
    chosen = Inversion(*fields)
    if not np.isfinite(chosen.latents).all():
        raise FloatingPointError(f"inversion in {denoiser.steps} steps gave latents that are not finite")
    return chosen


def _attempt(
    denoiser: Denoiser,
    images: UInt8[np.ndarray, "n height width channels"],
    clean: Tensor,
    iterations: int,
    clip: bool,
) -> Inversion:
    backwards = InverseScheduler(denoiser.scheduler, iterations, clip=clip)
    # Flow matching starts from unit noise, and does not say so.
    scale = float(getattr(denoiser.scheduler, "init_noise_sigma", 1.0))
    noisy = denoiser.denoise(clean, scheduler=backwards).float() / scale
    finite = torch.isfinite(noisy).flatten(1).all(1)
    reconstruction = denoiser.decode(denoiser.denoise(torch.where(finite.view(-1, 1, 1, 1), noisy, 0.0)))
    residual = backwards.residual
    assert residual is not None  # the sampler has at least one step
    radius = noisy.flatten(1).square().mean(1).sqrt()
    return Inversion(
        latents=noisy.cpu().numpy(),
        reconstruction=reconstruction,
        residual=residual.cpu().numpy(),
        error=np.where(finite.cpu().numpy(), reconstruction_error(images, reconstruction), np.inf),
        floor=reconstruction_error(images, denoiser.decode(clean)),
        radius=torch.where(torch.isfinite(radius), radius, torch.inf).cpu().numpy(),
    )


def reconstruction_error(
    images: UInt8[np.ndarray, "n *image"], others: UInt8[np.ndarray, "n *image"]
) -> Float[np.ndarray, "n"]:
    """Mean squared difference of pixels over the variance of each image's pixels; NaN for a flat image."""
    a, b = (np.asarray(x, dtype=float).reshape(len(x), -1) for x in (images, others))
    variance = a.var(axis=1)
    return np.divide(((a - b) ** 2).mean(axis=1), variance, out=np.full(len(a), np.nan), where=variance > 0)
