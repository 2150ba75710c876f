"""Images of the latents of a slice, made in batches of one shape."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from jaxtyping import Float, Int, UInt8

from hessgeo.systems.base import System
from hessgeo.systems.slices import LatentSlice


class SlicedSystem(System):
    """A model of images on a slice of its latent space.

    Args:
        latent_slice: the map from parameters to latents.
        image_shape: (height, width, channels) of an image.
        batch_size: images a forward pass; the last batch is padded, so that each pass has the same shape and rounds the
            same way wherever a shard ends.

    Raises:
        ValueError: on a batch size below one.
    """

    def __init__(
        self, latent_slice: LatentSlice, image_shape: tuple[int, int, int], *, batch_size: int
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, must be at least 1")
        self.latent_slice, self.batch_size = latent_slice, batch_size
        self.sample_shape, self.dtype = image_shape, np.dtype(np.uint8)

    @abstractmethod
    def generate(
        self, latents: Float[np.ndarray, "n *latent"], index: Int[np.ndarray, "n"], seed: int
    ) -> UInt8[np.ndarray, "n h w c"]:
        """The image of each latent; its randomness comes from ``(seed, index[i])`` alone."""

    def sample(
        self, t: Float[np.ndarray, "n 2"], index: Int[np.ndarray, "n"], seed: int
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Draw one image at each parameter point, see ``System.sample``; errors as of ``generate``."""
        images = np.empty((len(t), *self.sample_shape), dtype=self.dtype)
        for start in range(0, len(t), self.batch_size):
            rows = np.arange(start, min(start + self.batch_size, len(t)))
            padded = np.resize(rows, self.batch_size)
            latents = self.latent_slice.latents(t[padded])
            images[rows] = self.generate(latents, index[padded], seed)[: len(rows)]
        return images

    def trial(self, batch_size: int) -> None:
        """Make as many images: all the memory that a batch takes."""
        corner = np.array([[low for low, _ in self.latent_slice.extent]])
        latents = self.latent_slice.latents(np.repeat(corner, batch_size, axis=0))
        self.generate(latents, np.arange(batch_size), 0)
