"""The Hessian of the free energy, which is the Fisher metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.figure import Figure

from hessgeo.figures import style

COMPONENTS = {"aa": (0, 0), "ab": (0, 1), "bb": (1, 1)}


@style.theme()
def draw(free_energy: xr.Dataset, phases: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Maps of ``F_aa`` (A), ``F_ab`` (B) and ``F_bb`` (C), phase boundaries on top.

    The diagonal components share one logarithmic scale; cells where one is not positive, which a metric
    forbids, are hatched and counted. The mixed component has a scale that is logarithmic on both sides of
    zero and linear below its median magnitude.

    Args:
        free_energy: ``fisher_metric (a, b, i, j)`` in nats per ``N``.
        phases: their ``boundaries``, ``{"points": [[a, b], ...]}`` each.

    Returns:
        The figure, 7 inches wide, and a row per node: ``a``, ``b``, ``F_aa_nats_per_N``, ``F_ab_nats_per_N``,
        ``F_bb_nats_per_N``.
    """
    a, b = style.axes_of(free_energy)
    hessian = style.field(free_energy, "fisher_metric")
    ratio = style.height_ratio(a, b)
    figure, panels = style.map_row(3, ratio, width=style.DOUBLE_COLUMN, top=0.52, bottom=0.53)
    diagonal = style.log_norm(np.stack([hessian[..., 0, 0], hessian[..., 1, 1]]))
    columns = {}
    for panel, (axes, (name, (i, j))) in enumerate(zip(panels, COMPONENTS.items(), strict=True)):
        values = hessian[..., i, j]
        columns[f"F_{name}_nats_per_N"] = values
        cmap, norm = (style.RIDGE, diagonal) if i == j else (style.DIVERGING, _signed_norm(values))
        image = style.show_field(axes, values, a, b, cmap=cmap, norm=norm)
        style.draw_boundaries(axes, phases["boundaries"])
        if i == j:
            failed = ~(values > 0)
            style.mark_cells(axes, failed, a, b)
            style.count_cells(axes, failed, f"$F_{{{name}}} \\leq 0$")
        style.label_parameters(axes, vertical=panel == 0)
        style.colour_bar(image, f"$F_{{{name}}}$ (nats per $N$)")
        style.panel_letter(axes, "ABC"[panel])
    return figure, style.node_table(a, b, columns)


def _signed_norm(values: Float[np.ndarray, "a b"]) -> Normalize:
    """Symmetric scale about zero, logarithmic above the median magnitude."""
    magnitude = np.abs(values[np.isfinite(values)])
    if magnitude.size == 0 or magnitude.max() == 0:
        return Normalize(-1.0, 1.0)
    middle, reach = np.percentile(magnitude, [50, 99.5])
    linear = max(middle, reach / 100)  # two decades at most: more would show rounding as structure
    return SymLogNorm(linthresh=linear, linscale=0.5, vmin=-reach, vmax=reach)
