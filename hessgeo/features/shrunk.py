"""Images made smaller before an embedding sees them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

from hessgeo.features.base import Embedding


def shrunk(shape: tuple[int, int], size: int | None) -> tuple[int, int]:
    """Height and width of images once the shorter side is at most ``size``; None leaves all as they are."""
    height, width = shape
    share = 1.0 if size is None else min(1.0, size / min(shape))
    return round(height * share), round(width * share)


class ShrunkEmbedding(Embedding):
    """An embedding of smaller copies of images, as if they had been saved at that size.

    The filter is linear with antialiasing, over as many pixels as become one, and the result has eight bits, so that
    what the embedding sees is the same on every device.

    Args:
        embedding: of images of that size.
        size: (height, width).
    """

    def __init__(self, embedding: Embedding, size: tuple[int, int]) -> None:
        self.embedding, self.size, self.dimension = embedding, size, embedding.dimension

    def shrink(self, images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n height width c"]:
        """The smaller copies."""
        import torch  # here, for sizes are asked whenever settings are read
        from torch.nn import functional

        x = torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, 1)
        return functional.interpolate(x, self.size, mode="bilinear", antialias=True).movedim(1, -1).numpy()

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """Embed images, see ``Embedding``."""
        return self.embedding(self.shrink(images))
