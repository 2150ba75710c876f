"""Samples in tiles of near embeddings: each tile lies in a ball, and balls bound distances from below."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Float64, Int64

from hessgeo.posteriors.kernels import Rows, check_embedding
from hessgeo.posteriors.strips import BLOCK

if TYPE_CHECKING:
    from torch import Tensor

TILE = BLOCK  # samples of a tile, at most
_BLOCK = 2**26  # bytes of embeddings that are read at once
_SKETCH = 16  # leading directions by which samples are sorted into tiles
_SAMPLED = 4096  # samples that these directions are found from


@dataclass(frozen=True, eq=False)
class Cut:
    """How samples are sorted into tiles: what jobs on several machines must agree on, whose rounding may differ.

    Attributes:
        order: the sample at each place.
        starts: the first place of each tile, and the number of places.
    """

    order: Int64[np.ndarray, "n"]
    starts: Int64[np.ndarray, "tile_and_one"]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Samples in an order in which near embeddings stand together, cut into tiles.

    Attributes:
        order: the sample at each place.
        starts: the first place of each tile, and the number of places.
        rows: embeddings, place by place, in memory, mapped from a file, or on a device.
        centre: mean of each tile.
        radius: distance from the mean within which all of the tile lie.
    """

    order: Int64[np.ndarray, "n"]
    starts: Int64[np.ndarray, "tile_and_one"]
    rows: Float32[Tensor, "n d"]
    centre: Float64[Tensor, "tile d"]
    radius: Float64[Tensor, "tile"]

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.starts) - 1

    def places(self, tile: int) -> slice:
        """Where a tile stands."""
        return slice(int(self.starts[tile]), int(self.starts[tile + 1]))

    def distance_bounds(self, tile: int) -> Float64[Tensor, "row tile"]:
        """For each sample of a tile what its distance to any sample of every tile is at least.

        By the triangle inequality ``|E_i - E_j| >= |E_i - c_J| - r_J`` of all ``j`` in ``J``, in float64.
        """
        rows = self.rows[self.places(tile)].double()
        # About the tile's own centre: of near tiles, where it matters, a difference of small squares.
        rows, centre = rows - self.centre[tile], self.centre - self.centre[tile]
        squared = (rows**2).sum(1)[:, None] + (centre**2).sum(1) - 2 * rows @ centre.T
        return (squared.clamp(min=0).sqrt() - self.radius).clamp(min=0)


def cut_tiles(embedding: Rows, *, tile: int = TILE) -> Cut:
    """Sort samples into tiles, halving the set across the direction in which it is widest until its parts are tiles.

    It holds ``16 n`` numbers.

    Args:
        embedding: of each sample, read in slices.
        tile: samples of a tile, at most.

    Raises:
        ValueError: if the embedding is no matrix of finite numbers, or a tile holds fewer than four samples.
    """
    if tile < 4:
        raise ValueError(f"tile must be at least 4, not {tile}")
    if len(embedding.shape) != 2 or embedding.shape[0] < 1:
        raise ValueError(
            f"embedding must be a matrix of at least one row, not of shape {tuple(embedding.shape)}"
        )
    return Cut(*_halved(_sketch(embedding), tile))


def make_tiles(
    embedding: Rows,
    *,
    tile: int = TILE,
    cut: Cut | None = None,
    file: str | Path | None = None,
    device: str = "cpu",
) -> Tiles:
    """Samples in tiles, with a copy of their embeddings in that order in memory, in a file or on a device.

    Args:
        embedding: of each sample, read in slices.
        tile: samples of a tile, at most.
        cut: how they are sorted; None: as ``cut_tiles`` does.
        file: where to keep the copy, to be mapped; None: in memory.
        device: where to keep it and the centres.

    Raises:
        ValueError: as ``cut_tiles``.
    """
    import torch  # sorting does without it

    cut = cut_tiles(embedding, tile=tile) if cut is None else cut
    order, starts = cut.order, cut.starts
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    shape = (len(order), embedding.shape[1])
    sorted_rows: np.ndarray = (
        np.empty(shape, np.float32) if file is None else np.memmap(file, np.float32, "w+", shape=shape)
    )
    for part, block in _blocks(embedding):
        sorted_rows[place[part]] = block
    rows = torch.from_numpy(sorted_rows)
    centres, radii = _balls(rows, starts)
    return Tiles(order, starts, rows.to(device), centres.to(device), radii.to(device))


def _blocks(embedding: Rows) -> Iterator[tuple[slice, Float32[np.ndarray, "rows d"]]]:
    """All embeddings, some at a time."""
    n, d = embedding.shape
    step = max(1, _BLOCK // (4 * d))
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        block = np.asarray(embedding[part], dtype=np.float32)
        check_embedding(block)
        yield part, block


def _sketch(embedding: Rows) -> Float32[np.ndarray, "n s"]:
    """Coordinates along the leading principal directions of some samples."""
    n, d = embedding.shape
    chosen = np.sort(np.random.default_rng(0).permutation(n)[:_SAMPLED])
    some = np.concatenate(
        [
            block[chosen[(chosen >= part.start) & (chosen < part.stop)] - part.start]
            for part, block in _blocks(embedding)
        ]
    ).astype(float)
    mean = some.mean(axis=0)
    some -= mean
    directions = np.linalg.eigh(some.T @ some)[1][:, -min(_SKETCH, d) :].astype(np.float32)
    centre = mean.astype(np.float32)
    return np.concatenate([(block - centre) @ directions for _, block in _blocks(embedding)])


def _halved(
    points: Float32[np.ndarray, "n s"], tile: int
) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "tile_and_one"]]:
    """An order of points and where its parts begin, no part larger than a tile and none smaller than half of one."""
    order = np.arange(len(points))
    todo, starts = [(0, len(points))], []
    while todo:
        start, stop = todo.pop()
        if stop - start <= tile:
            starts.append(start)
            continue
        part = order[start:stop]
        about = points[part] - points[part].mean(axis=0)
        widest = np.linalg.eigh((about.T @ about).astype(float))[1][:, -1]
        order[start:stop] = part[np.argsort(about @ widest.astype(np.float32), kind="stable")]
        middle = (start + stop) // 2
        todo += [(middle, stop), (start, middle)]
    return order, np.array([*starts, len(points)])


def _balls(
    rows: Float32[Tensor, "n d"], starts: Int64[np.ndarray, "tile_and_one"]
) -> tuple[Float64[Tensor, "tile d"], Float64[Tensor, "tile"]]:
    """Centre and radius of each tile."""
    import torch

    centres, radii = [], []
    for start, stop in pairwise(starts):
        part = rows[start:stop].double()
        centre = part.mean(0)
        centres.append(centre)
        # A rounding more, so that the farthest sample is inside.
        radii.append((part - centre).norm(dim=1).amax() * (1 + 1e-12))
    return torch.stack(centres), torch.stack(radii)
