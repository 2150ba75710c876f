"""Embeddings as functions of real values, without the eight bits of an image, in any precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch.nn import functional

from hessgeo.features.base import Embedding
from hessgeo.features.network import NetworkEmbedding
from hessgeo.features.pixels import PixelEmbedding
from hessgeo.numerics.precision import in_precision

Continuous = Callable[[Float[np.ndarray, "n h w c"]], Float64[np.ndarray, "n d"]]


def continued(embedding: Embedding, dtype: torch.dtype) -> Continuous:
    """An embedding of values from 0 to 1, which at those of eight bits is that of the images.

    Steps of 1/255 would hide what a map does in small windows. A network is brought to the precision, in place;
    preprocessing and normalisation are in float64 or float32, whichever is not below it.

    Raises:
        ValueError: on an embedding that takes eight bits alone.
    """
    if isinstance(embedding, PixelEmbedding):
        return _directions
    if not isinstance(embedding, NetworkEmbedding) or not embedding.preprocessing.mean:
        raise ValueError(
            f"a {type(embedding).__name__} takes eight bits alone, must be open_clip, timm or pixels"
        )
    network, wide = embedding, torch.float64 if dtype == torch.float64 else torch.float32
    in_precision(network.network, dtype)

    @torch.inference_mode()
    def embed(values: Float[np.ndarray, "n h w c"]) -> Float64[np.ndarray, "n d"]:
        x = torch.from_numpy(np.ascontiguousarray(values)).to(network.device, wide).permute(0, 3, 1, 2)
        features = network.encode(network.preprocessing.of_floats(x).to(dtype)).to(wide)
        return functional.normalize(features, dim=1).double().cpu().numpy()

    return embed


def _directions(values: Float[np.ndarray, "n h w c"]) -> Float64[np.ndarray, "n d"]:
    """Values from -1 to 1 as one vector each, over its norm."""
    flat = 2 * values.reshape(len(values), -1).astype(np.float64) - 1
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)
