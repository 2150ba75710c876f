"""Images of a study in few compressed pictures: one of all for the map, and blocks of large tiles for a close look."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from hessgeo.figures.thumbnails import shrink

OVERVIEW = 2_048  # pixels along the longer side of the picture of all images, about
THUMBNAIL = 32  # of an image in it, at most
BLOCK = 1_024  # of a picture of large tiles, about
SMALL = 64  # pixels; images that are no larger are kept as they are, if all of them are less than the budget
SIDES = (512, 384, 256, 192, 160, 128, 96, 64, 48, 32)  # of tiles that are tried, largest first
QUALITIES = (85, 75, 65)
TRIALS = 4  # blocks by which the size of all is judged
BUDGET = 16_000_000  # bytes of all pictures: a third more as text, so that a page stays under 25 MB

Cells = Int[np.ndarray, "n 2"]
Read = Callable[[np.ndarray], UInt8[np.ndarray, "k h w c"]]


@dataclass(frozen=True)
class Level:
    """All images at one size.

    Attributes:
        tile: height and width of an image in it, pixels.
        across: tiles along a side of each picture.
        kind: ``png`` or ``webp``.
        blocks: the pictures by their column and row.
    """

    tile: tuple[int, int]
    across: int
    kind: str
    blocks: dict[tuple[int, int], bytes]

    @property
    def size(self) -> int:
        """Bytes of all pictures."""
        return sum(map(len, self.blocks.values()))


@dataclass(frozen=True)
class Atlas:
    """The images of a study at one size or two.

    Attributes:
        levels: the smallest first.
        shape: columns and rows of tiles.
        cells: column and row of each image.
        source: height and width of an image before.
        quality: of lossy pictures; None where nothing was lost.
    """

    levels: tuple[Level, ...]
    shape: tuple[int, int]
    cells: Cells
    source: tuple[int, int]
    quality: int | None

    @property
    def words(self) -> str:
        """What is shown of the images."""
        (height, width), (tall, wide) = self.source, self.levels[-1].tile
        if self.quality is None:
            return f"Images as they are, {width} × {height} pixels"
        told = f"Images of {width} × {height} pixels"
        return f"{told} shown at {wide} × {tall}, WebP of quality {self.quality}"


def grid_cells(shape: tuple[int, int]) -> tuple[Cells, tuple[int, int]]:
    """Cells of nodes, the first parameter to the right and the second upwards, as on a map; and their columns, rows."""
    i, j = np.indices(shape)
    return np.stack([i.ravel(), shape[1] - 1 - j.ravel()], axis=1), (shape[0], shape[1])


def scattered_cells(count: int) -> tuple[Cells, tuple[int, int]]:
    """Cells of samples that are no grid, one after another; and their columns, rows."""
    columns = ceil(count**0.5)
    rows = ceil(count / columns)
    index = np.arange(count)
    return np.stack([index % columns, index // columns], axis=1), (columns, rows)


def make_atlas(
    read: Read, source: tuple[int, int, int], cells: Cells, shape: tuple[int, int], *, budget: int = BUDGET
) -> Atlas:
    """Pack images; small ones without loss, large ones at the largest size and quality that fit into a budget.

    Args:
        read: rows, in increasing order, to their images.
        source: height, width and channels of an image, one channel or three.
        cells: column and row of each image.
        shape: columns and rows.
        budget: bytes of all pictures.

    Raises:
        ValueError: if images have another number of channels.
    """
    if source[2] not in (1, 3):
        raise ValueError(f"images have {source[2]} channels; 1 (grey) or 3 (RGB) can be drawn")
    side, longest = max(source[:2]), max(shape)
    if side <= SMALL and len(cells) * int(np.prod(source)) <= budget:
        across = max(1, (2 * OVERVIEW) // side)
        level = _level(read, source, cells, side, across, None)
        return Atlas((level,), shape, cells, source[:2], None)
    small = int(min(side, THUMBNAIL, max(12, OVERVIEW // longest)))
    overview = _level(read, source, cells, small, longest, QUALITIES[0])
    tile, quality = _largest(read, source, cells, shape, budget - overview.size)
    if tile <= small:
        return Atlas((overview,), shape, cells, source[:2], QUALITIES[0])
    detail = _level(read, source, cells, tile, max(1, BLOCK // tile), quality)
    return Atlas((overview, detail), shape, cells, source[:2], quality)


def _largest(
    read: Read, source: tuple[int, int, int], cells: Cells, shape: tuple[int, int], budget: int
) -> tuple[int, int]:
    """The largest tile, and its best quality, of which all are judged to fit; the smallest if none does."""
    for side in sorted({min(side, max(source[:2])) for side in SIDES}, reverse=True):
        across = max(1, BLOCK // side)
        blocks = list(_members(cells, across))
        chosen = [blocks[k] for k in np.unique(np.linspace(0, len(blocks) - 1, TRIALS).astype(int))]
        known = [(key, shrink(read(rows), side), places) for key, rows, places in chosen]
        tiles = sum(len(small) for _, small, _ in known)
        for quality in QUALITIES:
            taken = sum(len(_picture(small, places, across, quality)) for _, small, places in known)
            # A tenth is kept for blocks that are richer than those tried.
            if 1.1 * taken / tiles * len(cells) <= budget:
                return side, quality
    return SIDES[-1], QUALITIES[-1]


def _members(cells: Cells, across: int) -> Iterator[tuple[tuple[int, int], np.ndarray, Cells]]:
    """Of each block its column and row, the images in it in increasing order, and their places in it."""
    blocks = cells // across
    order = np.lexsort((np.arange(len(cells)), blocks[:, 1], blocks[:, 0]))
    starts = np.flatnonzero(np.any(np.diff(blocks[order], axis=0, prepend=-1) != 0, axis=1))
    for rows in np.split(order, starts[1:]):
        yield (int(blocks[rows[0], 0]), int(blocks[rows[0], 1])), rows, cells[rows] % across


def _level(
    read: Read, source: tuple[int, int, int], cells: Cells, side: int, across: int, quality: int | None
) -> Level:
    blocks, tile = {}, (0, 0)
    for key, rows, places in _members(cells, across):
        small = np.concatenate([shrink(read(part), side) for part in _portions(rows, source)])
        tile = (int(small.shape[1]), int(small.shape[2]))
        blocks[key] = _picture(small, places, across, quality)
    return Level(tile, across, "png" if quality is None else "webp", blocks)


def _portions(rows: np.ndarray, source: tuple[int, int, int]) -> list[np.ndarray]:
    """Rows in portions whose images take no more than about 200 MB."""
    most = max(1, int(2e8 // np.prod(source)))
    return np.split(rows, range(most, len(rows), most))


def _picture(tiles: UInt8[np.ndarray, "k h w c"], places: Cells, across: int, quality: int | None) -> bytes:
    """One picture of tiles at their places; as large as they need."""
    height, width = tiles.shape[1:3]
    columns, rows = places.max(axis=0) + 1
    whole = np.zeros((rows * height, columns * width, tiles.shape[-1]), np.uint8)
    for tile, (column, row) in zip(tiles, places, strict=True):
        whole[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    picture, file = Image.fromarray(whole[..., 0] if whole.shape[-1] == 1 else whole), io.BytesIO()
    if quality is None:
        picture.save(file, format="PNG", optimize=True)
    else:
        picture.save(file, format="WEBP", quality=quality, method=4)
    return file.getvalue()
