"""What follows from the settings of a study: shapes, counts, the sources of its anchors, the methods it can have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hessgeo.systems.diffusion.checkpoints import Checkpoint

LATENT = "latent"  # the axis of a slice that moves the latent
# What the embedded digit models denoise; a checkpoint in a file says so itself.
DIGIT_LATENT_SHAPE = (1, 8, 8)


@cache
def describe(checkpoint: str, config: str | None, size: tuple[int, int] | None) -> Checkpoint:
    """What a checkpoint holds, from its configuration or the header of its file alone.

    Raises:
        ValueError: one line, on anything that is no usable model.
    """
    # Imported here: a study of embedded models need not wait for it whenever its settings are read.
    from hessgeo.systems.diffusion.checkpoints import describe_checkpoint

    return describe_checkpoint(checkpoint, config=config, size=size)


def checkpoint_of(system: Mapping[str, Any]) -> Checkpoint:
    """The model in local files that the settings ``system`` of a study name.

    Raises:
        ValueError: as ``describe``.
    """
    size = tuple(system["size"]) if system["size"] else None
    return describe(system["checkpoint"], system["config"], size)


def latent_shape(system: Mapping[str, Any], models: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of one latent of a system.

    Raises:
        ValueError: as ``describe``.
    """
    if system["kind"] == "generator":
        return tuple(system["latent"])
    return DIGIT_LATENT_SHAPE if system["checkpoint"] in models else checkpoint_of(system).latent_shape


def image_shape(system: Mapping[str, Any], models: Mapping[str, Any]) -> tuple[int, int, int]:
    """Shape (H, W, C) of one image of a system.

    Raises:
        ValueError: as ``describe``.
    """
    if system["kind"] in ("generator", "samples"):
        return (*system["size"], system["channels"])
    if system["checkpoint"] in models:
        channels, height, width = DIGIT_LATENT_SHAPE
        return height, width, channels
    return checkpoint_of(system).image_shape


def sample_count(sampling: Mapping[str, Any]) -> int:
    """Number of samples of a design; None while a scattered one has no count."""
    return prod(sampling["grid"]) if sampling["design"] == "grid" else sampling["count"]


def uses_classifier(study: Mapping[str, Any], models: Mapping[str, Any]) -> bool:
    """Whether the perceptual features of a study are those of the digit classifier, for want of a checkpoint."""
    system, checkpoint = study["system"], study["geodesics"]["perceptual"]["checkpoint"]
    return checkpoint is None and system["kind"] == "diffusion" and system["checkpoint"] in models


def methods_left_out(study: Mapping[str, Any], models: Mapping[str, Any]) -> dict[str, str]:
    """Listed methods whose metric a study cannot have, with what they need."""
    needs = {}
    if study["geodesics"]["perceptual"]["checkpoint"] is None and not uses_classifier(study, models):
        needs["perceptual"] = "a file in geodesics.perceptual.checkpoint"
    if study["posterior"]["kind"] == "network":
        needs["density"] = "the posterior.kind distance, for a network knows no density"
    if study["slice"]["interpolation"] != "linear" or conditions(study["slice"]):
        needs["spherical"] = "a slice of latents alone, linearly interpolated"
    return {name: need for name, need in needs.items() if name in study["geodesics"]["methods"]}


def axis_names(plane: Mapping[str, Any]) -> tuple[str, ...]:
    """What the parameters of a slice move, by name."""
    return tuple(
        axis if isinstance(axis, str) else axis.get("input", next(iter(axis))) for axis in plane["axes"]
    )


def conditions(plane: Mapping[str, Any]) -> dict[str, str | None]:
    """The conditions that a slice varies, each with what it leads to: a prompt, the file of a LoRA, or nothing."""
    ends = (None if isinstance(axis, str) else axis.get("prompt", axis.get("lora")) for axis in plane["axes"])
    return {name: end for name, end in zip(axis_names(plane), ends, strict=True) if name != LATENT}


def anchor_sources(anchors: int | str | list) -> list[int | str]:
    """The seeds and files that anchors are made of."""
    return anchors if isinstance(anchors, list) else [anchors]


def merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the entries of ``override``, mappings entry by entry, everything else as a whole."""
    result = dict(base)
    for key, value in override.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result
