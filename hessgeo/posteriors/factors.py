"""Embeddings as factors of squared distances, tile by tile, in memory or in a file that is mapped."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from hessgeo.posteriors.kernels import Rows, check_embedding, mean_embedding

# A tile of 256 rows and so many columns (0.5 MiB), its exponential, and a float64 copy of some of its rows stay in the
# second-level cache of one core.
COLUMNS = 512
_BLOCK = 2**23  # bytes of embeddings that are read at once


@dataclass(frozen=True, eq=False)
class Factors:
    """Columns ``[E_j, 1, |E_j|^2]`` of centred embeddings; with ``[-2 E_i, |E_i|^2, 1]`` they make ``|E_i - E_j|^2``.

    Attributes:
        tiles: ``COLUMNS`` samples each, the last one's places beyond them unused.
        samples: their number.
        mapped: the file that holds the tiles, or None: they are in memory.
    """

    tiles: Float32[np.ndarray, "tile e column"]
    samples: int
    mapped: mmap.mmap | None = None

    @classmethod
    def of(cls, embedding: Rows, *, file: str | Path | None = None) -> Factors:
        """The factors of embeddings, in memory or read in slices.

        Args:
            embedding: of every sample.
            file: where to keep the factors, to be mapped; None: in memory.

        Raises:
            ValueError: if the embedding is no matrix of finite numbers.
        """
        if len(embedding.shape) != 2 or embedding.shape[0] < 1:
            check_embedding(np.asarray(embedding))
        n, d = embedding.shape
        shape, mapped = (-(-n // COLUMNS), d + 2, COLUMNS), None
        if file is None:
            tiles = np.empty(shape, np.float32)
        else:
            with Path(file).open("w+b") as stream:
                stream.truncate(4 * shape[0] * shape[1] * shape[2])
                mapped = mmap.mmap(stream.fileno(), 0)
            tiles = np.frombuffer(mapped, np.float32).reshape(shape)
        factors = cls(tiles, n, mapped)
        # Distances do not change, and |E|^2, whose rounding limits them, becomes as small as it can be.
        mean = mean_embedding(embedding)
        step = max(1, _BLOCK // (4 * d * COLUMNS)) * COLUMNS
        for first in range(0, n, step):
            block = np.asarray(embedding[first : first + step])
            for start in range(first, min(first + step, n), COLUMNS):
                part, tile = block[start - first : start - first + COLUMNS], factors.tile(start)
                np.subtract(part.T, mean[:, None], out=tile[:d], casting="same_kind")
                tile[d] = 1.0
                tile[d + 1] = np.einsum("dn,dn->n", tile[:d], tile[:d], dtype=float)
                factors.release(start)
        return factors

    @property
    def width(self) -> int:
        """Samples of a tile."""
        return self.tiles.shape[2]

    def tile(self, start: int) -> Float32[np.ndarray, "e column"]:
        """The tile whose first sample this is."""
        return self.tiles[start // self.width, :, : min(self.width, self.samples - start)]

    def sources(self, start: int, rows: int) -> Float32[np.ndarray, "row e"]:
        """Left factors ``[-2 E_i, |E_i|^2, 1]`` of some samples in a row."""
        first = start // self.width * self.width
        own = np.concatenate([self.tile(one) for one in range(first, start + rows, self.width)], axis=1)
        factor = own[:, start - first : start - first + rows]
        return np.ascontiguousarray(np.concatenate([-2.0 * factor[:-2], factor[[-1, -2]]]).T)

    def release(self, start: int) -> None:
        """Take a tile of a file off this process's memory; it is mapped again when it is asked for."""
        if self.mapped is None:
            return
        size = self.tiles[0].nbytes
        first = start // self.width * size
        # Whole pages alone: those that it shares with its neighbours stay until these are released.
        low = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        high = (first + size) // mmap.PAGESIZE * mmap.PAGESIZE
        if high > low and hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED, low, high - low)
