"""The image mosaic: what the system draws at each place of its parameter box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8
from matplotlib.figure import Figure
from skimage.transform import resize

from hessgeo.grids import Grid
from hessgeo.plotting import style

CANVAS_PIXELS = 4096  # along one side: 600 dpi at the printed width
# Around each tile, a thirty-second of its side: images whose ink reaches their edge would run into each other.
GUTTER_SIDE, GUTTER_GREY = 32, 110


@style.theme()
def draw(
    images: UInt8[np.ndarray, "n h w c"], grid: Grid, boundaries: Sequence[Mapping[str, Any]], *, tiles: int
) -> tuple[Figure, pd.DataFrame]:
    """Images at their parameter positions, phase boundaries on top.

    Args:
        images: one image per node of ``grid``, row by row; one or three channels.
        grid: the parameter box and its nodes.
        boundaries: ``{"points": [[a, b], ...]}`` each.
        tiles: images along the longer side of the box, at most one a node; along the other side as many as
            keep the images' shape. Each tile shows the node nearest to its centre.

    Returns:
        The figure, 7 inches wide, and a row per tile: ``tile_row`` (from the bottom), ``tile_column``, ``a``
        and ``b`` of the node shown, ``sample``.

    Raises:
        ValueError: if images and grid differ in number, or ``tiles`` is not positive.
    """
    if len(images) != grid.size:
        raise ValueError(
            f"{len(images)} images do not fill a grid of {grid.shape}, which has {grid.size} nodes"
        )
    if tiles < 1:
        raise ValueError(f"tiles is {tiles}; at least one is needed")
    a, b = grid.axes
    ratio = style.height_ratio(a, b)
    node_a, node_b = _tile_nodes(images.shape, grid, ratio, tiles)
    samples = node_a[:, None] * grid.shape[1] + node_b[None, :]
    figure, (axes,) = style.map_row(1, ratio, width=style.DOUBLE_COLUMN, top=0.08)
    canvas = _canvas(images, samples)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if canvas.ndim == 2 else {}
    axes.imshow(canvas, extent=style.pixel_extent(a, b), aspect="equal", interpolation="none", **grey)
    style.draw_boundaries(axes, boundaries, colour="#ffd400", width=1.1)
    style.label_parameters(axes)
    column, row = np.meshgrid(np.arange(len(node_a)), np.arange(len(node_b)), indexing="ij")
    table = pd.DataFrame(
        {
            "tile_row": row.ravel(),
            "tile_column": column.ravel(),
            "a": np.repeat(a[node_a], len(node_b)),
            "b": np.tile(b[node_b], len(node_a)),
            "sample": samples.ravel(),
        }
    )
    return figure, table


def _tile_nodes(
    image_shape: tuple[int, ...], grid: Grid, ratio: float, tiles: int
) -> tuple[Int[np.ndarray, "ta"], Int[np.ndarray, "tb"]]:
    """Node indices along ``a`` and ``b`` nearest to the tile centres."""
    image_ratio = image_shape[1] / image_shape[2]
    counts = (tiles, tiles * ratio / image_ratio) if ratio <= 1 else (tiles * image_ratio / ratio, tiles)
    shown = [int(np.clip(round(count), 1, nodes)) for count, nodes in zip(counts, grid.shape, strict=True)]
    # Node k covers [k, k + 1) of the axis in node widths, so the centre of tile i lies in node floor(...).
    along_a, along_b = (
        np.floor((np.arange(count) + 0.5) * nodes / count).astype(int)
        for count, nodes in zip(shown, grid.shape, strict=True)
    )
    return along_a, along_b


def _canvas(
    images: UInt8[np.ndarray, "n h w c"], samples: Int[np.ndarray, "ta tb"]
) -> UInt8[np.ndarray, "height width *rgb"]:
    """All tiles in one image, first row at the top: ``b`` falls down the rows, ``a`` grows to the right."""
    height, width = images.shape[1:3]
    room = CANVAS_PIXELS // max(samples.shape)
    enlarge = max(1, min(GUTTER_SIDE, room) // max(height, width))
    gutter = max(1, min(enlarge * max(height, width), room) // GUTTER_SIDE)
    scale = min(1.0, (room - 2 * gutter) / (enlarge * max(height, width)))
    shape = (max(1, int(enlarge * height * scale)), max(1, int(enlarge * width * scale)))
    rows = []
    for index in samples.T[::-1]:
        tiles = images[index].repeat(enlarge, axis=1).repeat(enlarge, axis=2)
        if scale < 1:
            tiles = np.stack([resize(tile, shape, anti_aliasing=True, preserve_range=True) for tile in tiles])
        tiles = np.pad(tiles, ((0, 0), (gutter,) * 2, (gutter,) * 2, (0, 0)), constant_values=GUTTER_GREY)
        rows.append(np.concatenate(list(tiles), axis=1).round().astype(np.uint8))
    return style.displayable(np.concatenate(rows, axis=0))
