"""A study at one sight: its phases, the free energy, the volume of its metric, and the images where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int, UInt8
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.free_energy import LABEL, without_affine_part
from hessgeo.figures.mosaic import show_mosaic
from hessgeo.figures.phases import colours_of, draw_map
from hessgeo.grids import Grid

LEFT, GAP, RIGHT, TOP, BETWEEN, BELOW = 0.5, 0.62, 0.12, 0.5, 0.62, 0.4  # room around the maps, inches
MOST = 3.0  # height of a map, inches


@style.theme()
def draw(
    free_energy: xr.Dataset,
    metric: xr.Dataset,
    phases: xr.Dataset,
    found: Mapping[str, Any],
    tiles: tuple[UInt8[np.ndarray, "m h w c"], Int[np.ndarray, "ta tb"]] | None,
) -> tuple[Figure, pd.DataFrame]:
    """Phases (A), ``F`` without its affine part (B), ``ln det g`` (C), and images where they come from (D).

    Args:
        free_energy: ``free_energy`` on dims ``(a, b)``.
        metric: ``log_determinant`` and ``positive_definite`` on the same.
        phases: ``label`` on the same.
        found: its ``phases`` and ``boundaries``.
        tiles: images and the nodes that they stand for, see ``mosaic.draw``; None to leave D out.

    Returns:
        The figure, 7 inches wide, and a row per node: ``a``, ``b``, ``label``, ``F_affine_removed_nats_per_N``,
        ``log_determinant``, ``positive_definite``.
    """
    a, b = style.axes_of(free_energy)
    label, value = style.field(phases, "label").astype(int), without_affine_part(free_energy)
    definite = style.field(metric, "positive_definite").astype(bool)
    volume = np.where(definite, style.field(metric, "log_determinant"), np.nan)
    ratio = style.height_ratio(a, b)
    width = min((style.DOUBLE_COLUMN - LEFT - GAP - RIGHT) / 2, MOST / ratio)
    height = width * ratio
    figure = Figure(figsize=(style.DOUBLE_COLUMN, TOP + BETWEEN + BELOW + 2 * height))
    places = [(LEFT + k * (width + GAP), BELOW + row * (height + BETWEEN)) for row in (1, 0) for k in (0, 1)]
    panels = [style.place(figure, *corner, width, height) for corner in places[: 3 if tiles is None else 4]]
    draw_map(panels[0], label, a, b, colours_of([phase["label"] for phase in found["phases"]]))
    for axes, field, scale, words in (
        (panels[1], value, style.SEQUENTIAL, LABEL),
        (panels[2], volume, style.RIDGE, r"$\ln\,\det\,g$  ($g$ in nats per $N$)"),
    ):
        image = style.show_field(axes, field, a, b, cmap=scale, norm=style.linear_norm(field))
        style.colour_bar(image, words)
    style.mark_cells(panels[2], ~definite, a, b)
    if tiles is not None:
        grid = Grid(((float(a[0]), float(a[-1])), (float(b[0]), float(b[-1]))), (len(a), len(b)))
        show_mosaic(panels[3], *tiles, grid)
    for k, axes in enumerate(panels):
        on_images = k == 3
        style.draw_boundaries(
            axes,
            found["boundaries"],
            colour="#ffd400" if on_images else "white",
            width=0.8 if on_images else 0.5,
        )
        style.label_parameters(axes, horizontal=k >= 2, vertical=k % 2 == 0)
        if k < 2:
            axes.set_xlabel("")
        style.panel_letter(axes, "ABCD"[k])
    columns = {"label": label, "F_affine_removed_nats_per_N": value, "log_determinant": volume}
    return figure, style.node_table(a, b, {**columns, "positive_definite": definite})
