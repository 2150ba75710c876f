"""Errors of graph distances against the number of points, and of the quadrature against its nodes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from hessgeo.densities.convergence import fitted_slope, theoretical_slope
from hessgeo.figures import style

COLOURS = ("#0173b2", "#d55e00", "#029e73", "#cc78bc", "#ca9161")


@style.theme()
def draw(points: pd.DataFrame, nodes: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Graph distances against points (A), lengths of segments against panels (B) and against nodes (C).

    Args:
        points: rows of ``convergence.point_convergence`` with a column ``draw``, how the points were drawn.
        nodes: rows of ``convergence.node_convergence``.

    Returns:
        The figure, 7 inches wide, and a row a curve of A and B: ``curve``, ``slope`` with ``slope_error`` and
        ``theory``, the least and largest ``x`` and the errors there, and whether it is ``monotone``.
    """
    figure = Figure(figsize=(style.DOUBLE_COLUMN, 2.5))
    panels = [style.place(figure, left, 0.42, 1.6, 1.85) for left in (0.55, 2.97, 5.3)]
    rows = _draw_points(panels[0], points) + _draw_panels(panels[1], nodes)
    _draw_nodes(panels[2], nodes)
    for axes, letter in zip(panels, "ABC", strict=True):
        style.panel_letter(axes, letter)
    return figure, pd.DataFrame(rows)


def _row(curve: str, x: np.ndarray, y: np.ndarray, theory: float, slope: tuple[float, float]) -> dict:
    return {
        "curve": curve,
        "slope": slope[0],
        "slope_error": slope[1],
        "theory": theory,
        "first_x": x[0],
        "last_x": x[-1],
        "first_error": y[0],
        "last_error": y[-1],
        "monotone": bool((np.diff(y) < 0).all()),
    }


def _draw_points(axes: Axes, points: pd.DataFrame) -> list[dict]:
    """Mean error and its standard error for each way to draw points, a fit, and the power of theory."""
    rows = []
    theory = theoretical_slope(2)
    for (name, part), colour in zip(points.groupby("draw", sort=False), COLOURS, strict=False):
        groups = part.groupby("count")["error"]
        x = np.array(sorted(part["count"].unique()), dtype=float)
        mean, error = groups.mean().to_numpy(), groups.sem().to_numpy()
        slope = fitted_slope(x, mean)
        axes.errorbar(x, mean, error, fmt="o", color=colour, markersize=3.5, elinewidth=0.8, capsize=1.5)
        centre = np.exp(np.log(mean).mean()) * (x / np.exp(np.log(x).mean())) ** slope[0]
        axes.plot(x, centre, color=colour, linewidth=1, label=f"{name}: {slope[0]:.2f} ± {slope[1]:.2f}")
        rows.append(_row(f"points, {name}", x, mean, theory, slope))
    largest = points.groupby(["draw", "count"])["error"].mean().max()
    guide = 1.8 * largest * (x / x[0]) ** theory
    axes.plot(x, guide, color="0.5", linestyle=(0, (3, 2)), linewidth=1, label="theory: −2/3")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    # Room for the legend below the curves.
    axes.set(
        xlabel="number of points $n$", ylabel="relative error of the distance", ylim=(mean.min() / 8, None)
    )
    axes.legend(frameon=False, title="slope", loc="lower left", handlelength=1.4)
    return rows


def _draw_panels(axes: Axes, nodes: pd.DataFrame) -> list[dict]:
    """The error of segments in parts, root mean square over them, for few nodes in each."""
    rows = []
    for (count, part), colour in zip(nodes[nodes["nodes"] <= 3].groupby("nodes"), COLOURS, strict=False):
        x, y = (part[name].to_numpy(dtype=float) for name in ("panels", "error"))
        # Where parts are longer than a width of the density there is no power yet, and where rounding rules
        # there is none any more.
        power = (x >= 8) & (y > 1e-13)
        slope = fitted_slope(x[power], y[power])
        axes.plot(
            x, np.maximum(y, 1e-16), "o-", color=colour, markersize=3.5, label=f"{count}: {slope[0]:.2f}"
        )
        rows.append(_row(f"panels, {count} nodes", x[power], y[power], -2.0 * count, slope))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set(xlabel="parts of each segment $k$", ylabel="RMS relative error of lengths")
    axes.legend(frameon=False, title="nodes: slope", loc="lower left", handlelength=1.4)
    return rows


def _draw_nodes(axes: Axes, nodes: pd.DataFrame) -> None:
    """The error of segments, root mean square over them, against the nodes in each of their parts."""
    shown = sorted(nodes["panels"].unique())[::2][:3]
    for count, colour in zip(shown, COLOURS, strict=False):
        part = nodes[nodes["panels"] == count]
        floor = np.maximum(part["error"].to_numpy(dtype=float), 1e-16)
        label = "1 part" if count == 1 else f"{count} parts"
        axes.plot(part["nodes"], floor, "o-", color=colour, markersize=3, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="nodes in each part $m$", ylabel="RMS relative error of lengths")
    axes.legend(frameon=False, loc="upper right", handlelength=1.4)
