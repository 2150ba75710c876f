"""The Fisher metric's volume and largest stretch, and where the response of the slopes disagrees with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hessgeo.figures import style

APART = {
    "response_difference": r"$\log_{10}\,|r - g|/|g|$  ($r$: response of the slopes)",
    "antisymmetric_share": r"$\log_{10}$ of the antisymmetric share of $r$",
}


@style.theme()
def draw(metric: xr.Dataset, phases: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Maps of ``ln det g`` (A) and ``log10`` of the largest eigenvalue of ``g`` (B), boundaries on top.

    Below, the relative difference of the response metric from ``g`` (C), and its antisymmetric share (D). Cells where
    the metric is not positive definite are hatched and counted below C.

    Args:
        metric: ``log_determinant``, ``largest_eigenvalue``, ``positive_definite``, ``response_difference``,
            ``antisymmetric_share`` on dims ``(a, b)``.
        phases: their ``boundaries``, ``{"points": [[a, b], ...]}`` each.

    Returns:
        The figure, 7 inches wide, and a row per node: ``a``, ``b``, ``log_determinant``,
        ``log10_largest_eigenvalue`` (NaN where not positive), ``positive_definite``, ``response_difference``,
        ``antisymmetric_share``.
    """
    a, b = style.axes_of(metric)
    definite = style.field(metric, "positive_definite").astype(bool)
    largest = style.field(metric, "largest_eigenvalue").astype(float)
    logarithm = _logarithm(largest)
    volume = np.where(definite, style.field(metric, "log_determinant"), np.nan)
    figure, panels = _panels(style.height_ratio(a, b))
    maps = [
        (volume, r"$\ln\,\det\,g$  ($g$ in nats per $N$)"),
        (logarithm, r"$\log_{10}\lambda_{\max}(g)$  ($\lambda$ in nats per $N$)"),
    ]
    apart = {name: style.field(metric, name).astype(float) for name in APART}
    maps += [(_logarithm(values), APART[name]) for name, values in apart.items()]
    for panel, (axes, (values, label)) in enumerate(zip(panels, maps, strict=True)):
        cmap = style.RIDGE if panel < 2 else style.SEQUENTIAL
        image = style.show_field(axes, values, a, b, cmap=cmap, norm=style.linear_norm(values))
        style.draw_boundaries(axes, phases["boundaries"])
        style.mark_cells(axes, ~definite, a, b)
        style.label_parameters(axes, horizontal=panel > 1, vertical=panel % 2 == 0)
        style.colour_bar(image, label)
        style.panel_letter(axes, "ABCD"[panel])
    style.count_cells(panels[2], ~definite, "not positive definite")
    columns = {
        "log_determinant": volume,
        "log10_largest_eigenvalue": logarithm,
        "positive_definite": definite,
        **apart,
    }
    return figure, style.node_table(a, b, columns)


def _logarithm(values: Float[np.ndarray, "a b"]) -> Float[np.ndarray, "a b"]:
    """To base ten; NaN where not positive."""
    return np.log10(values, out=np.full(values.shape, np.nan), where=values > 0)


def _panels(ratio: float) -> tuple[Figure, list[Axes]]:
    """Two rows of two maps, at most a page high."""
    left, gap, right, top, middle, bottom = 0.5, 0.24, 0.12, 0.52, 0.6, 0.53
    room = (style.DOUBLE_COLUMN - left - gap - right) / 2
    side = min(room, (style.PAGE_HEIGHT - top - middle - bottom) / (2 * ratio))
    height = side * ratio
    figure = Figure(figsize=(style.DOUBLE_COLUMN, top + height + middle + height + bottom))
    left += room - side
    places = [(left + k * (side + gap), bottom + row * (height + middle)) for row in (1, 0) for k in (0, 1)]
    return figure, [style.place(figure, x, y, side, height) for x, y in places]
