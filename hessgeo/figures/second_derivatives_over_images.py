"""The second derivatives of the free energy over the images of the plane: where the images change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int, UInt8
from matplotlib.figure import Figure

from hessgeo.figures import mosaic, style
from hessgeo.figures.first_derivatives_over_images import draw_over, gather
from hessgeo.grids import Grid

__all__ = ["draw", "gather"]

COMPONENTS = {"aa": (0, 0), "bb": (1, 1)}


@style.theme()
def draw(
    free_energy: xr.Dataset,
    label: Int[np.ndarray, "a b"],
    images: UInt8[np.ndarray, "m h w c"],
    nodes: Int[np.ndarray, "ta tb"],
    grid: Grid,
    boundaries: Sequence[Mapping[str, Any]],
) -> tuple[Figure, pd.DataFrame]:
    """``F_aa`` (A) and ``F_bb`` (B), the diagonal of the Fisher metric, over the images, with the boundaries of phases.

    Args:
        free_energy: ``fisher_metric (a, b, i, j)``, nats per ``N``.
        label: phase of each node.
        images: see ``mosaic.draw``.
        nodes: see there.
        grid: see there.
        boundaries: see there.

    Returns:
        The figure, 7 inches wide, and a row per node: ``a``, ``b``, ``label``, ``F_aa_nats_per_N``,
        ``F_bb_nats_per_N``.
    """
    hessian = style.field(free_energy, "fisher_metric")
    figure, panels = style.map_row(2, style.height_ratio(*grid.axes), width=style.DOUBLE_COLUMN, top=0.52)
    columns: dict[str, Any] = {"label": label}
    scale = style.log_norm(np.stack([hessian[..., 0, 0], hessian[..., 1, 1]]))
    for panel, (axes, (name, (i, j))) in enumerate(zip(panels, COMPONENTS.items(), strict=True)):
        values = columns[f"F_{name}_nats_per_N"] = hessian[..., i, j]
        mosaic.show_mosaic(axes, images, nodes, grid)
        draw_over(axes, values, grid, boundaries, (style.RIDGE, scale), f"$F_{{{name}}}$ (nats per $N$)")
        style.label_parameters(axes, vertical=panel == 0)
        style.panel_letter(axes, "AB"[panel])
    a, b = grid.axes
    return figure, style.node_table(a, b, columns)
