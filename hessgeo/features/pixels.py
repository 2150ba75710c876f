"""The plainest embedding: the pixels themselves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from hessgeo.features.base import Embedding, FeatureCheckpoint


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


class PixelCheckpoint(FeatureCheckpoint):
    """The pixels of an image, which need no file."""

    def __init__(self, checkpoint: str | Path | None = None, model: str | None = None) -> None:
        self.model = model

    def check(self) -> None:
        """See ``FeatureCheckpoint``."""
        if self.model is not None:
            raise ValueError(f"model is {self.model!r}, must be null for an embedding by pixels")

    def dimension(self, image_shape: tuple[int, int, int]) -> int:
        """See ``FeatureCheckpoint``."""
        return math.prod(image_shape)

    def files(self) -> list[str]:
        """See ``FeatureCheckpoint``."""
        return []

    def load(
        self,
        image_shape: tuple[int, int, int] | None = None,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> PixelEmbedding:
        """See ``FeatureCheckpoint``; precision and device change nothing, and without a shape there is none."""
        self.check()
        if image_shape is None:
            raise ValueError(
                "image_shape is None, must be (height, width, channels) for an embedding by pixels"
            )
        return PixelEmbedding(image_shape)
