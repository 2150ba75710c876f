"""Image embeddings: images in, unit vectors out, and the map of one over many images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Float64, Real, UInt8

if TYPE_CHECKING:
    # Checks of settings pass through here, and Dask's arrays take three seconds to import.
    import dask.array as da


class Embedding(ABC):
    """A map from images to the unit sphere.

    Attributes:
        dimension: dimension of the embedding.
    """

    dimension: int

    @abstractmethod
    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """Embed images; every row has unit L2 norm."""


Features = Callable[[np.ndarray], np.ndarray]
"""A map from images (n, height, width, channels) of eight bits to one row of float32 each."""


def directions(
    features: Real[np.ndarray, "n d"],
) -> tuple[Float64[np.ndarray, "n d"], Bool[np.ndarray, "n"]]:
    """Features over their norms, and which rows have no direction: zeros, and what is not finite, which become NaN.

    The same for all units of the features: squares of very small or large numbers would leave the range of floats.
    """
    rows = features.astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    known = np.isfinite(largest) & (largest > 0)
    # By a power of two, which changes no digit.
    rows = np.ldexp(np.where(known, rows, np.nan), -np.frexp(np.where(known, largest, 1))[1])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), ~known[:, 0]


class FeatureCheckpoint(ABC):
    """What a map from images to features is read from, and what can be said of it before its weights are read."""

    @abstractmethod
    def check(self) -> None:
        """Refuse what could not be loaded, from its configuration and the header of its weights.

        Raises:
            ValueError: one line that names the file or the model and what is wrong with it.
        """

    @abstractmethod
    def dimension(self, image_shape: tuple[int, int, int]) -> int:
        """Number of features of images of shape (height, width, channels), without reading any weights."""

    @abstractmethod
    def files(self) -> list[str]:
        """The files that the map is read from, which a job waits for."""

    @abstractmethod
    def load(
        self,
        image_shape: tuple[int, int, int] | None = None,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> Features:
        """Load the map; nothing is downloaded, and weights in a pickle are refused.

        Args:
            image_shape: (height, width, channels) of the images.
            dtype: precision of a network, ``float32``, ``float16`` or ``bfloat16``.
            device: where to run it.

        Raises:
            ValueError: as ``check``, if a file does not fit the model, or on an unknown dtype.
        """


def embed(images: da.Array, embedding: Embedding, *, threads: int) -> Float32[np.ndarray, "n d"]:
    """Embed a Dask array of images, one task per chunk along its first axis.

    Args:
        images: images (n, h, w, c) u1; the chunk length along ``n`` is the batch of the embedding.
        embedding: the map.
        threads: chunks worked on at once; each may use as many threads as the caller lets torch have.

    Raises:
        ValueError: if ``images`` has no row or is not of four dimensions.
        FloatingPointError: if an embedding is not a unit vector (NaN included).
    """
    if images.ndim != 4 or images.shape[0] == 0:
        raise ValueError(f"images have shape {images.shape}, must be (n, h, w, c) with n at least 1")
    whole = images.rechunk({1: -1, 2: -1, 3: -1})
    blocks = whole.map_blocks(
        embedding,
        dtype=np.float32,
        drop_axis=(2, 3),
        chunks=(whole.chunks[0], (embedding.dimension,)),
        meta=np.empty((0, 0), dtype=np.float32),
    )
    vectors = blocks.compute(scheduler="threads", num_workers=threads)
    norms = np.linalg.norm(vectors, axis=1)
    if not np.allclose(norms, 1, atol=1e-5):
        worst = int(np.nanargmax(np.where(np.isfinite(norms), np.abs(norms - 1), np.inf)))
        raise FloatingPointError(f"the embedding of image {worst} has norm {norms[worst]}, must be 1")
    return vectors
