"""Images in the ways that generators give them, as the eight-bit pixels that studies keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped, UInt8

from hessgeo.systems.images import eight_bits

CHANNELS = (1, 3)  # grey and colour
BEYOND = 0.5  # by which floats may leave [0, 1] or [-1, 1], as those of decoders do, and are clipped
SIGNED = -0.25  # below, the least value is that of images from -1; from there up to 0 it might be either


@dataclass(frozen=True)
class Convention:
    """How a generator gives its images.

    Attributes:
        channels_last: whether channels are the last axis, or the first; None for grey images without such an axis.
        values: of black and of full intensity; None for eight bits.
    """

    channels_last: bool | None
    values: tuple[float, float] | None

    @classmethod
    def of(cls, images: Shaped[np.ndarray, "n *image"], values: tuple[float, float] | None) -> Convention:
        """The convention that images show by shape, type and range.

        Args:
            images: some of all places.
            values: of black and of full intensity, where they are known.

        Raises:
            ValueError: one line, where they could mean several things, or nothing.
        """
        return cls(_channels_last(images.shape), _values(images, values))

    def pixels(self, images: Shaped[np.ndarray, "n *image"]) -> UInt8[np.ndarray, "n h w c"]:
        """The images as ``(n, H, W, C)`` of eight bits, what lies beyond black and full intensity clipped.

        Raises:
            ValueError: one line, if they are not of this convention.
            FloatingPointError: if a value is not finite.
        """
        if self.channels_last is None:
            images = images[..., None]
        elif not self.channels_last:
            images = np.moveaxis(images, 1, -1)
        if images.ndim != 4 or images.shape[-1] not in CHANNELS:
            raise ValueError(f"images of shape {images.shape} are not like those before them")
        if self.values is None:
            if images.dtype != np.uint8:
                raise ValueError(f"images of {images.dtype} follow some of uint8")
            return np.ascontiguousarray(images)
        if not np.isfinite(images).all():
            raise FloatingPointError("generate gave an image with values that are not finite")
        low, high = self.values
        if (low, high) == (0.0, 1.0) and images.min() < SIGNED:
            raise ValueError(
                f"images that seemed to lie in [0, 1] reach {images.min():.3g} elsewhere: "
                "give output_range=(-1, 1), or the values of black and white that hold"
            )
        return np.stack([eight_bits(image, low, high) for image in images])


def _channels_last(shape: tuple[int, ...]) -> bool | None:
    """Where the channels are, by the shape of a batch."""
    if len(shape) == 3:
        return None
    first, last = (len(shape) == 4 and shape[axis] in CHANNELS for axis in (1, -1))
    if first == last:
        why = "both ends could be the channels" if first else "neither end is 1 or 3 channels"
        raise ValueError(f"images of shape {shape}: {why}; allowed: (n, H, W, C), (n, C, H, W) or (n, H, W)")
    return last


def _values(images: np.ndarray, given: tuple[float, float] | None) -> tuple[float, float] | None:
    """The values of black and of full intensity, by type and range."""
    if given is not None and np.shape(given) != (2,):
        raise ValueError(f"output_range {given!r} is not allowed; allowed: (black, white), increasing")
    if not images.size:
        raise ValueError(f"images of shape {images.shape} have no pixels")
    if images.dtype == np.uint8:
        if given is not None:
            raise ValueError(f"output_range {given} is not allowed; allowed: none for images of uint8")
        return None
    if images.dtype.kind != "f":
        raise ValueError(
            f"images of {images.dtype} are not allowed; allowed: uint8, or floats in [0, 1] or [-1, 1]"
        )
    if given is not None:
        low, high = map(float, given)
        if not -np.inf < low < high < np.inf:
            raise ValueError(f"output_range {given} is not allowed; allowed: (black, white), increasing")
        return low, high
    low, high = float(images.min()), float(images.max())
    if not (low >= -1 - BEYOND and high <= 1 + BEYOND):  # so written that NaN fails, too
        raise ValueError(
            f"float images from {low:.3g} to {high:.3g} lie neither in [0, 1] nor in [-1, 1]: {_TELL}"
        )
    if SIGNED <= low < 0:
        raise ValueError(
            f"float images from {low:.3g} to {high:.3g} could be of [0, 1] or of [-1, 1]: {_TELL}"
        )
    return (-1.0, 1.0) if low < 0 else (0.0, 1.0)


_TELL = "give output_range=(black, white)"
