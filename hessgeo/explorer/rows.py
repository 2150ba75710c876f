"""Measured posteriors of all sources, small enough for a page: each on a coarser grid, in eight bits."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from hessgeo.evaluation.posterior_rows import measured_rows as data_rows
from hessgeo.grids import Grid
from hessgeo.posteriors import Posterior

CELLS = 32  # along a side, at most
MOST = 8_000_000  # numbers of all rows
PORTION = 512  # sources at once


@dataclass(frozen=True)
class Rows:
    """Posteriors of all sources on a coarse grid.

    Attributes:
        picture: a PNG, a tile a source, ``columns`` in a row; in a tile the first parameter goes to the
            right and the second upwards. Grey values are ``255 sqrt(p / max p)`` of each source.
        shape: cells of a tile along the parameters.
        columns: tiles in a row.
    """

    picture: bytes
    shape: tuple[int, int]
    columns: int


def coarse_shape(grid: Grid, count: int) -> tuple[int, int] | None:
    """Cells along the parameters that so many sources may have; None if that would be fewer than eight."""
    side = min(CELLS, int((MOST / count) ** 0.5))
    return None if side < 8 else (min(side, grid.shape[0]), min(side, grid.shape[1]))


def measured_rows(posterior: Posterior, embedding: Float[np.ndarray, "n d"], grid: Grid) -> Rows | None:
    """The data posterior of every source; None of a network, which keeps a few, or of too many sources.

    Args:
        posterior: by distances of embeddings.
        embedding: of all samples.
        grid: the nodes.
    """
    shape = coarse_shape(grid, len(embedding))
    if posterior.support is not None or shape is None:
        return None
    coded = []
    for first in range(0, len(embedding), PORTION):
        sources = np.arange(first, min(first + PORTION, len(embedding)))
        rows = data_rows(posterior, embedding, sources, Grid(grid.extent, shape))
        coded.append(quantised(np.asarray(rows).reshape(-1, *shape)))
    return _picture(np.concatenate(coded))


def quantised(rows: Float[np.ndarray, "s a b"]) -> UInt8[np.ndarray, "s a b"]:
    """``255 sqrt(p / max p)`` of each row, rounded: small probabilities keep digits."""
    most = rows.max(axis=(1, 2), keepdims=True)
    return np.rint(255 * np.sqrt(rows / np.where(most > 0, most, 1))).astype(np.uint8)


def _picture(coded: UInt8[np.ndarray, "s a b"]) -> Rows:
    count, across, up = coded.shape
    columns = int(np.ceil(count**0.5))
    lines = -(-count // columns)
    tiles = np.zeros((lines * columns, up, across), np.uint8)
    tiles[:count] = coded.transpose(0, 2, 1)[:, ::-1]
    whole = (
        tiles.reshape(lines, columns, up, across).transpose(0, 2, 1, 3).reshape(lines * up, columns * across)
    )
    file = io.BytesIO()
    Image.fromarray(whole).save(file, format="PNG", optimize=True)
    return Rows(file.getvalue(), (across, up), columns)
