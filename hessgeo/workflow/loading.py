"""Load the system of a study as its settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from hessgeo.systems.base import System
from hessgeo.systems.checkpoints import describe_checkpoint
from hessgeo.systems.slices import LatentSlice

if TYPE_CHECKING:
    from hessgeo.systems.denoisers import Denoiser

SAMPLER = (
    "steps", "eta", "eta_rule", "scheduler", "prompt", "negative_prompt", "guidance", "clip_skip", "lora", "dtype",
    "compile",
)  # fmt: skip
MOST_IMAGES = 64  # at once, where the batch is fitted to memory; more bring nothing


def latent_plane(anchors: Float[np.ndarray, "3 *latent"], settings: Mapping[str, Any]) -> LatentSlice:
    """The slice through anchors that the settings ``slice`` of a study describe."""
    along_a, along_b = map(tuple, settings["extent"])
    return LatentSlice(anchors, (along_a, along_b), settings["normalisation"])


def load_model(system: Mapping[str, Any], checkpoint: str, *, device: str) -> Denoiser:
    """The diffusion model of a study.

    Args:
        system: its settings ``system``.
        checkpoint: folder or file of the model.
        device: where to run it.

    Raises:
        ValueError: as ``describe_checkpoint`` and ``load_denoiser``.
    """
    from hessgeo.systems.diffusion import load_denoiser

    size = tuple(system["size"]) if system["size"] else None
    described = describe_checkpoint(checkpoint, config=system["config"], size=size)
    options = {key: system[key] for key in (*SAMPLER, "decode_batch_size")}
    return load_denoiser(described, **options, device=device)


def load_system(
    system: Mapping[str, Any], checkpoint: str, plane: LatentSlice, *, device: str, most: int
) -> System:
    """The system of a study on its slice, with as many images a batch as its settings or the memory say.

    Args:
        system: its settings ``system``.
        checkpoint: folder or file of the model.
        plane: the slice.
        device: where to run the model.
        most: images of a job; a batch holds no more.

    Raises:
        ValueError: as ``load_model`` or ``load_generator``.
    """
    from hessgeo.systems.diffusion import DiffusionSystem
    from hessgeo.systems.memory import fit_batch_size

    if system["kind"] == "generator":
        from hessgeo.systems.generator import load_generator

        options = {key: system[key] for key in ("size", "channels", "output_range")}
        # A generator is small beside a sampler's network: no need to ask the memory.
        batch_size = most if system["batch_size"] == "auto" else system["batch_size"]
        return load_generator(checkpoint, plane, **options, batch_size=min(batch_size, most), device=device)
    model = load_model(system, checkpoint, device=device)
    if system["batch_size"] != "auto":
        return DiffusionSystem(model, plane, batch_size=min(system["batch_size"], most))
    loaded = DiffusionSystem(model, plane, batch_size=1)
    loaded.batch_size = fit_batch_size(loaded.trial, device=device, limit=min(most, MOST_IMAGES))
    return loaded
