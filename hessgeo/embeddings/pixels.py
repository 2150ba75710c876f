"""The plainest embedding: the pixels themselves."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32, UInt8

from hessgeo.embeddings.base import Embedding


class PixelEmbedding(Embedding):
    """Pixels ``x / 127.5 - 1`` of an image, flattened and divided by their norm.

    No 8-bit value maps to exactly 0, so every image has a direction, a black or a white one too.

    Args:
        image_shape: (height, width, channels).
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.image_shape = tuple(image_shape)
        self.dimension = math.prod(self.image_shape)

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """Embed images, see ``Embedding``.

        Raises:
            ValueError: if the images have another shape.
        """
        if images.shape[1:] != self.image_shape:
            raise ValueError(f"images have shape {images.shape[1:]}, the embedding takes {self.image_shape}")
        pixels = images.reshape(len(images), -1) / np.float32(127.5) - np.float32(1)
        return pixels / np.linalg.norm(pixels, axis=1, keepdims=True)
