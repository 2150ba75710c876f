"""Merge low-rank changes (LoRA) into the networks of a pipeline, each of them to the last tensor or not at all."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from hessgeo.systems.diffusion.families import Checkpoint
from hessgeo.systems.diffusion.loras import MATRIX, SIDES, check_lora, lora_layers, scale_of
from hessgeo.weights.headers import Header, shown_name
from hessgeo.weights.read import tensor_header

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# The first attention processors kept the matrices of a layer beside it, and called those of text encoders as their own.
RENAMED = (
    (r"\.processor\.(to_[qkv]|to_out)$", r".\1"),
    (r"\.self_attn\.to_([qkv])$", r".self_attn.\1_proj"),
    (r"\.self_attn\.to_out$", ".self_attn.out_proj"),
)


@torch.no_grad()
def merge_lora(pipeline: DiffusionPipeline, checkpoint: Checkpoint, file: str | Path, weight: float) -> None:
    """Add ``weight alpha / rank B A`` to every layer that a file of low-rank changes names.

    Args:
        pipeline: the pipeline of the checkpoint; its networks are changed in place.
        checkpoint: what it was loaded from.
        file: see ``lora_changes``.
        weight: how much of it.

    Raises:
        ValueError: as ``lora_changes``.
    """
    for parameter, change in lora_changes(pipeline, checkpoint, file):
        parameter.copy_(parameter.float() + weight * change)


class VariedLora:
    """A LoRA whose weight changes from batch to batch: the layers as they were without it, and its change of each.

    Args:
        changes: see ``lora_changes``.
    """

    def __init__(self, changes: Iterable[tuple[torch.nn.Parameter, torch.Tensor]]) -> None:
        self._layers = [(parameter, parameter.detach().clone(), change) for parameter, change in changes]
        self._weight = 0.0

    @torch.no_grad()
    def set(self, weight: float) -> None:
        """Let the layers hold so much of it."""
        if weight != self._weight:
            for parameter, without, change in self._layers:
                parameter.copy_(without.float() + weight * change.to(without.device))
            self._weight = weight


@torch.no_grad()
def lora_changes(
    pipeline: DiffusionPipeline, checkpoint: Checkpoint, file: str | Path
) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
    """Each weight that a file of low-rank changes names, with its change ``alpha / rank B A`` in float32.

    Args:
        pipeline: the pipeline of the checkpoint.
        checkpoint: what it was loaded from.
        file: a plain LoRA in the layout of diffusers, peft, kohya, or (of Flux) their authors.

    Raises:
        ValueError: as ``check_lora``; one line, on a layer that no network has or that has another shape.
    """
    check_lora(file, checkpoint)
    header = tensor_header(file)
    matrices = _read(header)
    before = sum(_norm(matrices[layer.up], matrices[layer.down]) for layer in lora_layers(header))
    changes: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in _by_modules(pipeline, matrices, file).items():
        match = MATRIX.fullmatch(name)
        if match is None:
            raise ValueError(f"{file} does not fit {checkpoint.path}: nothing reads its {shown_name(name)}")
        changes.setdefault(match["layer"], {})[SIDES[match["side"]]] = tensor
    after = sum(_norm(change["up"], change["down"]) for change in changes.values())
    if not abs(after - before) <= 1e-4 * before:  # what is read is neither lost nor doubled
        share = (after / before) ** 0.5
        raise ValueError(f"{file} does not fit {checkpoint.path}: {share:.3g} of its change would be merged")
    found = []
    for layer, change in changes.items():
        parameter = _parameter(pipeline, layer)
        delta = change["up"].flatten(1) @ change["down"].flatten(1)
        if parameter is None or delta.numel() != parameter.numel() or len(delta) != len(parameter):
            what = "there is no such layer" if parameter is None else f"its shape is {tuple(parameter.shape)}"
            raise ValueError(f"{file} does not fit {checkpoint.path}: it changes {shown_name(layer)}, {what}")
        found.append((parameter, delta.view_as(parameter).to(parameter.device)))
    return found


def _read(header: Header) -> dict[str, torch.Tensor]:
    """The matrices of a LoRA, B times all that scales it."""
    matrices = {}
    with safe_open(header.path, framework="pt") as file:
        for layer in lora_layers(header):
            scale = scale_of(header, layer)
            if layer.alpha is not None:
                scale *= float(file.get_tensor(layer.alpha).float()) / layer.rank
            matrices[layer.down] = file.get_tensor(layer.down).float()
            matrices[layer.up] = file.get_tensor(layer.up).float() * scale
    return matrices


def _norm(up: torch.Tensor, down: torch.Tensor) -> float:
    """Sum of squares of B A."""
    up, down = up.flatten(1).double(), down.flatten(1).double()
    return float(((up.T @ up) * (down @ down.T)).sum())


def _by_modules(
    pipeline: DiffusionPipeline, matrices: dict[str, torch.Tensor], file: str | Path
) -> dict[str, Any]:
    """The matrices by the names of diffusers' networks, as its own translation of other layouts gives them."""
    options: dict[str, Any] = {}
    kind: Any = type(pipeline)
    if hasattr(pipeline, "unet"):
        options["unet_config"] = pipeline.unet.config
    if "return_alphas" in inspect.signature(kind.lora_state_dict).parameters:
        options["return_alphas"] = False
    try:
        found = kind.lora_state_dict(dict(matrices), **options)
    # What translations raise on names and shapes that they do not know; some assert them.
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(f"{file} cannot be translated: {' '.join(str(error).split())[:300]}") from error
    return found[0] if isinstance(found, tuple) else found


def _parameter(pipeline: DiffusionPipeline, layer: str) -> torch.nn.Parameter | None:
    """The weight of a layer that is named by its part and its place in it."""
    for old, new in RENAMED:
        layer = re.sub(old, new, layer)
    part, _, name = layer.partition(".")
    network = getattr(pipeline, part, None)
    if not isinstance(network, torch.nn.Module):
        return None
    parameters = dict(network.named_parameters())
    # transformers 5 has taken this prefix from one of its classes; the first processors named the first of two layers.
    names = (name, name.removeprefix("text_model."), f"text_model.{name}", f"{name}.0")
    return next((parameters[f"{found}.weight"] for found in names if f"{found}.weight" in parameters), None)
