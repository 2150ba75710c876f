"""The slopes of the free energy over the images of the plane: whether a plateau is one kind of image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hessgeo.figures import mosaic, style
from hessgeo.grids import Grid
from hessgeo.store.shards import StoredArray

OPACITY = 0.55  # of the colours over the images


def gather(
    free_energy: xr.Dataset,
    fields: xr.Dataset,
    phases: Mapping[str, Any],
    points: StoredArray,
    images: StoredArray,
    *,
    grid: Grid,
    tiles: int,
) -> dict[str, Any]:
    """The images of the tiles, with the fields that are drawn over them."""
    shown = mosaic.gather(phases, points, images, grid=grid, tiles=tiles)
    shown.pop("samples")
    return {"free_energy": free_energy, "label": style.field(fields, "label").astype(int), **shown}


@style.theme()
def draw(
    free_energy: xr.Dataset,
    label: Int[np.ndarray, "a b"],
    images: UInt8[np.ndarray, "m h w c"],
    nodes: Int[np.ndarray, "ta tb"],
    grid: Grid,
    boundaries: Sequence[Mapping[str, Any]],
) -> tuple[Figure, pd.DataFrame]:
    """``dF/da`` (A) and ``dF/db`` (B) in colours over the images, with the boundaries of phases.

    Args:
        free_energy: ``gradient (a, b, i)``, nats per ``N``.
        label: phase of each node.
        images: see ``mosaic.draw``.
        nodes: see there.
        grid: see there.
        boundaries: see there.

    Returns:
        The figure, 7 inches wide, and a row per node: ``a``, ``b``, ``label`` and both slopes.
    """
    gradient = style.field(free_energy, "gradient")
    fields = {f"dF_d{name}": gradient[..., k] for k, name in enumerate("ab")}
    words = [rf"$\partial F/\partial {name}$ (nats per $N$)" for name in "ab"]
    scales = [style.signed_scale(values) for values in fields.values()]
    return draw_fields(fields, words, scales, label, images, nodes, grid, boundaries)


def draw_fields(
    fields: Mapping[str, Float[np.ndarray, "a b"]],
    words: Sequence[str],
    scales: Sequence[tuple[str, Normalize]],
    label: Int[np.ndarray, "a b"],
    images: UInt8[np.ndarray, "m h w c"],
    nodes: Int[np.ndarray, "ta tb"],
    grid: Grid,
    boundaries: Sequence[Mapping[str, Any]],
) -> tuple[Figure, pd.DataFrame]:
    """Two fields over the same images, each with its colour bar's words and its scale; see ``draw``."""
    figure, panels = style.map_row(2, style.height_ratio(*grid.axes), width=style.DOUBLE_COLUMN, top=0.52)
    for panel, (axes, values) in enumerate(zip(panels, fields.values(), strict=True)):
        mosaic.show_mosaic(axes, images, nodes, grid)
        draw_over(axes, values, grid, boundaries, scales[panel], words[panel])
        style.label_parameters(axes, vertical=panel == 0)
        style.panel_letter(axes, "AB"[panel])
    a, b = grid.axes
    columns = {f"{name}_nats_per_N": values for name, values in fields.items()}
    return figure, style.node_table(a, b, {"label": label, **columns})


def draw_over(
    axes: Axes,
    values: Float[np.ndarray, "a b"],
    grid: Grid,
    boundaries: Sequence[Mapping[str, Any]],
    scale: tuple[str, Normalize],
    title: str,
) -> None:
    """A field in colours through which the images under it are seen."""
    cmap, norm = scale
    image = style.show_field(axes, values, *grid.axes, cmap=cmap, norm=norm)
    style.colour_bar(image, title)
    image.set_alpha(OPACITY)
    style.draw_boundaries(axes, boundaries)
