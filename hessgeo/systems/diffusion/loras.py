"""Files of low-rank changes (LoRA) before they are merged: what they hold and for which model, from headers alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

from hessgeo.systems.diffusion.families import Checkpoint
from hessgeo.systems.diffusion.schedules import check_agreement
from hessgeo.systems.diffusion.tensor_names import NETWORK
from hessgeo.weights.headers import Header, shown_name
from hessgeo.weights.read import tensor_header
from hessgeo.weights.tensor_kinds import FLOATS, KINDS, kind_of

# The two matrices of a layer as diffusers, peft, kohya and the first attention processors name them.
MATRIX = re.compile(
    r"(?P<layer>.+?)(\.lora_|\.lora\.|\.lora_linear_layer\.|_lora\.|(?<=_lora[12])\.)(?P<side>A|B|down|up)(\.default)?\.weight"
)
SIDES = {"A": "down", "B": "up", "down": "down", "up": "up"}
ALPHA = re.compile(r"(?P<layer>.+?)(\.lora|\.lora_linear_layer|_lora)?\.alpha")
OTHER_KINDS = {
    "dora_scale": "a DoRA", "lora_magnitude_vector": "a DoRA", "hada_": "a LoHa", "lokr_": "a LoKr",
    "lora_mid": "a LoCon with a core", "boft_": "a BOFT", "oft_": "an OFT", "ia3": "an (IA)^3", "on_input": "an (IA)^3",
    "vera_": "a VeRA", r"\.diff_b$": "a difference of biases", r"\.diff$": "a difference of weights",
    "w_norm": "a change of norms", "b_norm": "a change of norms", "bundle_emb": "a textual inversion",
    "clip_l": "a textual inversion", "clip_g": "a textual inversion", "lora_A.bias": "a LoRA of biases",
    "lora_B.bias": "a LoRA of biases", NETWORK: "a whole checkpoint",
} | KINDS  # fmt: skip
PREFIXES = {
    "stable-diffusion": ("unet.", "lora_unet_", "text_encoder.", "lora_te_"),
    "stable-diffusion-xl": (
        "unet.", "lora_unet_", "text_encoder.", "text_encoder_2.", "lora_te1_", "lora_te2_",
    ),
    "stable-diffusion-3": ("transformer.", "text_encoder.", "text_encoder_2."),
    "flux": (
        "transformer.", "text_encoder.", "lora_unet_", "lora_te1_", "lora_transformer_", "diffusion_model.",
        "double_blocks.", "single_blocks.",
    ),
}  # fmt: skip
"""Beginnings of names by which a LoRA says what it changes, of each family."""
_KOHYA = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
}
# Names that are those of diffusers and transformers whichever program wrote them.
DIFFUSERS = re.compile(r"^transformer\.|(down_blocks|up_blocks|mid_block|encoder[._]layers)[._]")
# What the metadata of trainers call the families.
BASES = {
    "stable-diffusion-v1": "stable-diffusion", "stable-diffusion-v2": "stable-diffusion",
    "stable-diffusion-xl": "stable-diffusion-xl", "stable-diffusion-3": "stable-diffusion-3", "flux": "flux",
    "sd_v1": "stable-diffusion", "sd_1": "stable-diffusion", "sd_v2": "stable-diffusion",
    "sdxl": "stable-diffusion-xl", "sd3": "stable-diffusion-3",
}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """The low-rank change of one layer in a file.

    Attributes:
        name: the layer as the file names it.
        down: name of the tensor A of the change B A.
        up: name of the tensor B.
        alpha: name of the number whose ratio to the rank scales it; None for one of 1.
        rank: the rank.
    """

    name: str
    down: str
    up: str
    alpha: str | None
    rank: int


def lora_layers(header: Header) -> list[Layer]:
    """The layers that a LoRA changes.

    Raises:
        ValueError: one line that names the first tensor that is no matrix or alpha of a plain LoRA, or lacks the other.
    """
    sides: dict[str, dict[str, str]] = {}
    for name, entry in header.tensors.items():
        matrix, alpha = MATRIX.fullmatch(name), ALPHA.fullmatch(name)
        if not matrix and not alpha:
            raise ValueError(f"{header.path} {_what_else(header, name)}")
        if entry.dtype not in FLOATS:
            raise ValueError(
                f"{header.path} holds {shown_name(name)} as {entry.dtype}, must be {', '.join(FLOATS)}"
            )
        layer = matrix["layer"] if matrix else alpha["layer"] if alpha else ""
        side = SIDES[matrix["side"]] if matrix else "alpha"
        other = sides.setdefault(layer, {}).setdefault(side, name)
        if other != name:
            raise ValueError(f"{header.path} holds {shown_name(name)} beside {shown_name(other)}")
    return [_layer(header, layer, found) for layer, found in sides.items()]


def _layer(header: Header, layer: str, found: Mapping[str, str]) -> Layer:
    for side in ("down", "up"):
        if side not in found:
            raise ValueError(
                f"{header.path} holds {shown_name(next(iter(found.values())))} without its {side} matrix"
            )
    down, up = (header.tensors[found[side]].shape for side in ("down", "up"))
    if (
        len(down) < 2
        or len(up) < 2
        or down[0] != up[1]
        or not prod(down)
        or not prod(up)
        or prod(up[2:]) != 1
    ):
        raise ValueError(f"{header.path} holds {shown_name(layer)} of {up} and {down}, which have no product")
    alpha = found.get("alpha")
    if alpha and prod(header.tensors[alpha].shape) != 1:
        raise ValueError(f"{header.path} holds {shown_name(alpha)} that is not one number")
    return Layer(layer, found["down"], found["up"], alpha, down[0])


def _what_else(header: Header, name: str) -> str:
    if not any(map(MATRIX.fullmatch, header.tensors)):
        whole = any(
            key.startswith((NETWORK, "first_stage_model.", "double_blocks.")) for key in header.tensors
        )
        kind = "a whole checkpoint" if whole else kind_of(name, OTHER_KINDS).strip(" ()")
        what = f" but {kind}" if kind else ""
        return f"is no LoRA{what}: it holds {shown_name(name)}"
    return f"holds {shown_name(name)}{kind_of(name, OTHER_KINDS)}, which is not of a plain LoRA"


def scale_of(header: Header, layer: Layer) -> float:
    """What multiplies the change of a layer besides alpha, from the metadata of ``peft`` in the header.

    Raises:
        ValueError: one line, on settings of ``peft`` that are not those of a plain LoRA.
    """
    text = header.metadata.get("lora_adapter_metadata")
    if text is None:
        return 1.0
    part = layer.name.partition(".")[0]
    settings = _adapter_settings(header.path, text)
    own = {
        key.removeprefix(f"{part}."): value for key, value in settings.items() if key.startswith(f"{part}.")
    }
    for key in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "lora_bias"):
        if own.get(key):
            raise ValueError(f"{header.path} says {part}.{key} {shown_name(str(own[key]))}, must be plain")
    alpha = own.get("lora_alpha", layer.rank)
    if layer.alpha is not None and own:
        raise ValueError(f"{header.path} holds {shown_name(layer.alpha)} and says lora_alpha {alpha} besides")
    if not isinstance(alpha, int | float):
        raise ValueError(f"{header.path} says {part}.lora_alpha {shown_name(str(alpha))}, must be a number")
    return alpha / layer.rank


@lru_cache(maxsize=8)
def _adapter_settings(path: Path, text: str) -> dict:
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} has a lora_adapter_metadata that cannot be read") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} has a lora_adapter_metadata that cannot be read")
    return settings


def check_lora(file: str | Path, checkpoint: Checkpoint) -> None:
    """Refuse a file that is no plain LoRA of a checkpoint, as far as headers and configurations tell.

    Raises:
        ValueError: one line that names the file, and the tensor or word in it that does not fit.
    """
    if checkpoint.family == "unconditional":
        raise ValueError(f"{file} is for a text-to-image model, {checkpoint.path} is unconditional")
    header = tensor_header(file)
    layers = lora_layers(header)
    if not layers:
        raise ValueError(f"{file} is no LoRA: it holds no tensor")
    _check_base(header, checkpoint)
    check_agreement(header, checkpoint.configuration("scheduler"), checkpoint.path)
    allowed = PREFIXES[checkpoint.family]
    known, width = _known_layers(checkpoint), _text_width(checkpoint)
    for layer in layers:
        scale_of(header, layer)
        if not layer.name.startswith(allowed):
            raise ValueError(
                f"{file} does not fit {checkpoint.path}: its layer {shown_name(layer.name)} begins with none of "
                f"{', '.join(allowed)}"
            )
        shapes = header.tensors[layer.up].shape, header.tensors[layer.down].shape
        plain = _plain_name(layer.name)
        expected = known.get(
            plain, known.get(f"{plain}_0")
        )  # the first processors named the first of two layers
        if expected is None and known and DIFFUSERS.search(layer.name):
            raise ValueError(
                f"{file} does not fit {checkpoint.path}, which has no layer {shown_name(layer.name)}"
            )
        if expected is not None:
            fits = shapes[0][0] == expected[0] and shapes[1][1] == expected[1]
        else:
            fits = not re.search(r"attn2[._]to_[kv]$", layer.name) or width in (None, shapes[1][1])
        if not fits:
            raise ValueError(
                f"{file} does not fit {checkpoint.path}: its layer {shown_name(layer.name)} maps {shapes[1][1]} to "
                f"{shapes[0][0]} numbers"
            )


def _plain_name(layer: str) -> str:
    """A layer's name with underscores for dots and its part in front, whichever program wrote it."""
    layer = layer.replace(".processor.", ".")
    for prefix, part in _KOHYA.items():
        if layer.startswith(prefix):
            layer = f"{part}_{layer.removeprefix(prefix)}"
    return layer.replace(".", "_").replace("text_model_", "")


def _known_layers(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a pipeline folder's parts by their plain names; none of a single file."""
    if not checkpoint.path.is_dir():
        return {}
    return {
        _plain_name(f"{file.parent.name}.{name.removesuffix('.weight')}"): entry.shape
        for file in checkpoint.files
        if file.suffix == ".safetensors"
        for name, entry in tensor_header(file).tensors.items()
        if name.endswith(".weight") and len(entry.shape) > 1
    }


def _text_width(checkpoint: Checkpoint) -> int | None:
    width = checkpoint.configuration(checkpoint.network).get("cross_attention_dim")
    return width if isinstance(width, int) else None


def _check_base(header: Header, checkpoint: Checkpoint) -> None:
    for key, word in _bases(header):
        family = next((BASES[name] for name in BASES if word.lower().startswith(name)), None)
        if family is not None and family != checkpoint.family:
            raise ValueError(
                f"{header.path} is for {family} ({key} is {shown_name(word)}), {checkpoint.path} is {checkpoint.family}"
            )


def _bases(header: Header) -> Iterator[tuple[str, str]]:
    for key in ("modelspec.architecture", "ss_base_model_version"):
        if key in header.metadata:
            yield key, header.metadata[key]
