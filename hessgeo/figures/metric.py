"""The two invariants of the Fisher metric: its volume and its largest stretch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from hessgeo.figures import style


@style.theme()
def draw(metric: xr.Dataset, phases: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Maps of ``ln det g`` (A) and ``log10`` of the largest eigenvalue of ``g`` (B), boundaries on top.

    Cells where the metric is not positive definite are hatched and counted in the title of A.

    Args:
        metric: ``log_determinant``, ``largest_eigenvalue``, ``positive_definite`` on dims ``(a, b)``.
        phases: their ``boundaries``, ``{"points": [[a, b], ...]}`` each.

    Returns:
        The figure, 7 inches wide, and a row per node: ``a``, ``b``, ``log_determinant``,
        ``log10_largest_eigenvalue`` (NaN where not positive), ``positive_definite``.
    """
    a, b = style.axes_of(metric)
    definite = style.field(metric, "positive_definite").astype(bool)
    largest = style.field(metric, "largest_eigenvalue").astype(float)
    logarithm = np.full(largest.shape, np.nan)
    np.log10(largest, out=logarithm, where=largest > 0)
    volume = np.where(definite, style.field(metric, "log_determinant"), np.nan)
    ratio = style.height_ratio(a, b)
    figure, panels = style.map_row(2, ratio, width=style.DOUBLE_COLUMN, top=0.52, bottom=0.53)
    maps = [
        (volume, r"$\ln\,\det\,g$  ($g$ in nats per $N$)"),
        (logarithm, r"$\log_{10}\lambda_{\max}(g)$  ($\lambda$ in nats per $N$)"),
    ]
    for panel, (axes, (values, label)) in enumerate(zip(panels, maps, strict=True)):
        image = style.show_field(axes, values, a, b, cmap=style.RIDGE, norm=style.linear_norm(values))
        style.draw_boundaries(axes, phases["boundaries"])
        style.mark_cells(axes, ~definite, a, b)
        style.label_parameters(axes, vertical=panel == 0)
        style.colour_bar(image, label)
        style.panel_letter(axes, "AB"[panel])
    style.count_cells(panels[0], ~definite, "not positive definite")
    columns = {
        "log_determinant": volume,
        "log10_largest_eigenvalue": logarithm,
        "positive_definite": definite,
    }
    return figure, style.node_table(a, b, columns)
