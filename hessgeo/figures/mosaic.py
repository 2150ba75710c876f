"""The image mosaic: what the system draws at each place of its parameter box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from hessgeo.figures import style
from hessgeo.figures.thumbnails import shrink
from hessgeo.grids import Grid
from hessgeo.store.shards import StoredArray

CANVAS_PIXELS = (
    2304  # along one side, at most: 330 dpi at the printed width, 96 pixels a tile where there are 24
)
# Around each tile, a thirty-second of its side: images whose ink reaches their edge would run into each other.
GUTTER_SIDE, GUTTER_GREY = 32, 110
BLOCK = 32  # images in memory at their full size


def gather(
    phases: Mapping[str, Any], points: StoredArray, images: StoredArray, *, grid: Grid, tiles: int
) -> dict[str, Any]:
    """The image of each tile: that of the sample nearest to its node.

    Args:
        phases: of the study.
        points: parameters of all samples.
        images: of all samples.
        grid: the parameter box and its nodes.
        tiles: see ``tile_nodes``.
    """
    nodes = tile_nodes(grid, images.shape[1:], tiles=tiles)
    # On a grid the nearest sample of a node is its own; of a scattered design it stands for it.
    _, samples = cKDTree(grid.frame.into(points[:])).query(grid.unit.points[nodes.ravel()])
    return {
        "images": read_tiles(images, samples, nodes),
        "nodes": nodes,
        "grid": grid,
        "boundaries": phases["boundaries"],
        "samples": samples,
    }


def read_tiles(
    images: StoredArray, samples: Int[np.ndarray, "m"], nodes: Int[np.ndarray, "ta tb"]
) -> UInt8[np.ndarray, "m h w c"]:
    """The images of some samples, read block by block, no larger than tiles are drawn."""
    blocks = np.array_split(samples, -(-len(samples) // BLOCK))
    return np.concatenate([shrink(images[block], tile_side(nodes)) for block in blocks])


def tile_nodes(grid: Grid, image_shape: tuple[int, ...], *, tiles: int) -> Int[np.ndarray, "ta tb"]:
    """The node whose image each tile of a mosaic shows: the one nearest to its centre.

    Args:
        grid: the parameter box and its nodes.
        image_shape: (H, W, C) of an image.
        tiles: images along the longer side of the box, at most one a node; along the other side as many as
            keep the images' shape.

    Raises:
        ValueError: if ``tiles`` is not positive.
    """
    if tiles < 1:
        raise ValueError(f"tiles is {tiles}; at least one is needed")
    ratio, image_ratio = style.height_ratio(*grid.axes), image_shape[0] / image_shape[1]
    counts = (tiles, tiles * ratio / image_ratio) if ratio <= 1 else (tiles * image_ratio / ratio, tiles)
    shown = [int(np.clip(round(count), 1, nodes)) for count, nodes in zip(counts, grid.shape, strict=True)]
    # Node k covers [k, k + 1) of the axis in node widths, so the centre of tile i lies in node floor(...).
    along_a, along_b = (
        np.floor((np.arange(count) + 0.5) * nodes / count).astype(int)
        for count, nodes in zip(shown, grid.shape, strict=True)
    )
    return along_a[:, None] * grid.shape[1] + along_b


def tile_side(nodes: Int[np.ndarray, "ta tb"]) -> int:
    """Pixels of a tile's longer side that a mosaic has room for."""
    room = CANVAS_PIXELS // max(nodes.shape)
    return max(1, room - 2 * max(1, room // GUTTER_SIDE))


@style.theme()
def draw(
    images: UInt8[np.ndarray, "m h w c"],
    nodes: Int[np.ndarray, "ta tb"],
    grid: Grid,
    boundaries: Sequence[Mapping[str, Any]],
    samples: Int[np.ndarray, "m"] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Images at their parameter positions, phase boundaries on top.

    Args:
        images: the image of each tile, in the order of ``nodes``; one or three channels, of any size.
        nodes: node of ``grid`` that each tile shows, ``a`` along the first axis, see ``tile_nodes``.
        grid: the parameter box and its nodes.
        boundaries: ``{"points": [[a, b], ...]}`` each.
        samples: whose images they are; those of the nodes if None.

    Returns:
        The figure, 7 inches wide, and a row per tile: ``tile_row`` (from the bottom), ``tile_column``, ``a``
        and ``b`` of the node shown, ``sample``.

    Raises:
        ValueError: if images and tiles differ in number.
    """
    if len(images) != nodes.size:
        raise ValueError(f"{len(images)} images do not fill {nodes.shape} tiles, which are {nodes.size}")
    a, b = grid.axes
    figure, (axes,) = style.map_row(1, style.height_ratio(a, b), width=style.DOUBLE_COLUMN, top=0.08)
    show_mosaic(axes, images, nodes, grid)
    style.draw_boundaries(axes, boundaries, colour="#ffd400", width=1.1)
    style.label_parameters(axes)
    column, row = np.indices(nodes.shape)
    table = pd.DataFrame(
        {
            "tile_row": row.ravel(),
            "tile_column": column.ravel(),
            "a": a[nodes.ravel() // grid.shape[1]],
            "b": b[nodes.ravel() % grid.shape[1]],
            "sample": nodes.ravel() if samples is None else samples,
        }
    )
    return figure, table


def show_mosaic(
    axes: Axes, images: UInt8[np.ndarray, "m h w c"], nodes: Int[np.ndarray, "ta tb"], grid: Grid
) -> None:
    """Draw all tiles over the box of a grid; see ``draw``."""
    picture = canvas(images, nodes.shape)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if picture.ndim == 2 else {}
    look = style.smoothing(tile_side(nodes), images.shape[1:])
    axes.imshow(picture, extent=style.pixel_extent(*grid.axes), aspect="equal", interpolation=look, **grey)


def canvas(
    images: UInt8[np.ndarray, "m h w c"], shape: tuple[int, ...]
) -> UInt8[np.ndarray, "height width *rgb"]:
    """All tiles in one image, first row at the top: ``b`` falls down the rows, ``a`` grows to the right."""
    side, room = max(images.shape[1:3]), CANVAS_PIXELS // max(shape)
    enlarge = max(1, min(GUTTER_SIDE, room) // side)
    gutter = max(1, min(enlarge * side, room) // GUTTER_SIDE)
    rows = []
    for index in np.arange(len(images)).reshape(shape).T[::-1]:
        tiles = images[index].repeat(enlarge, axis=1).repeat(enlarge, axis=2)
        tiles = shrink(tiles, max(1, room - 2 * gutter))
        tiles = np.pad(tiles, ((0, 0), (gutter,) * 2, (gutter,) * 2, (0, 0)), constant_values=GUTTER_GREY)
        rows.append(np.concatenate(list(tiles), axis=1))
    return style.displayable(np.concatenate(rows, axis=0))
