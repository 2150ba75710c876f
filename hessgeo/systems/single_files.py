"""A diffusion checkpoint in one safetensors file in the original layout, from its header alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hessgeo.systems.architectures import ARCHITECTURES
from hessgeo.systems.families import FLOW_SCHEDULERS, Checkpoint
from hessgeo.systems.folders import (
    check_channels,
    find_weights,
    image_shapes,
    parts_with_weights,
    read_configs,
    read_index,
    text_files,
)
from hessgeo.weights import refuse_pickle, tensor_shapes

UNET_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
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
    shapes = tensor_shapes(path)
    family = _family_of(path, shapes)
    flow = family in FLOW_SCHEDULERS
    if flow and config is None:
        raise ValueError(
            f"{path} is a {family} transformer, whose tokenizers and text encoders are in no single file: give the "
            f"pipeline folder as checkpoint, or as config beside this file"
        )
    if not flow:
        _check_parts(path, family, shapes)
    if config is None:
        architecture = _architecture_of(path, family, shapes)
        if (
            "v_pred" in shapes
            and ARCHITECTURES[architecture]["scheduler"]["prediction_type"] != "v_prediction"
        ):
            raise ValueError(
                f"{path} predicts velocity, not noise as {architecture}: give a folder as config whose scheduler has "
                f"prediction_type v_prediction (`python -m hessgeo.systems.architectures {architecture} FOLDER`)"
            )
        latent, image = image_shapes(path, family, ARCHITECTURES[architecture], size)
        return Checkpoint(path, family, latent, image, (path,), architecture=architecture)
    found, index = read_index(config)
    if found != family:
        raise ValueError(f"config {config} is of the family {found}, must be {family} as {path}")
    latent, image = image_shapes(config, family, read_configs(config, family, index), size)
    files, variant = [path, *text_files(config, index)], None
    if flow:
        others = {name: stem for name, stem in parts_with_weights(index).items() if name != "transformer"}
        variant, weights = find_weights(config, others)
        files += weights
    return Checkpoint(path, family, latent, image, tuple(files), config, flow, variant=variant)


def _family_of(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    marks = {
        "joint_blocks.": "stable-diffusion-3",
        "double_blocks.": "flux",
        "conditioner.embedders.1.": "stable-diffusion-xl",
        "cond_stage_model.": "stable-diffusion",
    }
    if any("lora" in name.lower() for name in shapes):
        raise ValueError(f"{path} is a LoRA, which goes with a checkpoint and not in its place")
    for mark, family in marks.items():
        if any(name.removeprefix("model.diffusion_model.").startswith(mark) for name in shapes):
            return family
    known = "Stable Diffusion 1, 2, XL or 3 or Flux in the original layout"
    if UNET_INPUT in shapes:
        raise ValueError(f"{path} has a network without its text encoders, must be {known}")
    raise ValueError(f"{path} has tensors of another model, must be {known}")


def _check_parts(path: Path, family: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    parts = {
        "network (model.diffusion_model)": (UNET_INPUT,),
        "autoencoder (first_stage_model)": ("first_stage_model.decoder.conv_in.weight",),
        "text encoder that diffusers can read": TEXT_ENCODERS[family],
    }
    for part, names in parts.items():
        if not any(name in shapes for name in names):
            raise ValueError(f"{path} has no {part}, must be a complete checkpoint")
    latent = shapes["first_stage_model.decoder.conv_in.weight"][1]
    check_channels(path, family, {"in_channels": shapes[UNET_INPUT][1]}, latent)


def _architecture_of(path: Path, family: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    if family == "stable-diffusion-xl":
        found = "stable-diffusion-xl"
    elif TEXT_ENCODERS[family][0] in shapes:
        found = "stable-diffusion-1"
    else:
        found = _second_version(path)
    unet = ARCHITECTURES[found]["unet"]
    name = next((name for name in shapes if name.endswith("attn2.to_k.weight")), None)
    width = shapes[name][1] if name else None
    if width != unet["cross_attention_dim"] or shapes[UNET_INPUT][0] != unet["block_out_channels"][0]:
        raise ValueError(
            f"{path} has cross-attention of width {width}, not {unet['cross_attention_dim']} as {found}: give the "
            f"folder of its configuration as config"
        )
    return found


def _second_version(path: Path) -> str:
    # Both kinds of Stable Diffusion 2 have the same tensors; which quantity they predict stands nowhere in the file.
    name = path.stem.lower()
    is_base, is_large = "base" in name or "512" in name, "768" in name
    if is_base == is_large:
        raise ValueError(
            f"{path} is a Stable Diffusion 2 that predicts either noise (512 pixels) or velocity (768 pixels), which "
            f"its name must say (512, base or 768), or config: `python -m hessgeo.systems.architectures "
            f"stable-diffusion-2 FOLDER` (or stable-diffusion-2-base) writes one"
        )
    return "stable-diffusion-2-base" if is_base else "stable-diffusion-2"
