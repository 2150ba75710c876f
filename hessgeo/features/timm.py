"""Networks of ``timm`` (DINOv2 and other vision transformers, convolutional networks) as embeddings."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import load_state_dict
from torch import nn

from hessgeo.features.network import NetworkEmbedding, Preprocessing, network_dtype
from hessgeo.features.timm_checkpoint import TimmCheckpoint
from hessgeo.weights.tracing import sources_of, traced

# Sides of a convolutional network's input are multiples of the stride of its last stage.
STRIDE = 32
# What translations of names leave out: the mark of a hidden patch in training, tables of places that follow from the
# size of the input, heads, and the text tower of a CLIP.
UNREAD = re.compile(
    r"(.*\.)?(mask_token|relative_position_index|relative_coords_table|attn_mask|num_batches_tracked|logit_scale)"
    r"|(head|fc|classifier|dino_head|ibot_head)\..+|(text|transformer|token_embedding|ln_final)\..+"
    r"|positional_embedding|text_projection|logit_bias"
)


class TimmEmbedding(NetworkEmbedding):
    """Unit embeddings of images by the pooled features of a network, see ``Preprocessing``.

    Mean, standard deviation, filter and size are those of the network's own data configuration; its
    ``crop_pct`` is not used, as the whole image is resized.

    Args:
        network: a timm model without a classifier.
        size: (height, width) of its input.
        dimension: number of its pooled features.
        dtype: the precision it has.
    """

    def __init__(
        self, network: nn.Module, size: tuple[int, int], dimension: int, *, dtype: torch.dtype = torch.float32
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        data = resolve_model_data_config(network)
        preprocessing = Preprocessing(size, tuple(data["mean"]), tuple(data["std"]), data["interpolation"])
        device = next(network.parameters()).device
        super().__init__(network, preprocessing, dimension=dimension, device=device, dtype=dtype)


def load_timm(
    checkpoint: str | Path,
    *,
    model: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    image_shape: tuple[int, int, int] | None = None,
) -> TimmEmbedding:
    """Load the embedding from a folder in timm's layout, or from a weights file and a model's name.

    Weights in the layout of a model's authors are translated where timm does so itself. A folder's
    configuration may set another ``input_size`` than that of the training (``[3, 224, 224]`` makes DINOv2 five
    times faster). Nothing is downloaded, and weights in a pickle are refused.

    Args:
        checkpoint: the folder (``config.json``, ``model.safetensors``) or the ``.safetensors`` file.
        model: for a file, timm's name of the architecture, with the tag of a training or without.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        device: where to run the network.
        image_shape: (height, width, channels) of the images. A network that takes inputs of any size gets
            their aspect ratio at its own number of pixels; any other, and all without a shape, its own size.

    Raises:
        ValueError: if a file is missing or does not fit the model, or on an unknown model or dtype.
    """
    precision = network_dtype(dtype)
    files = TimmCheckpoint(checkpoint, model)
    files.check_shapes()
    network: Any = timm.create_model(files.name, pretrained=False, num_classes=0)
    _load_weights(network, files)
    size = _input_size(network, image_shape)
    if network.pretrained_cfg.get("fixed_input_size") and size != _own_size(network):
        network.set_input_size(img_size=size)
    network = network.to(device, precision)
    return TimmEmbedding(network, size, files.dimension(), dtype=precision)


def _load_weights(network: Any, files: TimmCheckpoint) -> None:
    """Fill a network by its family's own translation of names; a tensor too few or too many is an error."""
    loaded: dict[str, Any] = load_state_dict(str(files.weights), weights_only=True)
    state = {name: traced(tensor, name) for name, tensor in loaded.items()}
    architecture = network.pretrained_cfg["architecture"]
    family = sys.modules[timm.models.model_entrypoint(architecture).__module__]
    translate = getattr(family, "checkpoint_filter_fn", None)
    try:
        state = translate(dict(state), network) if translate else state
        classifiers = network.pretrained_cfg.get("classifier") or ()
        heads = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
        kept = {
            key: value.as_subclass(torch.Tensor)
            for key, value in state.items()
            if key.rpartition(".")[0] not in heads
        }
        network.load_state_dict(kept, strict=True)
    # What a translation of names meets in a file of another model.
    except (RuntimeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{files.weights} does not fit {files.name}: {reason}") from error
    used = frozenset[str]().union(*map(sources_of, state.values()))
    unread = [name for name in loaded if name not in used and not UNREAD.fullmatch(name)]
    if unread:
        raise ValueError(f"{files.weights} holds {unread[0]}, which {files.name} has no place for")


def _own_size(network: Any) -> tuple[int, int]:
    height, width = resolve_model_data_config(network)["input_size"][1:]
    return height, width


def _input_size(network: Any, image_shape: tuple[int, int, int] | None) -> tuple[int, int]:
    """The network's own size, or one of the images' aspect ratio with as many pixels, where it takes that."""
    own = _own_size(network)
    fixed = network.pretrained_cfg.get("fixed_input_size")
    flexible = hasattr(network, "set_input_size") and getattr(network, "pos_embed", None) is not None
    if image_shape is None or image_shape[0] == image_shape[1] or (fixed and not flexible):
        return own
    steps = network.patch_embed.patch_size if fixed else (STRIDE, STRIDE)
    ratio = math.sqrt(image_shape[0] * own[1] / (image_shape[1] * own[0]))
    height, width = (
        max(1, round(side * scale / step)) * step
        for side, scale, step in zip(own, (ratio, 1 / ratio), steps, strict=True)
    )
    return height, width
