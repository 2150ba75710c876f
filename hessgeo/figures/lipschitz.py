"""The local Lipschitz constant of the map from parameters to image features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from hessgeo.figures import style


@style.theme()
def draw(fields: xr.Dataset, phases: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Map of the local Lipschitz constant on a logarithmic scale, phase boundaries on top.

    Args:
        fields: ``lipschitz`` on dims ``(a, b)``: largest ``|E_i - E_j| / |t_i - t_j|`` over neighbours.
        phases: their ``boundaries``, ``{"points": [[a, b], ...]}`` each.

    Returns:
        The figure, 3.4 inches wide, and a row per node: ``a``, ``b``, ``lipschitz``.
    """
    a, b = style.axes_of(fields)
    values = style.field(fields, "lipschitz")
    figure, (axes,) = style.map_row(1, style.height_ratio(a, b), width=style.SINGLE_COLUMN, top=0.52)
    image = style.show_field(axes, values, a, b, cmap="mako", norm=style.log_norm(values))
    style.draw_boundaries(axes, phases["boundaries"])
    style.label_parameters(axes)
    style.colour_bar(image, r"local Lipschitz constant $|\Delta E|\,/\,|\Delta t|$")
    return figure, style.node_table(a, b, {"lipschitz": values})
