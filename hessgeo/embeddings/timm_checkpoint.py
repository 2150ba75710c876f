"""A network of timm before its weights are read: its configuration, and what the header of its file says."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from hessgeo.embeddings.checkpoint import FileCheckpoint
from hessgeo.weights import tensor_shapes

# Tensors whose shapes follow the size of the input, to which timm resamples them.
RESAMPLED = ("pos_embed", "relative_position", "rel_pos", "attn_mask")
# Beginnings of the names by which transformers calls the same tensors.
TRANSFORMERS = ("embeddings.", "dinov2.", "vit.")


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
        """See ``EmbeddingCheckpoint``."""
        self._check_name()
        self.check_weights()
        found, expected = tensor_shapes(self.weights), self._meta.state_dict()
        common = [name for name in expected if name in found]
        if not common and any(name.startswith(TRANSFORMERS) for name in found):
            raise ValueError(
                f"{self.weights} is in the layout of transformers (embeddings.*), must be in timm's"
            )
        for name in common:
            shape = tuple(expected[name].shape)
            if tuple(found[name]) != shape and not any(part in name for part in RESAMPLED):
                raise ValueError(
                    f"{self.weights} holds a {tuple(found[name])} tensor {name}, where {self.name} has {shape}"
                )

    def dimension(self, image_shape: tuple[int, int, int] | None = None) -> int:
        """See ``EmbeddingCheckpoint``; images of any shape have the same."""
        # Imported here, as everything that brings torch: naming the files of a job needs none of it.
        import torch

        self._check_name()
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
        import timm

        self.check_source()
        architecture, _, tag = (self.model or self._folder_architecture()).partition(".")
        self.check_known(architecture, timm.list_models())
        trainings = timm.list_pretrained(f"{architecture}.*") if self.model and tag else []
        if self.model and tag and self.model not in trainings:
            tags = ", ".join(name.partition(".")[2] for name in trainings) or "none"
            raise ValueError(f"model {architecture} has no training {tag!r}; those it has: {tags}")
        channels = self._meta.pretrained_cfg["input_size"][0]
        if channels != 3:
            raise ValueError(f"{self.name} takes images of {channels} channels, must take 3")

    def _folder_architecture(self) -> str:
        config = self.read_config()
        if "architecture" not in config:
            layout = " but one of transformers" if "model_type" in config else ""
            raise ValueError(
                f"{self.path / self.config_name} names no architecture: not a timm model folder{layout}"
            )
        return str(config["architecture"])
