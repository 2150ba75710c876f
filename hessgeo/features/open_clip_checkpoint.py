"""A CLIP of open_clip before its weights are read: what its configuration and the header of its file say.

Nothing here imports torch, so that settings can be checked whenever they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hessgeo.features.checkpoint import FileCheckpoint
from hessgeo.weights.files import read_json
from hessgeo.weights.headers import shown_name
from hessgeo.weights.read import tensor_shapes

# Beginnings of the names by which transformers calls the same tensors.
TRANSFORMERS = ("vision_model.", "text_model.", "visual_projection.")
# Beginnings of the names of both towers, of which the text's may lie unread.
TOWERS = (
    "visual.", "text.", "text_decoder.", "transformer.", "token_embedding.", "positional_embedding", "ln_final.",
    "text_projection", "logit_scale", "logit_bias", "attn_mask", "input_resolution", "context_length", "vocab_size",
)  # fmt: skip
# MobileCLIP's own files, whose names open_clip translates itself.
MOBILE_CLIP = "image_encoder.model."


class OpenClipCheckpoint(FileCheckpoint):
    """A folder in open_clip's layout, or a weights file of an architecture that open_clip has built in.

    Args:
        checkpoint: the folder or the ``.safetensors`` file.
        model: for a file, the architecture (``ViT-B-32``), or that and the tag of its training
            (``ViT-L-14/laion2b_s32b_b82k``), where trainings of one architecture preprocess differently.
    """

    library = "open_clip"
    config_name = "open_clip_config.json"
    weights_name = "open_clip_model.safetensors"
    example = "ViT-B-32"

    @property
    def architecture(self) -> str:
        """The name of the architecture, without the tag of a training."""
        return (self.model or "").partition("/")[0]

    @property
    def tag(self) -> str:
        """The tag of a training, or nothing."""
        return (self.model or "").partition("/")[2]

    def check(self) -> None:
        """See ``EmbeddingCheckpoint``."""
        config = self.config()
        self.check_weights()
        # Networks trained in parallel carry a prefix, which open_clip takes off too.
        shapes = {name.removeprefix("module."): s for name, s in tensor_shapes(self.weights).items()}
        if any(name.startswith(TRANSFORMERS) for name in shapes):
            raise ValueError(
                f"{self.weights} is a CLIP in the layout of transformers (vision_model.*), "
                "must be in open_clip's (visual.*)"
            )
        if any(name.startswith(MOBILE_CLIP) for name in shapes):
            return
        if not any(name.startswith("visual.") for name in shapes):
            raise ValueError(f"{self.weights} has no tensor visual.*: not a model of open_clip")
        for name in shapes:
            if not name.startswith(TOWERS):
                raise ValueError(
                    f"{self.weights} holds {shown_name(name)}, which no CLIP of open_clip has a place for"
                )
        for name, expected in _expected_shapes(config):
            found = shapes.get(name)
            if found is None or tuple(found) != expected:
                holds = "no" if found is None else f"a {tuple(found)}"
                about = f"the model {self.model}" if self.model else self.config_name
                raise ValueError(f"{self.weights} holds {holds} tensor {name}, where {about} has {expected}")

    def dimension(self, image_shape: tuple[int, int, int] | None = None) -> int:
        """See ``EmbeddingCheckpoint``; images of any shape have the same."""
        return int(self.config()["embed_dim"])

    def config(self) -> dict[str, Any]:
        """The ``model_cfg``: widths and depths of both towers.

        Raises:
            ValueError: if there is neither a folder with a valid configuration nor a file with a known model.
        """
        self.check_source()
        if self.path.is_dir():
            place, config = self.path / self.config_name, self.read_config().get("model_cfg", {})
        else:
            built_in = built_in_models()
            self.check_known(self.architecture, built_in)
            place = built_in[self.architecture]
            config = read_json(place)
        missing = [name for name in ("embed_dim", "vision_cfg", "text_cfg") if name not in config]
        if missing:
            raise ValueError(f"{place} lacks model_cfg.{missing[0]}: not an open_clip model")
        return config


def built_in_models() -> dict[str, Path]:
    """The configurations that open_clip comes with, by the name of the model."""
    spec = find_spec("open_clip")
    folders = (spec.submodule_search_locations if spec else None) or []
    return {path.stem: path for folder in folders for path in Path(folder, "model_configs").glob("*.json")}


def _expected_shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Tensors that tell one image tower from another, and their shapes; none of a tower by timm."""
    vision, dimension = config["vision_cfg"], config["embed_dim"]
    if vision.get("timm_model_name"):
        return
    # What open_clip takes where a configuration says nothing.
    width, patch, layers = vision.get("width", 768), vision.get("patch_size", 16), vision.get("layers", 12)
    if isinstance(layers, list):
        yield "visual.conv1.weight", (width // 2, 3, 3, 3)
        yield "visual.attnpool.c_proj.weight", (dimension, 32 * width)
        return
    yield "visual.conv1.weight", (width, 3, patch, patch)
    yield f"visual.transformer.resblocks.{layers - 1}.ln_1.weight", (width,)
    if not vision.get("attentional_pool"):
        yield "visual.proj", (width, dimension)
