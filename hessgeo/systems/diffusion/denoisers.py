"""What a diffusion or flow-matching model can do: latents to clean latents, latents to pixels, and back."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from hessgeo.systems.diffusion.sampler import Sampler
from hessgeo.systems.diffusion.schedules import even_steps
from hessgeo.systems.sliced import NO_CONDITIONS, Conditions

if TYPE_CHECKING:
    from diffusers import SchedulerMixin, UNet2DModel


class Denoiser(ABC):
    """A model that turns noise into images through a scheduler's steps.

    Args:
        scheduler: the noise schedule and the sampler's rule for a step.
        sampler: how it is followed.
        latent_shape: (channels, height, width) of one latent.
        image_shape: (height, width, channels) of one image.

    Attributes:
        varied: conditions that may differ from image to image.
        shared: those of them that all images of a call have in common.

    Raises:
        ValueError: on a step count that the schedule does not have or whose steps do not meet (``even_steps``),
            a positive ``eta`` or another rule for a
            scheduler that has none.
    """

    def __init__(
        self,
        scheduler: SchedulerMixin,
        sampler: Sampler,
        *,
        latent_shape: tuple[int, int, int],
        image_shape: tuple[int, int, int],
    ) -> None:
        trained, steps, eta = scheduler.config.num_train_timesteps, sampler.steps, sampler.eta
        if not 1 <= steps <= trained:
            raise ValueError(f"steps is {steps}, must be between 1 and the schedule's {trained}")
        if type(scheduler).__name__ == "DDIMScheduler" and (near := even_steps(steps, scheduler.config)):
            raise ValueError(
                f"steps is {steps}, whose steps of DDIM do not meet; those of {near[0]} and {near[1]} do"
            )
        if eta > 0 and "eta" not in inspect.signature(scheduler.step).parameters:
            raise ValueError(f"eta is {eta}, must be 0 for {type(scheduler).__name__}, whose steps have none")
        self.scheduler = _following(scheduler, sampler.eta_rule)
        self.latent_shape, self.image_shape = latent_shape, image_shape
        self.steps, self.eta = steps, eta

    varied: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    @property
    @abstractmethod
    def network(self) -> torch.nn.Module:
        """The network that is called at every step."""

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision that the network runs in."""
        return next(self.network.parameters()).dtype

    @abstractmethod
    def denoise(
        self,
        latents: Float[Tensor, "n c h w"],
        *,
        noise: Sequence[torch.Generator] | None = None,
        scheduler: Any = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Float[Tensor, "n c h w"]:
        """Run all steps from standard normal latents to clean ones.

        Args:
            latents: one a sample, on any device.
            noise: a generator for each sample, for a sampler that draws noise.
            scheduler: to use in place of the denoiser's own.
            conditions: a number for each latent, of some of ``varied``; those in ``shared`` all the same.
        """

    @abstractmethod
    def decode(self, latents: Float[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n height width channels"]:
        """Pixels of clean latents, ``round(255 clip(x / 2 + 1/2, 0, 1))``."""

    @abstractmethod
    def encode(self, images: UInt8[np.ndarray, "n height width channels"]) -> Float[Tensor, "n c h w"]:
        """Clean latents of images, the inverse of ``decode`` as far as the model has one."""


def _following(scheduler: SchedulerMixin, eta_rule: str) -> SchedulerMixin:
    """A DDIM sampler that follows another rule for its noise, or any sampler as it is."""
    if eta_rule == "ddim":
        return scheduler
    if eta_rule != "renewal" or type(scheduler).__name__ != "DDIMScheduler":
        raise ValueError(
            f"eta_rule is {eta_rule!r}, must be ddim, or for DDIMScheduler renewal; the sampler is a "
            f"{type(scheduler).__name__}"
        )
    from hessgeo.systems.diffusion.renewal import RenewalScheduler  # with diffusers, which takes seconds

    return RenewalScheduler.from_config(scheduler.config)


def sample_generators(index: Int[np.ndarray, "n"], seed: int) -> list[torch.Generator]:
    """A generator for each sample, a function of ``(seed, index)`` alone; on the CPU whatever the device."""
    states = (np.random.SeedSequence([seed, int(i)]).generate_state(1, np.uint64)[0] for i in index)
    return [torch.Generator().manual_seed(int(state >> np.uint64(1))) for state in states]


def to_pixels(x: Float[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n h w c"]:
    """Eight-bit pixels of values in [-1, 1].

    Raises:
        FloatingPointError: if a value is not finite.
    """
    if not torch.isfinite(x).all():
        raise FloatingPointError("the model gave values that are not finite; float32 or bfloat16 may help")
    pixels = (x.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def from_pixels(images: UInt8[np.ndarray, "n h w c"]) -> Float[Tensor, "n c h w"]:
    """Values in [-1, 1] of eight-bit pixels."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


class UnconditionalDenoiser(Denoiser):
    """A ``UNet2DModel`` whose latents are its pixels.

    Args:
        unet: the denoising network.
        scheduler: its noise schedule.
        sampler: as in ``Denoiser``.
        image_shape: (height, width, channels).
    """

    def __init__(
        self,
        unet: UNet2DModel,
        scheduler: SchedulerMixin,
        sampler: Sampler,
        *,
        image_shape: tuple[int, int, int],
    ) -> None:
        height, width, channels = image_shape
        super().__init__(scheduler, sampler, latent_shape=(channels, height, width), image_shape=image_shape)
        self.unet = unet

    @property
    def network(self) -> torch.nn.Module:
        """See ``Denoiser``."""
        return self.unet

    @torch.inference_mode()
    def denoise(
        self,
        latents: Float[Tensor, "n c h w"],
        *,
        noise: Sequence[torch.Generator] | None = None,
        scheduler: Any = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Float[Tensor, "n c h w"]:
        """See ``Denoiser``."""
        scheduler = scheduler or self.scheduler
        scheduler.set_timesteps(self.steps)
        known = inspect.signature(scheduler.step).parameters
        offered = {"eta": self.eta, "generator": list(noise) if noise is not None else None}
        options = {name: value for name, value in offered.items() if name in known}
        x = (latents * float(scheduler.init_noise_sigma)).to(self.device, self.dtype)
        for time in scheduler.timesteps:
            output = self.unet(scheduler.scale_model_input(x, time), time, return_dict=False)[0]
            x = scheduler.step(output, time, x, **options, return_dict=False)[0]
        return x

    def decode(self, latents: Float[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n height width channels"]:
        """See ``Denoiser``."""
        return to_pixels(latents)

    def encode(self, images: UInt8[np.ndarray, "n height width channels"]) -> Float[Tensor, "n c h w"]:
        """See ``Denoiser``."""
        return from_pixels(images)
