"""A diffusion or flow-matching model on a slice of its latent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from hessgeo.systems.base import System
from hessgeo.systems.diffusion.checkpoints import Checkpoint
from hessgeo.systems.diffusion.denoisers import Denoiser, UnconditionalDenoiser, sample_generators
from hessgeo.systems.diffusion.guidance import guidance_errors, guidance_kind
from hessgeo.systems.diffusion.text_to_image import TextToImageDenoiser
from hessgeo.systems.slices import LatentSlice


class DiffusionSystem(System):
    """Samples of a diffusion model, started from the latents of a slice.

    At ``eta = 0`` the image is a deterministic function of the latent; at ``eta > 0`` each step adds noise, drawn
    for sample ``i`` from ``(seed, i)`` alone.

    Args:
        denoiser: the model and its sampler.
        latent_slice: the map from parameters to latents.
        batch_size: images a forward pass; the last batch is padded, so that each pass has the same shape and
            rounds the same way wherever a shard ends.

    Raises:
        ValueError: on a latent slice of another shape than the model's latents, or a batch size below one.
    """

    def __init__(self, denoiser: Denoiser, latent_slice: LatentSlice, *, batch_size: int) -> None:
        if latent_slice.latent_shape != denoiser.latent_shape:
            raise ValueError(
                f"the latent slice has shape {latent_slice.latent_shape}, "
                f"the network takes {denoiser.latent_shape}"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, must be at least 1")
        self.denoiser, self.latent_slice, self.batch_size = denoiser, latent_slice, batch_size
        self.sample_shape = denoiser.image_shape
        self.dtype = np.dtype(np.uint8)

    def sample(
        self, t: Float[np.ndarray, "n 2"], index: Int[np.ndarray, "n"], seed: int
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Draw one image at each parameter point, see ``System.sample``."""
        images = np.empty((len(t), *self.sample_shape), dtype=self.dtype)
        for start in range(0, len(t), self.batch_size):
            rows = np.arange(start, min(start + self.batch_size, len(t)))
            padded = np.resize(rows, self.batch_size)
            latents = self.latent_slice.latents(t[padded])
            images[rows] = self.generate(latents, index[padded], seed)[: len(rows)]
        return images

    def trial(self, batch_size: int) -> None:
        """Run one step and the decoding of a batch: all the memory that a whole one takes."""
        steps = self.denoiser.steps
        self.denoiser.steps = 1
        try:
            corner = np.array([[low for low, _ in self.latent_slice.extent]])
            latents = self.latent_slice.latents(np.repeat(corner, batch_size, axis=0))
            self.generate(latents, np.arange(batch_size), 0)
        finally:
            self.denoiser.steps = steps

    @torch.inference_mode()
    def generate(
        self, latents: Float[np.ndarray, "n c h w"], index: Int[np.ndarray, "n"], seed: int
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Run the sampler on given latents, one image each."""
        noise = sample_generators(index, seed)
        return self.denoiser.decode(self.denoiser.denoise(torch.from_numpy(latents), noise=noise))


def load_denoiser(
    checkpoint: Checkpoint,
    *,
    steps: int,
    eta: float = 0.0,
    eta_rule: str = "ddim",
    scheduler: str = "auto",
    prompt: str = "",
    negative_prompt: str = "",
    guidance: float = 1.0,
    clip_skip: int | None = None,
    lora: Sequence[Mapping[str, Any]] = (),
    dtype: str = "float32",
    compile: bool = False,
    decode_batch_size: int = 8,
    device: str = "cpu",
) -> Denoiser:
    """Load a model from local files; nothing is ever downloaded, and pickled weights are refused.

    Args:
        checkpoint: the model, as ``describe_checkpoint`` found it.
        steps: steps of the sampler.
        eta: noise of a DDIM sampler, 0 to 1.
        eta_rule: ``ddim`` or ``renewal``, see ``Denoiser``.
        scheduler: name of a scheduler class of ``diffusers``, or ``auto``: DDIM, and for flow matching the
            model's own.
        prompt: what to draw, see ``parse_prompt``.
        negative_prompt: what guidance leads away from, the same.
        guidance: scale of guidance, see ``TextToImageDenoiser``.
        clip_skip: last layers of the CLIPs that the prompt skips, none if None.
        lora: ``file`` and ``weight`` of low-rank updates to merge into the network.
        dtype: precision, ``float32``, ``float16`` or ``bfloat16``.
        compile: whether to compile the network.
        decode_batch_size: images that an autoencoder decodes at once.
        device: where to run.

    Raises:
        ValueError: on files that do not fit, on a prompt or guidance for a model without, and what
            ``Denoiser`` refuses.
    """
    from hessgeo.systems.diffusion.pipelines import load_pipeline

    if checkpoint.family == "unconditional":
        refuse_prompt(checkpoint.path, prompt, negative_prompt, guidance)
    else:
        settings = {"prompt": prompt, "negative_prompt": negative_prompt, "guidance": guidance}
        kind = guidance_kind(checkpoint.pipeline, checkpoint.configuration(checkpoint.network))
        for key, allowed in guidance_errors(kind, settings) if kind != "free" else ():
            raise ValueError(f"{key} is {settings[key]!r}, must be {allowed}")
    pipeline = load_pipeline(
        checkpoint, scheduler=scheduler, loras=lora, dtype=dtype, device=device, compile=compile
    )
    sampler: dict[str, Any] = {
        "steps": steps,
        "eta": eta,
        "eta_rule": eta_rule,
        "image_shape": checkpoint.image_shape,
    }
    if checkpoint.family == "unconditional":
        return UnconditionalDenoiser(pipeline.unet, pipeline.scheduler, **sampler)
    return TextToImageDenoiser(
        pipeline,
        latent_shape=checkpoint.latent_shape,
        prompt=prompt,
        negative_prompt=negative_prompt,
        guidance=guidance,
        clip_skip=clip_skip or 0,
        decode_batch_size=decode_batch_size,
        **sampler,
    )


def refuse_prompt(path: Path, prompt: str, negative_prompt: str, guidance: float) -> None:
    """Refuse what an unconditional model cannot take.

    Raises:
        ValueError: on a prompt, a negative prompt, or a guidance scale other than one.
    """
    for name, value, neutral in (
        ("prompt", prompt, ""),
        ("negative_prompt", negative_prompt, ""),
        ("guidance", guidance, 1.0),
    ):
        if value != neutral:
            raise ValueError(f"{name} is {value!r}, must be {neutral!r}: {path} is an unconditional model")
