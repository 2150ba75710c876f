"""The image tower of a CLIP of ``open_clip``, from a local folder or weights file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hessgeo.features.network import NetworkEmbedding, Preprocessing, network_dtype
from hessgeo.features.open_clip_checkpoint import OpenClipCheckpoint

if TYPE_CHECKING:
    from open_clip import CLIP

PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
# Stands in for a text tower that nothing here reads.
NO_TEXT = {"context_length": 4, "vocab_size": 2, "width": 8, "heads": 1, "layers": 1}


class OpenClipEmbedding(NetworkEmbedding):
    """Unit embeddings of images by a CLIP, preprocessed as its ``preprocess_cfg`` says, see ``Preprocessing``.

    Args:
        clip: an open_clip model with its preprocessing set, as ``open_clip.create_model`` leaves it.
        dimension: dimension of its embedding.
        dtype: the precision it was made for.
    """

    def __init__(self, clip: CLIP, dimension: int, *, dtype: torch.dtype = torch.float32) -> None:
        self.clip = clip.eval().requires_grad_(False)
        settings = clip.visual.preprocess_cfg
        size = settings["size"]
        preprocessing = Preprocessing(
            size=(size, size) if isinstance(size, int) else tuple(size),
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
            interpolation=settings.get("interpolation", "bicubic"),
        )
        device = next(clip.parameters()).device
        super().__init__(clip.encode_image, preprocessing, dimension=dimension, device=device, dtype=dtype)


def load_open_clip(
    checkpoint: str | Path,
    *,
    model: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    image_shape: tuple[int, int, int] | None = None,
) -> OpenClipEmbedding:
    """Load the embedding from a folder in open_clip's layout, or from a weights file and a model's name.

    A folder holds ``open_clip_config.json`` and ``open_clip_model.safetensors``. Of a weights file, and of a
    folder whose text tower lies elsewhere (``hf_model_name``), the image tower alone is read. A file's images
    are preprocessed as the tag in ``model`` says (``ViT-L-14/laion2b_s32b_b82k``), without one as all
    trainings of the model do, and where these differ by OpenAI's mean and standard deviation. Nothing is
    downloaded, and weights in a pickle are refused.

    Args:
        checkpoint: the folder or the ``.safetensors`` file.
        model: for a file, the name of the architecture; OpenAI's weights need one with ``-quickgelu``.
        dtype: ``float32``, ``float16`` or ``bfloat16``; layer norms stay in float32 where open_clip has it so.
        device: where to run the network.
        image_shape: not used; every image is resized to the model's input.

    Raises:
        ValueError: if a file is missing or does not fit the model, or on an unknown model or dtype.
    """
    # Imported here: open_clip takes seconds.
    import open_clip

    precision = network_dtype(dtype)
    files = OpenClipCheckpoint(checkpoint, model)
    files.check()
    if dtype != "float32" and files.config()["vision_cfg"].get("attentional_pool"):
        raise ValueError(
            f"dtype is {dtype!r}, must be float32: {files.path} pools by attention, which open_clip "
            "runs in no other"
        )
    options: dict[str, Any] = {"precision": PRECISIONS[dtype], "device": device, "weights_only": True}
    if files.path.is_dir() and not files.config()["text_cfg"].get("hf_model_name"):
        clip = open_clip.create_model(f"local-dir:{files.path}", **options)
    else:
        clip = _image_tower(files, options)
    return OpenClipEmbedding(clip, files.dimension(), dtype=precision)


def open_clip_dimension(checkpoint: str | Path, model: str | None = None) -> int:
    """Dimension of the embedding of a folder or file, from its configuration alone.

    Raises:
        ValueError: if there is no valid configuration.
    """
    return OpenClipCheckpoint(checkpoint, model).dimension()


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
