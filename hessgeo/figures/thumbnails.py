"""Smaller pictures of large images."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8


def shrink(images: UInt8[np.ndarray, "*batch h w c"], side: int) -> UInt8[np.ndarray, "*batch th tw c"]:
    """Images whose longer side is at most ``side`` pixels, by averaging over the area of each new pixel.

    Images that are no larger come back as they are.

    Raises:
        ValueError: if ``side`` is not positive.
    """
    if side < 1:
        raise ValueError(f"side is {side}; at least one pixel is needed")
    height, width = images.shape[-3:-1]
    scale = side / max(height, width)
    if scale >= 1:
        return images
    rows = _area_weights(height, max(1, round(height * scale)))
    columns = _area_weights(width, max(1, round(width * scale)))
    small = np.empty((*images.shape[:-3], len(rows), len(columns), images.shape[-1]), dtype=np.uint8)
    # Image by image: as floats, all of them would take more memory than they do themselves.
    for index in np.ndindex(images.shape[:-3]):
        image = np.tensordot(rows, images[index].astype(np.float32), axes=(1, 0))
        small[index] = np.rint(np.tensordot(columns, image, axes=(1, 1)).transpose(1, 0, 2))
    return small


def _area_weights(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Share of each old pixel in each new one along an axis; rows sum to one."""
    edges = np.linspace(0, old, new + 1)
    pixel = np.arange(old)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (np.maximum(overlap, 0) * new / old).astype(np.float32)
