"""A diffusion checkpoint in one safetensors file in the original layout, from its header alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hessgeo.systems.diffusion.architectures import ARCHITECTURES
from hessgeo.systems.diffusion.families import FLOW_SCHEDULERS, Checkpoint
from hessgeo.systems.diffusion.folders import (
    check_channels,
    find_weights,
    image_shapes,
    parts_with_weights,
    read_configs,
    read_index,
    text_files,
)
from hessgeo.systems.diffusion.schedules import ZERO_SNR, Said, check_agreement, said_by_file
from hessgeo.systems.diffusion.tensor_names import NETWORK, check_single_file, part_of
from hessgeo.weights.files import read_json_object
from hessgeo.weights.headers import Header
from hessgeo.weights.read import refuse_pickle, tensor_header

UNET_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
VAE_INPUT = "first_stage_model.decoder.conv_in.weight"
TEXT_ENCODERS = {
    "stable-diffusion": (
        "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
        "cond_stage_model.model.token_embedding.weight",
    ),
    "stable-diffusion-xl": ("conditioner.embedders.1.model.positional_embedding",),
}


def describe_file(path: Path, config: Path | None, size: tuple[int, int] | None) -> Checkpoint:
    """Describe a single file, see ``describe_checkpoint``."""
    refuse_pickle(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} must be a pipeline folder of diffusers or a .safetensors file")
    header = tensor_header(path)
    shapes = header.shapes
    family = _family_of(path, shapes)
    flow = family in FLOW_SCHEDULERS
    if flow and config is None:
        raise ValueError(
            f"{path} is a {family} transformer, whose tokenizers and text encoders are in no single file: give the "
            f"pipeline folder as checkpoint, or as config beside this file"
        )
    if not flow:
        _check_parts(path, family, shapes)
    said_by_file(header)  # noise of another kind has a line of its own
    check_single_file(header, family)
    if config is None:
        architecture, schedule = _architecture_of(header, family)
        latent, image = image_shapes(path, family, ARCHITECTURES[architecture], size)
        return Checkpoint(path, family, latent, image, (path,), architecture=architecture, schedule=schedule)
    found, index = read_index(config)
    if found != family:
        raise ValueError(f"config {config} is of the family {found}, must be {family} as {path}")
    latent, image = image_shapes(config, family, read_configs(config, family, index), size)
    place = config / "scheduler" / "scheduler_config.json"
    check_agreement(header, read_json_object(place), place)
    inside = {part_of(name, family) for name in shapes}
    others = {name: stem for name, stem in parts_with_weights(index).items() if name not in inside}
    variant, weights = find_weights(config, others) if flow else (None, [])
    files = (path, *text_files(config, index), *weights)
    return Checkpoint(path, family, latent, image, files, config, flow, variant=variant)


def _family_of(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    marks = {
        "joint_blocks.": "stable-diffusion-3",
        "double_blocks.": "flux",
        "conditioner.embedders.1.": "stable-diffusion-xl",
        "cond_stage_model.": "stable-diffusion",
    }
    for mark, family in marks.items():
        if any(name.removeprefix(NETWORK).startswith(mark) for name in shapes):
            return family
    if any("lora" in name.lower() for name in shapes):
        raise ValueError(f"{path} is a LoRA, which goes with a checkpoint and not in its place")
    known = "Stable Diffusion 1, 2, XL or 3 or Flux in the original layout"
    if UNET_INPUT in shapes:
        raise ValueError(f"{path} has a network without its text encoders, must be {known}")
    raise ValueError(f"{path} has tensors of another model, must be {known}")


def _check_parts(path: Path, family: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    parts = {
        "network (model.diffusion_model)": (UNET_INPUT,),
        "autoencoder (first_stage_model)": (VAE_INPUT,),
        "text encoder that diffusers can read": TEXT_ENCODERS[family],
    }
    for part, names in parts.items():
        if not any(name in shapes for name in names):
            raise ValueError(f"{path} has no {part}, must be a complete checkpoint")
    for name in (UNET_INPUT, VAE_INPUT):
        if len(shapes[name]) != 4:
            raise ValueError(f"{path} holds {name} of shape {shapes[name]}, must be that of a convolution")
    check_channels(path, family, {"in_channels": shapes[UNET_INPUT][1]}, shapes[VAE_INPUT][1])


def _architecture_of(header: Header, family: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """One of ``ARCHITECTURES``, and what the file changes of its schedule."""
    path, shapes, said = header.path, header.shapes, said_by_file(header)
    if family == "stable-diffusion-xl":
        found = "stable-diffusion-xl"
    elif TEXT_ENCODERS[family][0] in shapes:
        found = "stable-diffusion-1"
    else:
        found = _second_version(path, said)
    unet = ARCHITECTURES[found]["unet"]
    name = next((name for name in shapes if name.endswith("attn2.to_k.weight")), None)
    width = shapes[name][1] if name and len(shapes[name]) == 2 else None
    if width != unet["cross_attention_dim"] or shapes[UNET_INPUT][0] != unet["block_out_channels"][0]:
        raise ValueError(
            f"{path} has cross-attention of width {width}, not {unet['cross_attention_dim']} as {found}: give the "
            f"folder of its configuration as config"
        )
    changes = {key: value for key, (value, _) in said.items()}
    if changes.get("rescale_betas_zero_snr"):
        if changes.get("prediction_type", "epsilon") == "epsilon":
            raise ValueError(
                f"{path} says zero signal at the last step, where only a velocity can be predicted"
            )
        changes |= ZERO_SNR
    config = ARCHITECTURES[found]["scheduler"] | changes
    check_agreement(header, config, found)
    return found, tuple(sorted(changes.items()))


def _second_version(path: Path, said: Said) -> str:
    # Both kinds of Stable Diffusion 2 have the same tensors; what they predict may stand in the metadata, or the name.
    name = path.stem.lower()
    is_base, is_large = "base" in name or "512" in name, "768" in name
    if "prediction_type" in said:
        value, source = said["prediction_type"]
        large = value == "v_prediction"
        if is_base != is_large and large != is_large:
            raise ValueError(
                f"{path} says prediction_type {value} ({source}), but its name says the opposite"
            )
        return "stable-diffusion-2" if large else "stable-diffusion-2-base"
    if is_base == is_large:
        raise ValueError(
            f"{path} is a Stable Diffusion 2 that predicts either noise (512 pixels) or velocity (768 pixels), which "
            f"its name must say (512, base or 768), or config: `python -m hessgeo.systems.diffusion.architectures "
            f"stable-diffusion-2 FOLDER` (or stable-diffusion-2-base) writes one"
        )
    return "stable-diffusion-2-base" if is_base else "stable-diffusion-2"
