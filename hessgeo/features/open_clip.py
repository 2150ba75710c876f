"""The image tower of a CLIP of ``open_clip``, from a local folder or weights file.

Nothing but the loading imports torch, so that settings can be checked whenever they are read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hessgeo.features.checkpoint import FileCheckpoint
from hessgeo.weights.files import read_json_object
from hessgeo.weights.headers import shown_name
from hessgeo.weights.read import tensor_shapes

if TYPE_CHECKING:
    from open_clip import CLIP

    from hessgeo.features.network import NetworkEmbedding

PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
# Stands in for a text tower that nothing here reads.
NO_TEXT = {"context_length": 4, "vocab_size": 2, "width": 8, "heads": 1, "layers": 1}
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

    A folder holds ``open_clip_config.json`` and ``open_clip_model.safetensors``. Of a weights file, and of a folder
    whose text tower lies elsewhere (``hf_model_name``), the image tower alone is read. A folder's images are
    preprocessed as its ``preprocess_cfg`` says, a file's as the tag in ``model`` says, without one as all trainings of
    the model do, and where these differ by OpenAI's mean and standard deviation; see ``Preprocessing``.

    Args:
        checkpoint: the folder or the ``.safetensors`` file.
        model: for a file, the architecture (``ViT-B-32``; OpenAI's weights need one with ``-quickgelu``), or that and
            the tag of its training (``ViT-L-14/laion2b_s32b_b82k``), where trainings of one architecture preprocess
            differently.
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
        """See ``FeatureCheckpoint``."""
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
        """See ``FeatureCheckpoint``; images of any shape have the same."""
        return int(self.config()["embed_dim"])

    def load(
        self,
        image_shape: tuple[int, int, int] | None = None,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> NetworkEmbedding:
        """See ``FeatureCheckpoint``; images of any shape are resized, and layer norms may stay in float32."""
        # Imported here: open_clip takes seconds.
        import open_clip

        from hessgeo.features.network import NetworkEmbedding, Preprocessing
        from hessgeo.weights.precisions import precision_of

        precision = precision_of(dtype)
        self.check()
        if dtype != "float32" and self.config()["vision_cfg"].get("attentional_pool"):
            raise ValueError(
                f"dtype is {dtype!r}, must be float32: {self.path} pools by attention, which open_clip "
                "runs in no other"
            )
        options: dict[str, Any] = {"precision": PRECISIONS[dtype], "device": device, "weights_only": True}
        if self.path.is_dir() and not self.config()["text_cfg"].get("hf_model_name"):
            clip = open_clip.create_model(f"local-dir:{self.path}", **options)
        else:
            clip = _image_tower(self, options)
        settings = clip.visual.preprocess_cfg
        size = settings["size"]
        preprocessing = Preprocessing(
            size=(size, size) if isinstance(size, int) else tuple(size),
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
            interpolation=settings.get("interpolation", "bicubic"),
        )
        return NetworkEmbedding(
            clip, preprocessing, dimension=self.dimension(), dtype=precision, encode=clip.encode_image
        )

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
            config = read_json_object(place)
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


def _image_tower(files: OpenClipCheckpoint, options: dict[str, Any]) -> CLIP:
    """A CLIP with the image tower of a file, and a text tower that is never used."""
    import open_clip
    from open_clip.convert import convert_state_dict
    from open_clip.factory import load_state_dict
    from open_clip.model import resize_pos_embed

    name = f"local-dir:{files.path}" if files.path.is_dir() else files.architecture
    options = options | {"text_cfg": dict(NO_TEXT), "load_weights": False, "pretrained_text": False}
    if "multimodal_cfg" in files.config():
        options["multimodal_cfg"] = dict(NO_TEXT)
    if files.model:
        options["force_preprocess_cfg"] = _preprocessing(files.architecture, files.tag)
    # It warns that it loads no weights; they come next.
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        clip = open_clip.create_model(name, **options)
    finally:
        logging.disable(disabled)
    state = convert_state_dict(clip, load_state_dict(str(files.weights), weights_only=True))
    resize_pos_embed(state, clip)
    visual = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    try:
        clip.visual.load_state_dict(visual, strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"{files.weights} does not fit {name}: {' '.join(str(error).split())[:300]}"
        ) from error
    return clip


def _preprocessing(architecture: str, tag: str) -> dict[str, Any]:
    """The mean, standard deviation and filter of a training, or those that all trainings of a model share."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag and tag not in tags:
        raise ValueError(f"model {architecture} has no training {tag!r}, must be one of {', '.join(tags)}")
    keys = ("mean", "std", "interpolation")
    settings = [get_pretrained_cfg(architecture, name) for name in ([tag] if tag else tags)]
    gelu = bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu", False))
    if tag and bool(settings[0].get("quick_gelu", False)) != gelu:
        raise ValueError(
            f"the training {tag} of {architecture} has {'the plain' if gelu else 'the quick'} GELU, must be "
            f"loaded as {architecture.removesuffix('-quickgelu') if gelu else architecture + '-quickgelu'}"
        )
    found = [{key: setting[key] for key in keys if key in setting} for setting in settings]
    return found[0] if found and all(setting == found[0] for setting in found) else {}
