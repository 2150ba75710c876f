"""The image tower of a CLIP in open_clip's local folder format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor
from torch.nn import functional

from hessgeo.embeddings.base import Embedding

if TYPE_CHECKING:
    from open_clip import CLIP

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"


class OpenClipEmbedding(Embedding):
    """Unit embeddings of images by a CLIP.

    Images are made three-channel, resized to the model's input (the whole image, its aspect ratio not kept;
    the filter is the model's own, bicubic unless it says bilinear, with antialiasing), and standardised by
    the mean and standard deviation of the model's ``preprocess_cfg``.

    Args:
        clip: an open_clip model with its preprocessing set, as ``open_clip.create_model`` leaves it.
        dimension: dimension of its embedding.
    """

    def __init__(self, clip: CLIP, dimension: int) -> None:
        self.clip = clip.eval().requires_grad_(False)
        self.dimension = dimension
        self.device = next(clip.parameters()).device
        settings = clip.visual.preprocess_cfg
        size = settings["size"]
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.filter = "bilinear" if settings.get("interpolation") == "bilinear" else "bicubic"
        self.mean = torch.tensor(settings["mean"], device=self.device).view(1, 3, 1, 1)
        self.std = torch.tensor(settings["std"], device=self.device).view(1, 3, 1, 1)

    def preprocess(self, images: UInt8[np.ndarray, "n h w c"]) -> Float[Tensor, "n 3 height width"]:
        """Bring images to the model's channels, size and standardisation.

        Raises:
            ValueError: if the images have neither one nor three channels.
        """
        if images.shape[3] not in (1, 3):
            raise ValueError(f"images have {images.shape[3]} channels, must be 1 (grey) or 3 (RGB)")
        x = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2).float() / 255
        if x.shape[2:] != self.size:
            x = functional.interpolate(x, self.size, mode=self.filter, align_corners=False, antialias=True)
            # A bicubic filter overshoots at edges.
            x = x.clamp(0, 1)
        return (x.expand(-1, 3, -1, -1) - self.mean) / self.std

    @torch.inference_mode()
    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """Embed images in one forward pass, see ``Embedding``."""
        features = self.clip.encode_image(self.preprocess(images)).float()
        return functional.normalize(features, dim=1).cpu().numpy()


def load_open_clip(checkpoint: str | Path, *, device: str = "cpu") -> OpenClipEmbedding:
    """Load the embedding from a folder with ``open_clip_config.json`` and ``open_clip_model.safetensors``.

    Nothing is downloaded, and weights in a pickle are refused.

    Raises:
        ValueError: if a file is missing, or the model's text tower would have to be fetched from elsewhere.
    """
    # Imported here: reading a folder's dimension need not wait the seconds that open_clip takes to import.
    import open_clip

    folder = Path(checkpoint).resolve()
    dimension = open_clip_dimension(folder)
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder} has no {WEIGHTS}; pickled weights (.bin, .pt, .pth) are refused")
    if _model_config(folder)["text_cfg"].get("hf_model_name"):
        raise ValueError(f"{folder} names a text tower by hf_model_name, which the folder does not hold")
    clip = open_clip.create_model(f"local-dir:{folder}", device=device, weights_only=True)
    return OpenClipEmbedding(clip, dimension)


def open_clip_dimension(checkpoint: str | Path) -> int:
    """Dimension of the embedding of a folder, from its configuration alone.

    Raises:
        ValueError: if the folder has no valid ``open_clip_config.json``.
    """
    return int(_model_config(Path(checkpoint))["embed_dim"])


def _model_config(folder: Path) -> dict:
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(f"{folder} has no {CONFIG}: not an open_clip model folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8")).get("model_cfg", {})
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if missing:
        raise ValueError(f"{path} lacks model_cfg.{missing[0]}: not an open_clip model")
    return config
