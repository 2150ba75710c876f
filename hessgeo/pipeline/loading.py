"""Load the system of a study as its settings say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from hessgeo.pipeline.content import keep, kept
from hessgeo.pipeline.derived import axis_names, conditions
from hessgeo.systems.base import System
from hessgeo.systems.batches import even_batch
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.sampler import Sampler
from hessgeo.systems.slices import LatentSlice

if TYPE_CHECKING:
    from hessgeo.systems.diffusion.denoisers import Denoiser
    from hessgeo.systems.diffusion.system import DiffusionSystem
    from hessgeo.systems.generator import GeneratorSystem

MOST_IMAGES = 64  # at once, where the batch is fitted to memory; more bring nothing
TRIED = 2  # images at once until it is known how many fit


def latent_plane(anchors: Float[np.ndarray, "3 *latent"], settings: Mapping[str, Any]) -> LatentSlice:
    """The slice through anchors that the settings ``slice`` of a study describe."""
    extent = tuple((low, high) for low, high in settings["extent"])
    names = axis_names(settings)
    return LatentSlice(anchors, extent, settings["normalisation"], settings["interpolation"], names)


def load_model(
    system: Mapping[str, Any], checkpoint: str, *, device: str, varied: Mapping[str, Any] | None = None
) -> Denoiser:
    """The diffusion model of a study.

    Args:
        system: its settings ``system``.
        checkpoint: folder or file of the model.
        device: where to run it.
        varied: see ``load_denoiser``.

    Raises:
        ValueError: as ``describe_checkpoint`` and ``load_denoiser``.
    """
    from hessgeo.systems.diffusion.system import load_denoiser

    size = tuple(system["size"]) if system["size"] else None
    described = describe_checkpoint(checkpoint, config=system["config"], size=size)
    options = {field.name: system[field.name] for field in fields(Sampler)}
    return load_denoiser(described, **options, device=device, varied=varied)


def load_system(
    system: Mapping[str, Any],
    checkpoint: str,
    anchors: Float[np.ndarray, "3 *latent"],
    settings: Mapping[str, Any],
    *,
    device: str,
    most: int,
    model: str | None = None,
) -> System:
    """The system of a study on its slice, with as many images a batch as its settings or the memory say.

    Args:
        system: its settings ``system``.
        checkpoint: folder or file of the model.
        anchors: of its slice.
        settings: of the slice, see ``latent_plane``.
        device: where to run the model.
        most: images of a shard, which batches divide as evenly as they can.
        model: digest of the model's files, by which its need for memory is known again.

    Raises:
        ValueError: as ``load_model`` or ``load_generator``.
    """
    given = None if system["batch_size"] == "auto" else min(system["batch_size"], most)
    loaded: DiffusionSystem | GeneratorSystem
    plane = latent_plane(anchors, settings)
    if system["kind"] == "generator":
        from hessgeo.systems.generator import load_generator
        from hessgeo.systems.generator_files import ImagesOfFile

        options = {field.name: system[field.name] for field in fields(ImagesOfFile)}
        loaded = load_generator(checkpoint, plane, **options, batch_size=given or TRIED, device=device)
        if loaded.fixed_batch is not None:
            return loaded
    else:
        from hessgeo.systems.diffusion.system import DiffusionSystem

        denoiser = load_model(system, checkpoint, device=device, varied=conditions(settings))
        loaded = DiffusionSystem(denoiser, plane, batch_size=given or TRIED)
    # What varies along an axis takes memory of its own.
    work = {**system, "axes": list(axis_names(settings))}
    loaded.batch_size = even_batch(
        most, given or _fitted(loaded, work, device, min(most, MOST_IMAGES), model)
    )
    return loaded


def _fitted(
    loaded: DiffusionSystem | GeneratorSystem,
    system: Mapping[str, Any],
    device: str,
    limit: int,
    model: str | None,
) -> int:
    """As many images as fit into the memory, which is measured once for each model, device and kind of work."""
    from hessgeo.systems.memory import device_name, fit_batch_size

    work = {key: value for key, value in system.items() if key not in ("checkpoint", "config", "batch_size")}
    key = [model, work, list(loaded.sample_shape), device_name(device)]
    known = (kept(key) if model else None) or {}
    batch = fit_batch_size(loaded.trial, device=device, limit=limit, known=known)
    if model:
        keep(key, known)
    return batch
