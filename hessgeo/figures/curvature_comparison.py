"""Thermodynamic curvature of fitted free energies beside the exact one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from hessgeo.evaluation.exact_curvature import exact_curvature
from hessgeo.evaluation.tables import Case
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style
from hessgeo.grids import Grid

LABEL = r"curvature $R$"


@dataclass(frozen=True)
class Curvature:
    """Scalar curvature of one system, fitted and exact, at the nodes of a grid.

    Attributes:
        title: of the system.
        grid: the nodes.
        names: of the parameters.
        fitted: that of the fit.
        exact: the truth.
        cut: index of the second parameter's node at which the cut along the first lies; its middle if None.
    """

    title: str
    grid: Grid
    names: tuple[str, str]
    fitted: Float[np.ndarray, "node"]
    exact: Float[np.ndarray, "node"]
    cut: int | None = None


def gather(cases: Sequence[Case]) -> dict[str, Any]:
    """The curvature of each system's fitted metric a site, and the exact one, in sites."""
    systems = []
    for case in cases:
        (record,), exact = case.records, case.exact
        fitted = record.fields["curvature"].to_numpy().ravel()
        known = exact_curvature(case.family, exact.flat("natural"))
        systems.append(
            Curvature(case.title, exact.grid, case.names, fitted * exact.sites, known * exact.sites)
        )
    return {"systems": systems}


@style.theme()
def draw(systems: Sequence[Curvature], *, unit: str = "sites") -> tuple[Figure, pd.DataFrame]:
    """Fitted and exact curvature as maps on one scale, and on a cut: a row of panels per system.

    The scale is linear about zero, up to the median size of the exact curvature, and logarithmic beyond: curvature
    grows with the correlation volume. The dotted line on the maps is the cut.

    Args:
        systems: what to draw.
        unit: of the curvature; times the number of sites, that of a metric in nats is a number of sites.

    Returns:
        The figure, 7 inches wide, and a row per system and node: ``system``, ``parameter_1``, ``parameter_2``,
        ``fitted``, ``exact``.

    Raises:
        ValueError: if there is no system.
    """
    if not systems:
        raise ValueError("there are no systems to draw, must be at least one")
    rows = len(systems)
    figure, panels = plane.matrix(
        rows, 3, width=style.DOUBLE_COLUMN, height=1.5, left=0.62, across=0.45, bottom=0.4, up=[1.05] * (rows - 1),
        top=0.68,
    )  # fmt: skip
    tables = []
    for k, (row, system) in enumerate(zip(panels, systems, strict=True)):
        letters = "ABCDEFGHIJKL"[3 * k : 3 * k + 3]
        _draw_system(row, system, unit)
        for axes, letter in zip(row, letters, strict=True):
            style.panel_letter(axes, letter)
        points = system.grid.points
        tables.append(
            pd.DataFrame(
                {
                    "system": system.title,
                    "parameter_1": points[:, 0],
                    "parameter_2": points[:, 1],
                    "fitted": system.fitted,
                    "exact": system.exact,
                }
            )
        )
    return figure, pd.concat(tables, ignore_index=True)


def _draw_system(row: Sequence[Axes], system: Curvature, unit: str) -> None:
    grid = system.grid
    cut = grid.shape[1] // 2 if system.cut is None else system.cut
    height = grid.axes[1][cut]
    finite = np.abs(system.exact[np.isfinite(system.exact)])
    reach, inner = float(np.percentile(finite, 99.5)), float(np.median(finite))
    norm = SymLogNorm(max(inner, 1e-3 * reach), vmin=-reach, vmax=reach, base=10)
    for k, (axes, values, text) in enumerate(
        zip(row, (system.fitted, system.exact), ("fitted", "exact"), strict=False)
    ):
        image = plane.draw_field(
            axes, values, grid, system.names, cmap=style.DIVERGING, norm=norm, vertical=k == 0
        )
        style.colour_bar(image, f"{system.title}: {text} $R$ ({unit})")
        axes.axhline(height, color="0.2", linewidth=0.8, linestyle=":")
    axes = row[2]
    for values, colour, line, text in (
        (system.exact, plane.BLUE, "-", "exact"),
        (system.fitted, plane.RED, (0, (3, 1.5)), "fitted"),
    ):
        axes.plot(grid.axes[0], values.reshape(grid.shape)[:, cut], color=colour, linestyle=line, label=text)
    exact = system.exact.reshape(grid.shape)[:, cut]
    margin = 0.3 * np.ptp(exact) + 1e-12
    # A fit may run away at an edge: the exact curve sets the scale.
    axes.set_ylim(exact.min() - margin, exact.max() + margin)
    axes.axhline(0, color="0.7", linewidth=0.6, zorder=0)
    axes.set(xlabel=plane.label(system.names[0]), ylabel=f"$R$ ({unit})")
    axes.set_title(f"cut at ${plane.symbol(system.names[1])}$ = {height:.3g}".replace("-", "\u2212"))
    axes.margins(x=0)
    style.round_ticks(axes, 4, 4)
    axes.legend(frameon=False, borderpad=0.1, handlelength=1.6)
