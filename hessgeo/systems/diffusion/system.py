"""A diffusion or flow-matching model on a slice of its latent space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from hessgeo.systems.diffusion.checkpoints import Checkpoint
from hessgeo.systems.diffusion.denoisers import Denoiser, UnconditionalDenoiser, sample_generators
from hessgeo.systems.diffusion.guidance import guidance_errors, guidance_kind
from hessgeo.systems.diffusion.merging import VariedLora, lora_changes
from hessgeo.systems.diffusion.sampler import Sampler
from hessgeo.systems.diffusion.text_to_image import TextToImageDenoiser
from hessgeo.systems.sliced import Conditions, SlicedSystem
from hessgeo.systems.slices import LatentSlice

# What an unconditional model cannot take.
NEUTRAL = {"prompt": "", "negative_prompt": "", "guidance": 1.0}


class DiffusionSystem(SlicedSystem):
    """Samples of a diffusion model, started from the latents of a slice.

    At ``eta = 0`` the image is a deterministic function of the latent; at ``eta > 0`` each step adds noise, drawn
    for sample ``i`` from ``(seed, i)`` alone.

    Args:
        denoiser: the model and its sampler.
        latent_slice: as in ``SlicedSystem``.
        batch_size: as in ``SlicedSystem``.

    Raises:
        ValueError: also on a latent slice of another shape than the model's latents.
    """

    scheduler: Any = None  # in place of the denoiser's own

    def __init__(self, denoiser: Denoiser, latent_slice: LatentSlice, *, batch_size: int) -> None:
        if latent_slice.latent_shape != denoiser.latent_shape:
            raise ValueError(
                f"the latent slice has shape {latent_slice.latent_shape}, "
                f"the network takes {denoiser.latent_shape}"
            )
        self.denoiser = denoiser
        self.varied, self.shared = denoiser.varied, denoiser.shared
        super().__init__(latent_slice, denoiser.image_shape, batch_size=batch_size)

    def trial(self, batch_size: int) -> None:
        """Run one step and the decoding of a batch: all the memory that a whole one takes."""
        steps = self.denoiser.steps
        self.denoiser.steps = 1
        try:
            super().trial(batch_size)
        finally:
            self.denoiser.steps = steps

    @torch.inference_mode()
    def generate(
        self,
        latents: Float[np.ndarray, "n c h w"],
        index: Int[np.ndarray, "n"],
        seed: int,
        conditions: Conditions,
    ) -> UInt8[np.ndarray, "n h w c"]:
        """See ``SlicedSystem``."""
        options: dict[str, Any] = {"noise": sample_generators(index, seed), "conditions": conditions}
        clean = self.denoiser.denoise(torch.from_numpy(latents), scheduler=self.scheduler, **options)
        return self.denoiser.decode(clean)


def load_denoiser(
    checkpoint: Checkpoint, *, device: str = "cpu", varied: Mapping[str, Any] | None = None, **settings: Any
) -> Denoiser:
    """Load a model from local files; nothing is ever downloaded, and pickled weights are refused.

    Args:
        checkpoint: the model, as ``describe_checkpoint`` found it.
        device: where to run.
        varied: conditions that differ from image to image: ``guidance`` (None), ``prompt`` (the prompt at one, that of
            the settings at zero), ``lora`` (a file, whose weight the condition is).
        settings: of its ``Sampler``.

    Raises:
        ValueError: on files that do not fit, on a prompt, guidance or condition for a model without, and what
            ``Denoiser`` refuses.
    """
    from hessgeo.systems.diffusion.pipelines import load_pipeline

    sampler, varied = Sampler(**settings), varied or {}
    _check_prompt(checkpoint, sampler, varied)
    pipeline = load_pipeline(checkpoint, sampler, device=device)
    image_shape = checkpoint.image_shape
    if checkpoint.family == "unconditional":
        return UnconditionalDenoiser(pipeline.unet, pipeline.scheduler, sampler, image_shape=image_shape)
    if "lora" in varied:
        varied = {**varied, "lora": VariedLora(lora_changes(pipeline, checkpoint, varied["lora"]))}
    shapes = {"latent_shape": checkpoint.latent_shape, "image_shape": image_shape}
    return TextToImageDenoiser(pipeline, sampler, varied, **shapes)


def _check_prompt(checkpoint: Checkpoint, sampler: Sampler, varied: Mapping[str, Any]) -> None:
    """Refuse a prompt, guidance or condition that a model does not take."""
    said = {key: getattr(sampler, key) for key in NEUTRAL}
    if checkpoint.family == "unconditional":
        for key, neutral in NEUTRAL.items():
            if said[key] != neutral:
                allowed = f"{neutral!r}: {checkpoint.path} is an unconditional model"
                raise ValueError(f"{key} is {said[key]!r}, must be {allowed}")
        if varied:
            raise ValueError(f"{checkpoint.path} is an unconditional model, which no {min(varied)} changes")
        return
    kind = guidance_kind(checkpoint.pipeline, checkpoint.configuration(checkpoint.network))
    if kind == "none" and "guidance" in varied:
        raise ValueError(f"{checkpoint.path} is a model without guidance, which no guidance changes")
    for key, allowed in guidance_errors(kind, said) if kind != "free" else ():
        raise ValueError(f"{key} is {said[key]!r}, must be {allowed}")
