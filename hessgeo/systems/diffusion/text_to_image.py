"""Text-to-image pipelines of ``diffusers``, called with latents of our own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hessgeo.systems.diffusion.denoisers import NO_CONDITIONS, Denoiser, from_pixels, to_pixels
from hessgeo.systems.diffusion.guidance import guidance_kind, guided_below_one
from hessgeo.systems.diffusion.prompt_encoding import TO, encode_prompts
from hessgeo.systems.diffusion.sampler import Sampler
from hessgeo.systems.sliced import Conditions

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


class TextToImageDenoiser(Denoiser):
    """A text-to-image pipeline of ``diffusers`` with one prompt, called with latents of our own.

    The prompts are encoded once and the text encoders let go; the pipeline's own loop then runs every batch,
    so that its latents are those of the stock call. Images are decoded a few at a time.

    Args:
        pipeline: a loaded Stable Diffusion 1, 2, XL, 3 or Flux pipeline.
        sampler: as in ``Denoiser``, with the prompt and its guidance.
        varied: the conditions that differ from image to image: ``guidance`` (None), its scale; ``prompt`` (a text), a
            share ``u`` of the way from the prompt to another, of whose embeddings the network is given
            ``(1 - u) c + u c'``; ``lora`` (a ``VariedLora``), its weight.
        latent_shape: as in ``Denoiser``; of Flux before packing.
        image_shape: as in ``Denoiser``.

    Raises:
        ValueError: also on prompts as ``encode_prompts``.
    """

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        sampler: Sampler,
        varied: Mapping[str, Any] = NO_CONDITIONS,
        *,
        latent_shape: tuple[int, int, int],
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__(pipeline.scheduler, sampler, latent_shape=latent_shape, image_shape=image_shape)
        pipeline.scheduler = self.scheduler
        pipeline.__class__ = guided_below_one(type(pipeline))
        self.pipeline, self.guidance = pipeline, sampler.guidance
        self.decode_batch_size = sampler.decode_batch_size
        self.packed = type(pipeline).__name__ == "FluxPipeline"
        network: Any = self.network
        kind = guidance_kind(type(pipeline).__name__, network.config)
        guided = kind == "free" and (self.guidance != 1 or "guidance" in varied)
        self.varied, self.lora = frozenset(varied), varied.get("lora")
        # A network that takes the scale takes one for all; the weight of a LoRA is merged into it.
        self.shared = frozenset({"lora", "guidance"} if kind == "input" else {"lora"})
        self.conditions = encode_prompts(
            pipeline,
            sampler.prompt,
            sampler.negative_prompt,
            guided=guided,
            clip_skip=sampler.clip_skip or 0,
            to=varied.get("prompt"),
        )
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
        conditions: Conditions = NO_CONDITIONS,
    ) -> Float[Tensor, "n c h w"]:
        """See ``Denoiser``."""
        x = latents.to(self.device, self.dtype)
        n, (_, height, width) = len(x), self.latent_shape
        if self.packed:
            x = self.pipeline._pack_latents(x, n, self.latent_shape[0], height, width)
        if self.lora is not None:
            self.lora.set(float(conditions["lora"][0]) if "lora" in conditions else 0.0)
        options: dict[str, Any] = self._prompts(n, conditions)
        if "eta" in inspect.signature(self.pipeline.__call__).parameters:
            options["eta"] = self.eta
        own = self.pipeline.scheduler
        self.pipeline.scheduler = scheduler or own
        try:
            x = self.pipeline(
                height=self.image_shape[0],
                width=self.image_shape[1],
                num_inference_steps=self.steps,
                guidance_scale=self._scale(x, conditions),
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

    def _prompts(self, n: int, conditions: Conditions) -> dict[str, Tensor]:
        """The arguments of the pipeline's call that carry the prompt of each image."""
        told = {
            name: value.expand(n, *value.shape[1:])
            for name, value in self.conditions.items()
            if not name.startswith(TO)
        }
        if "prompt" in conditions:
            for name, value in told.items():
                if (to := self.conditions.get(TO + name)) is not None:
                    share = to.new_tensor(conditions["prompt"]).view(n, *[1] * (to.ndim - 1))
                    told[name] = (1 - share) * value + share * to
        return told

    def _scale(self, x: Tensor, conditions: Conditions) -> float | Tensor:
        """The scale of guidance: one for all images, or one for each."""
        if "guidance" not in conditions:
            return self.guidance
        if "guidance" in self.shared:
            return float(conditions["guidance"][0])
        return x.new_tensor(conditions["guidance"]).view(-1, 1, 1, 1)

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
