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

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, SchedulerMixin, UNet2DModel


class Denoiser(ABC):
    """A model that turns noise into images through a scheduler's steps.

    Args:
        scheduler: the noise schedule and the sampler's rule for a step.
        latent_shape: (channels, height, width) of one latent.
        image_shape: (height, width, channels) of one image.
        steps: steps of the sampler.
        eta: 0 for a deterministic DDIM sampler, 1 for the variance of DDPM.

    Raises:
        ValueError: on a step count that the schedule does not have, ``eta`` outside [0, 1], or a positive
            ``eta`` for a scheduler that has none.
    """

    def __init__(
        self,
        scheduler: SchedulerMixin,
        *,
        latent_shape: tuple[int, int, int],
        image_shape: tuple[int, int, int],
        steps: int,
        eta: float = 0.0,
    ) -> None:
        trained = scheduler.config.num_train_timesteps
        if not 1 <= steps <= trained:
            raise ValueError(f"steps is {steps}, must be between 1 and the schedule's {trained}")
        if not 0 <= eta <= 1:
            raise ValueError(f"eta is {eta}, must be between 0 and 1")
        if eta > 0 and "eta" not in inspect.signature(scheduler.step).parameters:
            raise ValueError(f"eta is {eta}, must be 0 for {type(scheduler).__name__}, whose steps have none")
        self.scheduler = scheduler
        self.latent_shape, self.image_shape = tuple(latent_shape), tuple(image_shape)
        self.steps, self.eta = steps, eta

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
    ) -> Float[Tensor, "n c h w"]:
        """Run all steps from standard normal latents to clean ones.

        Args:
            latents: one a sample, on any device.
            noise: a generator for each sample, for a sampler that draws noise.
            scheduler: to use in place of the denoiser's own.
        """

    @abstractmethod
    def decode(self, latents: Float[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n height width channels"]:
        """Pixels of clean latents, ``round(255 clip(x / 2 + 1/2, 0, 1))``."""

    @abstractmethod
    def encode(self, images: UInt8[np.ndarray, "n height width channels"]) -> Float[Tensor, "n c h w"]:
        """Clean latents of images, the inverse of ``decode`` as far as the model has one."""


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
        image_shape: (height, width, channels).
        steps: as in ``Denoiser``.
        eta: as in ``Denoiser``.
    """

    def __init__(
        self,
        unet: UNet2DModel,
        scheduler: SchedulerMixin,
        *,
        image_shape: tuple[int, int, int],
        steps: int,
        eta: float = 0.0,
    ) -> None:
        height, width, channels = image_shape
        super().__init__(
            scheduler, latent_shape=(channels, height, width), image_shape=image_shape, steps=steps, eta=eta
        )
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


class TextToImageDenoiser(Denoiser):
    """A text-to-image pipeline of ``diffusers`` with one prompt, called with latents of our own.

    The prompts are encoded once and the text encoders let go; the pipeline's own loop then runs every batch,
    so that its latents are those of the stock call. Images are decoded a few at a time.

    Args:
        pipeline: a loaded Stable Diffusion 1, 2, XL, 3 or Flux pipeline.
        latent_shape: as in ``Denoiser``; of Flux before packing.
        image_shape: as in ``Denoiser``.
        steps: as in ``Denoiser``.
        eta: as in ``Denoiser``.
        prompt: what to draw.
        negative_prompt: what classifier-free guidance leads away from.
        guidance: scale of classifier-free guidance, none at 1 or less; of Flux the scale that the network
            itself takes.
        decode_batch_size: images that the autoencoder decodes at once.

    Raises:
        ValueError: also on a negative prompt for Flux, which has no classifier-free guidance.
    """

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        *,
        latent_shape: tuple[int, int, int],
        image_shape: tuple[int, int, int],
        steps: int,
        eta: float = 0.0,
        prompt: str = "",
        negative_prompt: str = "",
        guidance: float = 1.0,
        decode_batch_size: int = 8,
    ) -> None:
        super().__init__(
            pipeline.scheduler, latent_shape=latent_shape, image_shape=image_shape, steps=steps, eta=eta
        )
        self.pipeline, self.guidance, self.decode_batch_size = pipeline, guidance, decode_batch_size
        self.packed = type(pipeline).__name__ == "FluxPipeline"
        if self.packed and negative_prompt:
            raise ValueError(
                f"negative_prompt is {negative_prompt!r}, must be empty: the guidance of Flux has none"
            )
        self.conditions = encode_prompts(pipeline, prompt, negative_prompt, guidance)
        for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
            if hasattr(pipeline, name):
                setattr(pipeline, name, None)
        if self.dtype == torch.float16 and getattr(pipeline.vae.config, "force_upcast", False):
            pipeline.vae.to(torch.float32)  # this autoencoder overflows in half precision

    @property
    def network(self) -> torch.nn.Module:
        """See ``Denoiser``."""
        return getattr(self.pipeline, "unet", None) or self.pipeline.transformer

    @torch.inference_mode()
    def denoise(
        self,
        latents: Float[Tensor, "n c h w"],
        *,
        noise: Sequence[torch.Generator] | None = None,
        scheduler: Any = None,
    ) -> Float[Tensor, "n c h w"]:
        """See ``Denoiser``."""
        x = latents.to(self.device, self.dtype)
        n, (_, height, width) = len(x), self.latent_shape
        if self.packed:
            x = self.pipeline._pack_latents(x, n, self.latent_shape[0], height, width)
        options: dict[str, Any] = {
            name: value.expand(n, *value.shape[1:]) for name, value in self.conditions.items()
        }
        if "eta" in inspect.signature(self.pipeline.__call__).parameters:
            options["eta"] = self.eta
        own = self.pipeline.scheduler
        self.pipeline.scheduler = scheduler or own
        try:
            x = self.pipeline(
                height=self.image_shape[0],
                width=self.image_shape[1],
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                generator=None if noise is None else list(noise),
                latents=x,
                output_type="latent",
                return_dict=False,
                **options,
            )[0]
        finally:
            self.pipeline.scheduler = own
        if self.packed:
            scale = self.pipeline.vae_scale_factor
            x = self.pipeline._unpack_latents(x, self.image_shape[0], self.image_shape[1], scale)
        return x

    def _affine(self, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Mean and standard deviation of the autoencoder's latents before they are scaled to unit variance."""
        config = self.pipeline.vae.config
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        if mean is not None and std is not None:
            shape = (1, -1, 1, 1)
            return like.new_tensor(mean).view(shape), like.new_tensor(std).view(shape) / config.scaling_factor
        return getattr(config, "shift_factor", None) or 0.0, 1 / config.scaling_factor

    @torch.inference_mode()
    def decode(self, latents: Float[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n height width channels"]:
        """See ``Denoiser``."""
        vae = self.pipeline.vae
        x = latents.to(vae.device, vae.dtype)
        mean, std = self._affine(x)
        slices = (x * std + mean).split(self.decode_batch_size)
        return np.concatenate([to_pixels(vae.decode(part, return_dict=False)[0]) for part in slices])

    @torch.inference_mode()
    def encode(self, images: UInt8[np.ndarray, "n height width channels"]) -> Float[Tensor, "n c h w"]:
        """See ``Denoiser``; the mean of the autoencoder's posterior."""
        vae = self.pipeline.vae
        slices = from_pixels(images).to(vae.device, vae.dtype).split(self.decode_batch_size)
        x = torch.cat([vae.encode(part).latent_dist.mean for part in slices])
        mean, std = self._affine(x)
        return ((x - mean) / std).to(self.dtype)


@torch.inference_mode()
def encode_prompts(
    pipeline: DiffusionPipeline, prompt: str, negative_prompt: str, guidance: float
) -> dict[str, Tensor]:
    """The arguments of a pipeline's call that carry its prompts, each with a leading axis of one.

    An empty negative prompt is none, so that a pipeline does with it what it does by itself (Stable Diffusion
    XL sets its embedding to zero).
    """
    device = pipeline.device
    if type(pipeline).__name__ == "FluxPipeline":
        embeds, pooled, _ = pipeline.encode_prompt(prompt=prompt, prompt_2=None, device=device)
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
    known = inspect.signature(pipeline.encode_prompt).parameters
    more = {name: None for name in ("prompt_2", "prompt_3") if name in known}
    values = pipeline.encode_prompt(
        prompt=prompt,
        device=device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=guidance > 1,
        negative_prompt=negative_prompt or None,
        **more,
    )
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    return {name: value for name, value in zip(names, values, strict=False) if value is not None}
