"""Images of a diffusion model as real values, before they are rounded to eight bits, in any precision."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from hessgeo.numerics.precision import in_precision
from hessgeo.systems.diffusion.denoisers import Denoiser
from hessgeo.systems.diffusion.text_to_image import TextToImageDenoiser


def to_precision(denoiser: Denoiser, dtype: torch.dtype) -> None:
    """Bring a model to a precision, in place: its network, and of one with an autoencoder that and its prompts.

    An autoencoder whose configuration says that it overflows in half precision stays in single precision there.
    """
    in_precision(denoiser.network, dtype)
    if isinstance(denoiser, TextToImageDenoiser):
        vae = denoiser.pipeline.vae
        overflows = dtype == torch.float16 and getattr(vae.config, "force_upcast", False)
        in_precision(vae, torch.float32 if overflows else dtype)
        denoiser.conditions = {name: value.to(dtype) for name, value in denoiser.conditions.items()}


@torch.inference_mode()
def real_images(
    denoiser: Denoiser, clean: Float[np.ndarray, "n c h w"]
) -> Float[np.ndarray, "n channels height width"]:
    """What pixels of clean latents are made of, -1 to 1 (``denoisers.to_pixels``): of a model of pixels the same."""
    if not isinstance(denoiser, TextToImageDenoiser):
        return clean
    vae = denoiser.pipeline.vae
    x = torch.from_numpy(clean).to(vae.device, vae.dtype)
    mean, std = denoiser._affine(x)  # a public name for it would make all images of all studies due again
    parts = (x * std + mean).split(denoiser.decode_batch_size)
    return torch.cat([vae.decode(part, return_dict=False)[0] for part in parts]).double().cpu().numpy()
