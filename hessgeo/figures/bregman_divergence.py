"""The Bregman divergence of a free energy, and the posterior that it is the limit of (Fig. 2 of Lobashev et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hessgeo.evaluation.sharpening import Sharpening, sharpening
from hessgeo.evaluation.tables import Case
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style
from hessgeo.grids import Grid

SHAPE = (33, 33)  # of the grid
COUNTS = [16, 1024]
LEVELS = np.array([0.2, 0.4, 0.6, 0.8])  # heights of the contours, from the lowest of the limit to its top
GAPS = 4  # vertical gaps between curve and tangent that are drawn


def gather(cases: Sequence[Case]) -> dict[str, Any]:
    """Free energy and posteriors of samples of one system, drawn in the middle of its box."""
    (case,) = cases
    grid = Grid(case.grid.extent, SHAPE)
    found = sharpening(case.family, grid, np.mean(grid.extent, axis=1), COUNTS, draws=1)
    value = case.family.log_partition(case.family.natural(grid.points))
    return {"value": value, "found": found, "grid": grid, "names": case.names}


@style.theme()
def draw(
    value: Float[np.ndarray, "node"], found: Sharpening, grid: Grid, *, names: Sequence[str] = ("K", "h")
) -> tuple[Figure, pd.DataFrame]:
    """A cut of ``F`` with its tangent at ``t'`` and the gaps ``D_F`` (A); ``exp(-D_F)`` beside ``p^(1/N)`` (B).

    Heights in B are those over the largest of their own: the norm of the posterior is no part of the theorem.

    Args:
        value: ``F`` at the nodes, nats a sample.
        found: from ``sharpening``.
        grid: its nodes.
        names: of the parameters.

    Returns:
        The figure, 7 inches wide, and a row per ``N`` and node: the parameters, ``free_energy``, ``divergence``,
        ``exponential`` and ``posterior``.
    """
    figure, ((left, right),) = plane.matrix(
        1, 2, width=style.DOUBLE_COLUMN, height=2.5, left=0.6, across=0.95, bottom=0.62, up=(), top=0.42
    )
    _draw_cut(left, value, found, grid, names[0])
    exponential = np.exp(-(found.divergence - found.divergence.min()))
    posterior = np.exp(found.log_posterior - found.log_posterior.max(axis=1, keepdims=True))
    image = plane.draw_field(right, exponential, grid, names)
    style.colour_bar(image, r"$\exp(-D_F(t, t'))$")
    lines = []
    for height, count, dashes in zip(posterior, found.counts, ("--", "-"), strict=True):
        colour = "white" if dashes == "-" else "#ffb000"
        levels = exponential.min() + LEVELS * np.ptp(exponential)
        options = {"colors": colour, "linewidths": 1.0, "linestyles": dashes}
        right.contour(*grid.axes, height.reshape(grid.shape).T, levels=levels, **options)
        lines.append(Line2D([], [], color=colour, linestyle=dashes, label=f"$p^{{1/N}}$, $N$ = {count:,}"))
    right.plot(*grid.points[found.source], "o", markersize=4, color="white", markeredgecolor="black")
    below = {
        "loc": "upper left",
        "bbox_to_anchor": (0, -0.16),
        "ncols": 2,
        "facecolor": "0.35",
        "labelcolor": "white",
    }
    right.legend(handles=lines, framealpha=1, borderpad=0.3, **below)
    for axes, letter in zip((left, right), "AB", strict=True):
        style.panel_letter(axes, letter)
    columns = {"free_energy": value, "divergence": found.divergence, "exponential": exponential}
    tables = [
        plane.node_table(grid, names, {**columns, "posterior": height}).assign(N=count)
        for height, count in zip(posterior, found.counts, strict=True)
    ]
    return figure, pd.concat(tables, ignore_index=True)


def _draw_cut(axes: Axes, value: np.ndarray, found: Sharpening, grid: Grid, name: str) -> None:
    """``F`` along the first parameter through ``t'``, its tangent there, and what lies between them."""
    column = found.source % grid.shape[1]
    x, curve = grid.axes[0], value.reshape(grid.shape)[:, column]
    gap = found.divergence.reshape(grid.shape)[:, column]
    axes.plot(x, curve, color="black", label="$F$")
    axes.plot(x, curve - gap, color=plane.BLUE, label="tangent at $t'$")
    shown = np.unique(np.linspace(0, len(x) - 1, GAPS + 1).round().astype(int))
    axes.vlines(
        x[shown], (curve - gap)[shown], curve[shown], color="#1a9850", linewidth=1.6, label="$D_F(t, t')$"
    )
    axes.plot(
        x[found.source // grid.shape[1]],
        curve[found.source // grid.shape[1]],
        "o",
        color="black",
        markersize=4,
    )
    axes.set(xlabel=plane.label(name), ylabel="$F$ (nats)")
    style.round_ticks(axes, 4, 4)
    axes.legend(frameon=False)
