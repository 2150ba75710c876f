"""The gradient of the free energy: plateaus inside phases, steps between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from hessgeo.figures import style


@style.theme()
def draw(free_energy: xr.Dataset, phases: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Maps of ``dF/da`` (A) and ``dF/db`` (B), phase boundaries on top.

    Args:
        free_energy: ``gradient (a, b, i)`` in nats per ``N`` (the coordinates have no unit).
        phases: their ``boundaries``, ``{"points": [[a, b], ...]}`` each.

    Returns:
        The figure, 7 inches wide, and a row per node: ``a``, ``b``, ``dF_da_nats_per_N``,
        ``dF_db_nats_per_N``.
    """
    a, b = style.axes_of(free_energy)
    gradient = style.field(free_energy, "gradient")
    figure, panels = style.map_row(2, style.height_ratio(a, b), width=style.DOUBLE_COLUMN, top=0.52)
    for component, (axes, name) in enumerate(zip(panels, "ab", strict=True)):
        values = gradient[..., component]
        cmap, norm = style.signed_scale(values)
        image = style.show_field(axes, values, a, b, cmap=cmap, norm=norm)
        style.draw_boundaries(axes, phases["boundaries"])
        style.label_parameters(axes, vertical=component == 0)
        style.colour_bar(image, rf"$\partial F/\partial {name}$ (nats per $N$)")
        style.panel_letter(axes, "AB"[component])
    columns = {"dF_da_nats_per_N": gradient[..., 0], "dF_db_nats_per_N": gradient[..., 1]}
    return figure, style.node_table(a, b, columns)
