"""An unconditional diffusion model on a slice of its latent space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from hessgeo.systems.base import System
from hessgeo.systems.slices import LatentSlice

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, UNet2DModel

WEIGHTS = "diffusion_pytorch_model.safetensors"


class DiffusionSystem(System):
    """DDIM samples of a diffusion model, started from the latents of a slice.

    At ``eta = 0`` the image is a deterministic function of the latent; at ``eta > 0`` each step adds noise of
    the DDPM variance times ``eta^2``, drawn for sample ``i`` from ``(seed, i)`` alone.

    Args:
        unet: the denoising network.
        scheduler: its noise schedule.
        latent_slice: the map from parameters to latents.
        steps: DDIM steps.
        eta: 0 for the deterministic sampler, 1 for the variance of DDPM.
        batch_size: images a forward pass; the last batch is padded, so that each pass has the same shape and
            rounds the same way wherever a shard ends.

    Raises:
        ValueError: on a latent slice of another shape than the network's input, a step count that the
            schedule does not have, ``eta`` outside [0, 1] or a batch size below one.
    """

    def __init__(
        self,
        unet: UNet2DModel,
        scheduler: DDIMScheduler,
        latent_slice: LatentSlice,
        *,
        steps: int,
        eta: float = 0.0,
        batch_size: int,
    ) -> None:
        latent = _input_shape(unet.config)
        trained = scheduler.config.num_train_timesteps
        if latent_slice.latent_shape != latent:
            raise ValueError(
                f"the latent slice has shape {latent_slice.latent_shape}, the network takes {latent}"
            )
        if not 1 <= steps <= trained:
            raise ValueError(f"steps is {steps}, must be between 1 and the schedule's {trained}")
        if not 0 <= eta <= 1:
            raise ValueError(f"eta is {eta}, must be between 0 and 1")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, must be at least 1")
        self.unet, self.scheduler, self.latent_slice = unet, scheduler, latent_slice
        self.steps, self.eta, self.batch_size = steps, eta, batch_size
        self.sample_shape = (*latent[1:], latent[0])
        self.dtype = np.dtype(np.uint8)

    def sample(
        self, t: Float[np.ndarray, "n 2"], index: Int[np.ndarray, "n"], seed: int
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Draw one image at each parameter point, see ``System.sample``."""
        images = np.empty((len(t), *self.sample_shape), dtype=self.dtype)
        latents = self.latent_slice.latents(t)
        for start in range(0, len(t), self.batch_size):
            rows = np.arange(start, min(start + self.batch_size, len(t)))
            padded = np.resize(rows, self.batch_size)
            images[rows] = self.generate(latents[padded], index[padded], seed)[: len(rows)]
        return images

    @torch.inference_mode()
    def generate(
        self, latents: Float[np.ndarray, "n c h w"], index: Int[np.ndarray, "n"], seed: int
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Run the sampler on given latents, one image each; pixel = round(255 clip(x / 2 + 1/2, 0, 1))."""
        device = self.unet.device
        self.scheduler.set_timesteps(self.steps)
        streams = [np.random.Philox(np.random.SeedSequence([seed, int(i)])) for i in index if self.eta > 0]
        noises = [np.random.Generator(stream) for stream in streams]
        x = torch.from_numpy(latents * float(self.scheduler.init_noise_sigma)).to(device, self.unet.dtype)
        for time in self.scheduler.timesteps:
            output = self.unet(self.scheduler.scale_model_input(x, time), time).sample
            noise = self._draw(noises).to(x) if self.eta > 0 else None
            x = self.scheduler.step(output, time, x, eta=self.eta, variance_noise=noise).prev_sample
        if not torch.isfinite(x).all():
            raise FloatingPointError(f"the sampler gave values that are not finite after {self.steps} steps")
        pixels = (x / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).cpu().numpy()

    def _draw(self, noises: list[np.random.Generator]) -> Tensor:
        shape = self.latent_slice.latent_shape
        return torch.from_numpy(
            np.stack([noise.standard_normal(shape, dtype=np.float32) for noise in noises])
        )


def load_diffusion(
    checkpoint: str | Path,
    latent_slice: LatentSlice,
    *,
    steps: int,
    eta: float = 0.0,
    batch_size: int,
    device: str = "cpu",
) -> DiffusionSystem:
    """Load an unconditional ``diffusers`` pipeline from a local folder; nothing is ever downloaded.

    The folder holds ``model_index.json``, ``unet/`` (a ``UNet2DModel`` in safetensors) and ``scheduler/``,
    from whose noise schedule a DDIM sampler is made. Pickled weights are refused.

    Args:
        checkpoint: the folder.
        latent_slice: the map from parameters to latents.
        steps: DDIM steps.
        eta: 0 for the deterministic sampler, 1 for the variance of DDPM.
        batch_size: images a forward pass.
        device: where to run the network.

    Raises:
        ValueError: if the folder lacks a part, has pickled weights only, or holds another kind of pipeline;
            and what ``DiffusionSystem`` refuses.
    """
    # Imported here: reading a folder's shape need not wait the seconds that diffusers takes to import.
    from diffusers import DDIMScheduler, UNet2DModel

    folder = Path(checkpoint)
    check_pipeline(folder)
    scheduler_config = _read_json(folder / "scheduler" / "scheduler_config.json")
    if scheduler_config.get("_class_name") not in DDIMScheduler._compatibles:
        raise ValueError(
            f"{folder}/scheduler is a {scheduler_config.get('_class_name')}, which DDIM cannot follow"
        )
    unet = UNet2DModel.from_pretrained(folder / "unet", local_files_only=True, use_safetensors=True)
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    unet = unet.to(device).eval().requires_grad_(False)
    return DiffusionSystem(unet, scheduler, latent_slice, steps=steps, eta=eta, batch_size=batch_size)


def check_pipeline(folder: Path) -> None:
    """Refuse a folder that is no unconditional pipeline in safetensors.

    Raises:
        ValueError: one line that names the folder and what is wrong with it.
    """
    if not (folder / "model_index.json").is_file():
        raise ValueError(f"{folder} has no model_index.json: not a diffusers pipeline folder")
    parts = {name for name in _read_json(folder / "model_index.json") if not name.startswith("_")}
    if parts != {"unet", "scheduler"}:
        raise ValueError(
            f"{folder} has the parts {sorted(parts)}, must be an unconditional scheduler and unet"
        )
    config = _unet_config(folder)
    if config.get("num_class_embeds") or config.get("class_embed_type"):
        raise ValueError(f"{folder}/unet is conditional on a class, must be unconditional")
    if config["in_channels"] != config["out_channels"]:
        raise ValueError(f"{folder}/unet predicts a variance too, which DDIM does not use")
    if not any((folder / "unet" / name).is_file() for name in (WEIGHTS, f"{WEIGHTS}.index.json")):
        raise ValueError(f"{folder}/unet has no {WEIGHTS}; pickled weights (.bin, .pt) are refused")


def latent_shape(checkpoint: str | Path) -> tuple[int, int, int]:
    """Shape (channels, height, width) of a pipeline's latents, from its configuration alone.

    Raises:
        ValueError: if the folder has no ``unet/config.json`` or it describes no ``UNet2DModel``.
    """
    return _input_shape(_unet_config(Path(checkpoint)))


def _unet_config(folder: Path) -> dict:
    path = folder / "unet" / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} has no unet/config.json: not a diffusers pipeline folder")
    config = _read_json(path)
    if config.get("_class_name") != "UNet2DModel":
        raise ValueError(f"{folder}/unet is a {config.get('_class_name')}, must be a UNet2DModel")
    return config


def _input_shape(config: dict) -> tuple[int, int, int]:
    size = config["sample_size"]
    if size is None:
        raise ValueError(
            "the network's configuration has no sample_size, so the shape of its latents is unknown"
        )
    height, width = (size, size) if isinstance(size, int) else size
    return (config["in_channels"], height, width)


def _read_json(path: Path) -> dict:
    if not path.is_file():
        raise ValueError(f"{path} is missing: not a complete diffusers pipeline folder")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
