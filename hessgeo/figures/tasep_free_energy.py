"""Free energy of the exclusion process beside the exact one (Fig. 4 of Lobashev et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d import Axes3D
from scipy.interpolate import RegularGridInterpolator

from hessgeo.estimators.estimate import Estimate
from hessgeo.evaluation.gauge import AffineFunctions, Gauge
from hessgeo.evaluation.table_scores import in_gauge_of, table_scores
from hessgeo.evaluation.tables import Case, per_site
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style, surface
from hessgeo.grids import Grid

Field = Float[np.ndarray, "node"]
NAMES = ("alpha", "beta")
PALE = "#a6cfea"  # of the surface, so that the net on it is seen
MESH = 24  # lines of the surfaces along each rate


def gather(cases: Sequence[Case]) -> dict[str, Any]:
    """The estimate of one system, and what the paper compares it with, minus the current, a site."""
    (case,) = cases
    (record,), truth = case.records, case.exact
    return {
        "estimate": per_site(record.estimate, truth.sites),
        "exact": truth.potential("paper"),
        "grid": truth.grid,
        "quantity": "$-J$",
        "gauge_coordinates": truth.gauge(record.natural),
    }


@style.theme()
def draw(
    estimate: Estimate,
    exact: Estimate,
    grid: Grid,
    *,
    fixed: float = 0.75,
    quantity: str = "$F$",
    unit: str = "",
    gauge: Gauge = "shift+slope+scale",
    gauge_coordinates: AffineFunctions | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """The estimate (red) over the exact free energy (blue): as surfaces (A), on two cuts (B, C), as maps (D-F).

    The estimate is shown in the gauge in which ``table_scores`` scores it; the error over the difference is that
    score. Dotted lines bound the phases of the infinite lattice: low density where ``alpha`` is the smaller rate and
    below 1/2, high density where ``beta`` is, maximal current where neither is below 1/2.

    Args:
        estimate: values at the nodes; a gradient is not needed.
        exact: value and gradient of the truth.
        grid: the nodes, in ``(alpha, beta)``.
        fixed: the ``beta`` of the second cut, moved to the nearest node.
        quantity: symbol of the truth.
        unit: of it, if it has one.
        gauge: see ``table_scores``.
        gauge_coordinates: see ``table_scores``.

    Returns:
        The figure, 7 inches wide, and a row per node: ``alpha``, ``beta``, ``estimate``, ``exact``, ``difference``.

    Raises:
        ValueError: if there are no values, and as ``table_scores`` does.
    """
    aligned = in_gauge_of(estimate, exact, grid.points, gauge=gauge, gauge_coordinates=gauge_coordinates)
    if aligned is None or exact.value is None:
        raise ValueError("estimate and truth must both have a value")
    error = table_scores(estimate, exact, grid.points, gauge=gauge, gauge_coordinates=gauge_coordinates).value
    found, true = aligned.value, exact.value
    name = f"{quantity} ({unit})" if unit else quantity
    figure = Figure(figsize=(style.DOUBLE_COLUMN, 5.45))
    relief = style.place(figure, 0.1, 2.45, 3.35, 3.0, projection="3d", computed_zorder=False)
    _draw_surfaces(relief, found, true, grid, name)
    cuts = [style.place(figure, 4.15, 4.2, 2.7, 1.05), style.place(figure, 4.15, 2.72, 2.7, 1.05)]
    _draw_cuts(cuts, found, true, grid, fixed, name)
    side = (style.DOUBLE_COLUMN - 0.55 - 0.4 - 0.12) / 3
    maps = [style.place(figure, 0.55 + k * (side + 0.2), 0.4, side, 1.3) for k in range(3)]
    _draw_maps(maps, found, true, grid, name, error)
    columns = {"estimate": found, "exact": true, "difference": found - true}
    return figure, plane.node_table(grid, NAMES, columns)


def _draw_surfaces(axes: Axes3D, found: Field, true: Field, grid: Grid, name: str) -> None:
    """Panel A: the exact surface filled, the estimate as a net over it."""
    a, b = np.meshgrid(*grid.axes, indexing="ij")
    every = [max(1, -(-nodes // MESH)) for nodes in grid.shape]
    axes.plot_surface(
        a,
        b,
        true.reshape(grid.shape),
        facecolors=_lit(true.reshape(grid.shape)),
        rcount=128,
        ccount=128,
        linewidth=0,
        antialiased=False,
        shade=False,
        rasterized=True,
    )
    axes.plot_wireframe(
        a,
        b,
        found.reshape(grid.shape),
        color=plane.RED,
        linewidth=0.5,
        rstride=every[0],
        cstride=every[1],
    )
    axes.set_box_aspect((1, 1, 0.7), zoom=0.88)
    axes.view_init(elev=26, azim=-128)
    surface.dress(axes, (plane.label("alpha"), plane.label("beta"), name))
    handles = [Line2D([], [], color=plane.RED, linewidth=0.8), Patch(color=PALE)]
    axes.legend(handles, ["estimate", "exact"], loc="upper right", bbox_to_anchor=(0.98, 0.98), frameon=False)
    axes.figure.text(0.015, 0.965, "A", fontsize=9, fontweight="bold")


def _lit(values: Float[np.ndarray, "a b"]) -> Float[np.ndarray, "a b rgb"]:
    """Pale blue, a little darker in the shade."""
    shade = surface.hillshade(surface.unit_height(values), relief=0.7)
    return np.array(to_rgb(PALE)) * (0.75 + 0.25 * shade[..., None])


def _draw_cuts(
    panels: Sequence[Axes], found: Field, true: Field, grid: Grid, fixed: float, name: str
) -> None:
    """Panels B and C: along both rates at once, and along one where the other stands still."""
    a, b = grid.axes
    # At nodes only where the axes agree: between them a bilinear surface sags under a ridge along the diagonal.
    both = np.unique(np.concatenate([a, b]))
    both = both[(both >= max(a[0], b[0])) & (both <= min(a[-1], b[-1]))]
    column = int(np.abs(b - fixed).argmin())
    for values, colour, line, text in (
        (true, plane.BLUE, "-", "exact"),
        (found, plane.RED, (0, (3, 1.5)), "estimate"),
    ):
        table = values.reshape(grid.shape)
        diagonal = RegularGridInterpolator((a, b), table)(np.column_stack([both, both]))
        panels[0].plot(both, diagonal, color=colour, linestyle=line, label=text)
        panels[1].plot(a, table[:, column], color=colour, linestyle=line, label=text)
    panels[0].set_xlabel(r"$\alpha = \beta$")
    panels[1].set_xlabel(rf"$\alpha$ at $\beta$ = {b[column]:.3g}")
    for axes, letter in zip(panels, "BC", strict=True):
        axes.set_ylabel(name)
        axes.axvline(0.5, color="0.6", linewidth=0.7, linestyle=":", zorder=0)
        style.round_ticks(axes, 5, 4)
        axes.margins(x=0.01)
        style.panel_letter(axes, letter, left=24)
    panels[0].legend(frameon=False, loc="lower right")


def _draw_maps(
    panels: Sequence[Axes], found: Field, true: Field, grid: Grid, name: str, error: float
) -> None:
    """Panels D to F: estimate and exact on one colour scale, and their difference."""
    norm = style.linear_norm(true, tail=0.0)
    for k, (axes, values, text) in enumerate(
        zip(panels, (found, true), (f"estimate of {name}", f"exact {name}"), strict=False)
    ):
        image = plane.draw_field(axes, values, grid, NAMES, norm=norm, vertical=k == 0)
        style.colour_bar(image, text)
    difference = found - true
    image = plane.draw_field(
        panels[2], difference, grid, NAMES, cmap=style.DIVERGING, norm=plane.symmetric_norm(difference), vertical=False
    )  # fmt: skip
    style.colour_bar(image, f"difference, rms {style.number(error)}")
    for axes, letter, colour in zip(panels, "DEF", ("white", "white", "0.3"), strict=True):
        style.panel_letter(axes, letter)
        _draw_phases(axes, grid, colour)


def _draw_phases(axes: Axes, grid: Grid, colour: str) -> None:
    """Lines between the phases of the infinite lattice."""
    (a0, a1), (b0, b1) = grid.extent
    line = {"color": colour, "linewidth": 0.8, "linestyle": ":", "scalex": False, "scaley": False}
    axes.plot([max(a0, b0), 0.5], [max(a0, b0), 0.5], **line)
    axes.plot([0.5, 0.5, a1], [b1, 0.5, 0.5], **line)
