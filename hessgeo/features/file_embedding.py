"""The embedding of images by a network in a file."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped, UInt8

from hessgeo.features.base import Embedding
from hessgeo.features.network import Preprocessing
from hessgeo.features.network_file import NetworkFileCheckpoint
from hessgeo.weights.networks import load_network


class FileEmbedding(Embedding):
    """Unit embeddings of images by a network in a file: what it gives, flattened and normalised in float32.

    Args:
        checkpoint: the network, checked.
        image_shape: (height, width, channels) of the images, which says the size of a network that takes any.
        device: where to run it.

    Raises:
        ValueError: if the network cannot be loaded or run, or takes images of any size and no shape is given.
    """

    def __init__(
        self,
        checkpoint: NetworkFileCheckpoint,
        image_shape: tuple[int, int, int] | None,
        device: str,
    ) -> None:
        seen, self.images, self.file = checkpoint.seen, checkpoint.images, checkpoint.file
        size = seen.size or (image_shape and image_shape[:2])
        if not size:
            raise ValueError(f"{checkpoint.path} takes images of any size: image_shape must be given")
        self.preprocessing = Preprocessing(
            size, seen.mean, seen.std, channels=seen.channels, layout=seen.layout
        )
        self.network = load_network(self.file, [checkpoint.features.name], device)
        self.batch = self.images.shape[0] if self.images.shape else None
        self.dimension = self._features(np.zeros((1, *size, 1), np.uint8)).shape[1]

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """Embed images, see ``Embedding``.

        Raises:
            ValueError: if the network gives other than a row of numbers for each image.
        """
        features = self._features(images)
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        return features / np.where(norms > 0, norms, 1)

    def _features(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """What the network gives for each image, as many at once as it takes."""
        batch = self.batch or len(images)
        parts = []
        for start in range(0, len(images), batch):
            rows = np.arange(start, min(start + batch, len(images)))
            given = self.preprocess(images[np.resize(rows, batch)])
            parts.append(self._rows(self.network({self.images.name: given})[0], batch)[: len(rows)])
        return np.concatenate(parts)

    def _rows(self, found: Shaped[np.ndarray, "*shape"], count: int) -> Float[np.ndarray, "n d"]:
        if found.ndim < 2 or len(found) != count or found.dtype.kind != "f":
            must = f"real numbers of shape ({count}, ...)"
            raise ValueError(f"{self.file.path} gives {found.dtype} of shape {found.shape}, must give {must}")
        return found.reshape(count, -1)

    def preprocess(self, images: UInt8[np.ndarray, "n h w c"]) -> Shaped[np.ndarray, "n *input"]:
        """Bring images to the network's size, channels and standardisation, see ``Preprocessing``."""
        given = self.preprocessing(images, torch.device("cpu")).numpy()
        return np.ascontiguousarray(given)
