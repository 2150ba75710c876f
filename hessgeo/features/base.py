"""Image embeddings: images in, unit vectors out, and the map of one over many images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, UInt8

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


class EmbeddingCheckpoint(ABC):
    """What can be said of an embedding before its weights are read.

    Args:
        checkpoint: a folder or a weights file; ``None`` for a kind that needs neither.
        model: name of the architecture, which a weights file does not say.
    """

    @abstractmethod
    def __init__(self, checkpoint: str | Path | None, model: str | None) -> None: ...

    @abstractmethod
    def check(self) -> None:
        """Refuse what could not be loaded.

        Raises:
            ValueError: one line that names the file or the model and what is wrong with it.
        """

    @abstractmethod
    def dimension(self, image_shape: tuple[int, int, int]) -> int:
        """Dimension of the embedding of images of shape (height, width, channels)."""

    @abstractmethod
    def files(self) -> list[str]:
        """The files that the embedding is read from."""


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
