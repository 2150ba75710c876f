"""The second derivatives of the free energy over the images of the plane: where the images change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int, UInt8
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.first_derivatives_over_images import draw_fields, gather
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
    fields = {f"F_{name}": hessian[..., i, j] for name, (i, j) in COMPONENTS.items()}
    words = [f"$F_{{{name}}}$ (nats per $N$)" for name in COMPONENTS]
    scales = [(style.RIDGE, style.log_norm(np.stack(list(fields.values()))))] * 2
    return draw_fields(fields, words, scales, label, images, nodes, grid, boundaries)
