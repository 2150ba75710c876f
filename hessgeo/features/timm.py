"""Networks of ``timm`` (DINOv2 and other vision transformers, convolutional networks) as embeddings.

Nothing but the loading and the shapes imports timm, which brings torch and takes 20 s.
"""

from __future__ import annotations

import math
import re
import sys
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hessgeo.features.checkpoint import FileCheckpoint
from hessgeo.weights.read import tensor_shapes

if TYPE_CHECKING:
    from hessgeo.features.network import NetworkEmbedding

# Tensors whose shapes follow the size of the input, to which timm resamples them.
RESAMPLED = ("pos_embed", "relative_position", "rel_pos", "attn_mask")
# Beginnings of the names by which transformers calls the same tensors.
TRANSFORMERS = ("embeddings.", "dinov2.", "vit.")

# Sides of a convolutional network's input are multiples of the stride of its last stage.
STRIDE = 32
# What translations of names leave out: the mark of a hidden patch in training, tables of places that follow from the
# size of the input, heads, and the text tower of a CLIP.
UNREAD = re.compile(
    r"(.*\.)?(mask_token|relative_position_index|relative_coords_table|attn_mask|num_batches_tracked|logit_scale)"
    r"|(head|fc|classifier|dino_head|ibot_head)\..+|(text|transformer|token_embedding|ln_final)\..+"
    r"|positional_embedding|text_projection|logit_bias"
)

_REGISTERED = re.compile(r"@register_model\s+def (\w+)\(")
_TRAINING = re.compile(r"^\s+['\"]\w+\.([\w.-]+)\*?['\"]\s*:", re.MULTILINE)


class TimmCheckpoint(FileCheckpoint):
    """A folder in timm's layout, or a weights file of an architecture that timm knows.

    Weights in the layout of a model's authors are translated where timm does so itself. Images are preprocessed by
    mean, standard deviation, filter and size of the network's own data configuration; its ``crop_pct`` is not used, as
    the whole image is resized. A folder's configuration may set another ``input_size`` than that of the training
    (``[3, 224, 224]`` makes DINOv2 five times faster).

    Args:
        checkpoint: the folder (``config.json``, ``model.safetensors``) or the ``.safetensors`` file.
        model: for a file, timm's name of the architecture (``vit_small_patch14_dinov2``), or that and the tag
            of its training (``vit_base_patch16_224.augreg_in21k``), where trainings differ in preprocessing.
    """

    library = "timm"
    config_name = "config.json"
    weights_name = "model.safetensors"
    example = "vit_small_patch14_dinov2"

    @property
    def name(self) -> str:
        """What ``timm.create_model`` makes the network from; no name of this kind leads to a download."""
        return f"local-dir:{Path(self.path).resolve()}" if self.path.is_dir() else str(self.model)

    def check(self) -> None:
        """See ``FeatureCheckpoint``."""
        self._check_name()
        self.check_weights()
        if any(name.startswith(TRANSFORMERS) for name in tensor_shapes(self.weights)):
            raise ValueError(
                f"{self.weights} is in the layout of transformers (embeddings.*), must be in timm's"
            )

    def check_shapes(self) -> None:
        """Refuse weights of other shapes than the network's; this imports timm.

        Raises:
            ValueError: as ``check``, or one line that names the first tensor of another shape.
        """
        self.check()
        channels = self._meta.pretrained_cfg["input_size"][0]
        if channels != 3:
            raise ValueError(f"{self.name} takes images of {channels} channels, must take 3")
        found, expected = tensor_shapes(self.weights), self._meta.state_dict()
        for name in (name for name in expected if name in found):
            shape = tuple(expected[name].shape)
            if tuple(found[name]) != shape and not any(part in name for part in RESAMPLED):
                raise ValueError(
                    f"{self.weights} holds a {tuple(found[name])} tensor {name}, where {self.name} has {shape}"
                )

    def dimension(self, image_shape: tuple[int, int, int] | None = None) -> int:
        """See ``FeatureCheckpoint``; images of any shape have the same.

        Raises:
            ValueError: as ``check_shapes``.
        """
        # Imported here, as everything that brings torch: naming the files of a job needs none of it.
        import torch

        self.check_shapes()
        size = self._meta.pretrained_cfg["input_size"]
        return int(self._meta(torch.empty(1, *size, device="meta")).shape[1])

    def load(
        self,
        image_shape: tuple[int, int, int] | None = None,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> NetworkEmbedding:
        """See ``FeatureCheckpoint``.

        A network that takes inputs of any size gets the images' aspect ratio at its own number of pixels; any other,
        and all without a shape, its own size.
        """
        import timm
        from timm.data import resolve_model_data_config

        from hessgeo.features.network import NetworkEmbedding, Preprocessing
        from hessgeo.weights.precisions import precision_of

        precision = precision_of(dtype)
        self.check_shapes()
        network: Any = timm.create_model(self.name, pretrained=False, num_classes=0)
        _load_weights(network, self)
        size = _input_size(network, image_shape)
        if network.pretrained_cfg.get("fixed_input_size") and size != _own_size(network):
            network.set_input_size(img_size=size)
        network = network.to(device, precision)
        data = resolve_model_data_config(network)
        preprocessing = Preprocessing(size, tuple(data["mean"]), tuple(data["std"]), data["interpolation"])
        return NetworkEmbedding(network, preprocessing, dimension=self.dimension(), dtype=precision)

    @cached_property
    def _meta(self) -> Any:
        """The network without memory for its weights."""
        import timm
        import torch

        with torch.device("meta"):
            return timm.create_model(self.name, pretrained=False, num_classes=0).eval()

    def _check_name(self) -> None:
        """Refuse a folder without a configuration of timm, and a name that is not in its registry."""
        self.check_source()
        architecture, _, tag = (self.model or self._folder_architecture()).partition(".")
        known = architectures()
        self.check_known(architecture, known)
        if self.model and tag and tag not in known[architecture]:
            tags = ", ".join(sorted(known[architecture])) or "none"
            raise ValueError(f"model {architecture} has no training {tag!r}; those of its family: {tags}")

    def _folder_architecture(self) -> str:
        config = self.read_config()
        if "architecture" not in config:
            layout = " but one of transformers" if "model_type" in config else ""
            raise ValueError(
                f"{self.path / self.config_name} names no architecture: not a timm model folder{layout}"
            )
        return str(config["architecture"])


@cache
def architectures() -> dict[str, frozenset[str]]:
    """The architectures that timm has, each with the tags of trainings that its module knows.

    They are read from the text of timm's modules, where each stands below ``@register_model``.
    """
    spec = find_spec("timm")
    folders = (spec.submodule_search_locations if spec else None) or []
    known: dict[str, frozenset[str]] = {}
    for path in (path for folder in folders for path in Path(folder, "models").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tags = frozenset(_TRAINING.findall(text)) - {"untrained"}
        known |= dict.fromkeys(_REGISTERED.findall(text), tags)
    return known


def _load_weights(network: Any, files: TimmCheckpoint) -> None:
    """Fill a network by its family's own translation of names; a tensor too few or too many is an error."""
    import timm
    import torch
    from timm.models import load_state_dict

    from hessgeo.weights.tracing import sources_of, traced

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
    from timm.data import resolve_model_data_config

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
