"""Images of the latents of a slice, made in batches of one shape."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Int, UInt8

from hessgeo.systems.base import System
from hessgeo.systems.slices import LATENT, LatentSlice

# What a model is told beside the latent, a number for each image, by the name of the condition.
Conditions = Mapping[str, Float[np.ndarray, "n"]]
NO_CONDITIONS: Conditions = MappingProxyType({})


class SlicedSystem(System):
    """A model of images on a slice of its latent space.

    Args:
        latent_slice: the map from parameters to latents.
        image_shape: (height, width, channels) of an image.
        batch_size: images a forward pass; the last batch is padded, so that each pass has the same shape and rounds the
            same way wherever a shard ends.

    Attributes:
        varied: the conditions that may differ from image to image, which axes of the slice may be.
        shared: those of them that all images of a batch have in common, for they change the network.

    Raises:
        ValueError: on a batch size below one, or an axis of the slice that is no such condition.
    """

    varied: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    def __init__(
        self, latent_slice: LatentSlice, image_shape: tuple[int, int, int], *, batch_size: int
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, must be at least 1")
        if strange := set(latent_slice.axes) - {LATENT} - self.varied:
            known = ", ".join(sorted({LATENT} | self.varied))
            raise ValueError(f"an axis of the slice is {min(strange)}, must be one of {known}")
        self.latent_slice, self.batch_size = latent_slice, batch_size
        self.sample_shape, self.dtype = image_shape, np.dtype(np.uint8)

    @abstractmethod
    def generate(
        self,
        latents: Float[np.ndarray, "n *latent"],
        index: Int[np.ndarray, "n"],
        seed: int,
        conditions: Conditions,
    ) -> UInt8[np.ndarray, "n h w c"]:
        """The image of each latent under its conditions; its randomness comes from ``(seed, index[i])`` alone."""

    def sample(
        self, t: Float[np.ndarray, "n d"], index: Int[np.ndarray, "n"], seed: int
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Draw one image at each parameter point, see ``System.sample``; errors as of ``generate``."""
        images = np.empty((len(t), *self.sample_shape), dtype=self.dtype)
        for rows in self._batches(self.latent_slice.conditions(t), len(t)):
            padded = np.resize(rows, self.batch_size)
            images[rows] = self._images(t[padded], index[padded], seed)[: len(rows)]
        return images

    def trial(self, batch_size: int) -> None:
        """Make as many images: all the memory that a batch takes."""
        corner = np.array([[low for low, _ in self.latent_slice.extent]])
        self._images(np.repeat(corner, batch_size, axis=0), np.arange(batch_size), 0)

    def _images(
        self, t: Float[np.ndarray, "n d"], index: Int[np.ndarray, "n"], seed: int
    ) -> UInt8[np.ndarray, "n h w c"]:
        return self.generate(self.latent_slice.latents(t), index, seed, self.latent_slice.conditions(t))

    def _batches(self, conditions: Conditions, count: int) -> Iterator[Int[np.ndarray, "k"]]:
        """The rows of each batch: in their order, and alike in what a batch has in common."""
        common = [values for name, values in conditions.items() if name in self.shared]
        _, kind = np.unique(np.stack([np.zeros(count), *common]), axis=1, return_inverse=True)
        for one in np.unique(kind):
            rows = np.flatnonzero(kind == one)
            yield from np.split(rows, range(self.batch_size, len(rows), self.batch_size))
