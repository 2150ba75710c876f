"""Free energy of the Ising model and its two derivatives, beside the exact ones (Fig. 3 of Lobashev et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hessgeo.estimators.estimate import Estimate
from hessgeo.estimators.names import ESTIMATORS
from hessgeo.evaluation.gauge import AffineFunctions, Gauge
from hessgeo.evaluation.table_scores import in_gauge_of, table_scores
from hessgeo.evaluation.tables import Case, per_site
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style
from hessgeo.grids import Grid
from hessgeo.systems.solvable.ising import CRITICAL_TEMPERATURE

NATS = ("$k_B/J$", "$1/J$", "nats a site")
ENERGY = ("$k_B$ a site", "a site", "$J$ a site")
ROWS = ("estimate", "exact", "difference")


def gather(cases: Sequence[Case]) -> dict[str, Any]:
    """The estimate of one system and its exact potential, a site."""
    (case,) = cases
    (record,), truth = case.records, case.exact
    return {
        "estimate": per_site(record.estimate, truth.sites),
        "exact": truth.potential("potential"),
        "grid": truth.grid,
        "names": case.names,
        "gauge_coordinates": truth.gauge(record.natural),
        "title": f"{ESTIMATORS[record.estimator].title}, {case.title}",
    }


@style.theme()
def draw(
    estimate: Estimate,
    exact: Estimate,
    grid: Grid,
    *,
    names: Sequence[str] = ("T", "H"),
    units: tuple[str, str, str] = NATS,
    critical: tuple[float, float] | None = (CRITICAL_TEMPERATURE, 0.0),
    gauge: Gauge = "shift+slope",
    gauge_coordinates: AffineFunctions | None = None,
    title: str = "estimate",
) -> tuple[Figure, pd.DataFrame]:
    """``dF/dT``, ``dF/dH`` and ``F`` in columns; estimate, exact and their difference in rows.

    The estimate is shown in the gauge of the exact potential in which ``table_scores`` scores it; the error over
    each difference is that score. A ring marks the critical point of the infinite lattice.

    Args:
        estimate: value and gradient at the nodes.
        exact: the same of the truth.
        grid: the nodes.
        names: of the two parameters.
        units: of both derivatives and of ``F``; ``ENERGY`` for ``-T log Z``.
        critical: where to draw the ring; nowhere if None or outside of the box.
        gauge: see ``table_scores``.
        gauge_coordinates: see ``table_scores``.
        title: name of the estimate, at the left of its row.

    Returns:
        The figure, 7 inches wide, and a row per node with the nine fields.

    Raises:
        ValueError: if a value or a gradient is missing, and as ``table_scores`` does.
    """
    scores = table_scores(estimate, exact, grid.points, gauge=gauge, gauge_coordinates=gauge_coordinates)
    aligned = in_gauge_of(estimate, exact, grid.points, gauge=gauge, gauge_coordinates=gauge_coordinates)
    if aligned is None or aligned.gradient is None or exact.value is None or exact.gradient is None:
        raise ValueError("estimate and truth must both have a value and a gradient")
    columns = [
        (f"dF_d{names[0]}", aligned.gradient[:, 0], exact.gradient[:, 0], scores.first),
        (f"dF_d{names[1]}", aligned.gradient[:, 1], exact.gradient[:, 1], scores.second),
        ("F", aligned.value, exact.value, scores.value),
    ]
    titles = [plane.derivative(names[0]), plane.derivative(names[1]), "$F$"]
    figure, panels = plane.matrix(
        3, 3, width=style.DOUBLE_COLUMN, height=1.5, left=0.8, across=0.2, bottom=0.4, up=(0.22, 0.6), top=0.5
    )
    table: dict[str, np.ndarray] = {}
    for k, (heading, (name, found, true, error)) in enumerate(zip(titles, columns, strict=True)):
        own = f"{heading} ({units[k]})"
        _draw_column([row[k] for row in panels], found, true, grid, names, own, error, first=k == 0)
        for row, letters in zip(panels, ("ABC", "DEF", "GHI"), strict=True):
            style.panel_letter(row[k], letters[k])
        table |= {f"{name}_estimate": found, f"{name}_exact": true, f"{name}_difference": found - true}
    for row, name in zip(panels, (title, *ROWS[1:]), strict=True):
        row[0].annotate(
            name, (0, 0.5), (-42, 0), "axes fraction", "offset points", rotation=90, va="center", ha="right",
            fontweight="bold",
        )  # fmt: skip
        for axes in row:
            _mark(axes, critical, grid)
    return figure, plane.node_table(grid, names, table)


def _draw_column(
    column: Sequence[Axes],
    found: Float[np.ndarray, "node"],
    true: Float[np.ndarray, "node"],
    grid: Grid,
    names: Sequence[str],
    heading: str,
    error: float,
    *,
    first: bool,
) -> None:
    """One quantity: two maps on one colour scale, that of the truth, and the difference on its own."""
    cmap, norm = style.signed_scale(true)
    shared = Normalize(norm.vmin, norm.vmax)
    upper, middle, lower = column
    image = plane.draw_field(
        upper, found, grid, names, cmap=cmap, norm=shared, horizontal=False, vertical=first
    )
    plane.draw_field(middle, true, grid, names, cmap=cmap, norm=shared, horizontal=False, vertical=first)
    style.colour_bar(image, heading)
    difference = plane.draw_field(
        lower,
        found - true,
        grid,
        names,
        cmap=style.DIVERGING,
        norm=plane.symmetric_norm(found - true),
        vertical=first,
    )
    style.colour_bar(difference, f"difference, rms {style.number(error)}")


def _mark(axes: Axes, critical: tuple[float, float] | None, grid: Grid) -> None:
    """A ring at the critical point."""
    if critical is None or not all(
        low <= x <= high for x, (low, high) in zip(critical, grid.extent, strict=True)
    ):
        return
    axes.plot(
        *critical, "o", markersize=5, color="white", markeredgecolor="black", zorder=4, fillstyle="full"
    )
