"""A network of timm before its weights are read: its configuration, and what the header of its file says."""

from __future__ import annotations

import re
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hessgeo.features.checkpoint import FileCheckpoint
from hessgeo.weights.read import tensor_shapes

# Tensors whose shapes follow the size of the input, to which timm resamples them.
RESAMPLED = ("pos_embed", "relative_position", "rel_pos", "attn_mask")
# Beginnings of the names by which transformers calls the same tensors.
TRANSFORMERS = ("embeddings.", "dinov2.", "vit.")

_REGISTERED = re.compile(r"@register_model\s+def (\w+)\(")
_TRAINING = re.compile(r"^\s+['\"]\w+\.([\w.-]+)\*?['\"]\s*:", re.MULTILINE)


class TimmCheckpoint(FileCheckpoint):
    """A folder in timm's layout, or a weights file of an architecture that timm knows.

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
        """See ``EmbeddingCheckpoint``; nothing here imports timm, which brings torch and takes 20 s."""
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
        """See ``EmbeddingCheckpoint``; images of any shape have the same.

        Raises:
            ValueError: as ``check_shapes``.
        """
        # Imported here, as everything that brings torch: naming the files of a job needs none of it.
        import torch

        self.check_shapes()
        size = self._meta.pretrained_cfg["input_size"]
        return int(self._meta(torch.empty(1, *size, device="meta")).shape[1])

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
