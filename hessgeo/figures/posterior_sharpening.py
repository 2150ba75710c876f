"""The posterior of many samples against the Bregman divergence (Theorem 3.1 of Lobashev et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hessgeo.evaluation.sharpening import Sharpening, sharpening
from hessgeo.evaluation.tables import Case
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style
from hessgeo.grids import Grid

SHAPE = (33, 33)  # of the grid
COUNTS = [2**k for k in range(13)]
PROFILES = 5  # numbers of samples that have a profile


def gather(cases: Sequence[Case], *, draws: int) -> dict[str, Any]:
    """Posteriors of samples of one system, drawn in the middle of its box."""
    (case,) = cases
    grid = Grid(case.grid.extent, SHAPE)
    point = np.mean(grid.extent, axis=1)
    found = sharpening(case.family, grid, point, COUNTS, draws=draws)
    return {"found": found, "grid": grid, "names": case.names}


@style.theme()
def draw(found: Sharpening, grid: Grid, *, names: Sequence[str] = ("K", "h")) -> tuple[Figure, pd.DataFrame]:
    """``(1/N) log p(t | x_1 .. x_N)`` of one draw on two cuts through ``t'`` (A, B), and the error against ``N`` (C).

    The limit ``-D_F(t, t')`` is black, ``t'`` dotted. The errors are those of ``p^(1/N)`` against ``exp(-D_F)``,
    largest and root mean square over the box: means over draws, with their standard errors. Slopes are fitted to the
    upper half of the ``N``, where what the norm of the posterior adds, ``log(N) / N``, has all but gone.

    Args:
        found: from ``sharpening``.
        grid: its nodes.
        names: of the parameters.

    Returns:
        The figure, 7 inches wide, and a tidy table: ``panel``, ``N``, ``x`` (a parameter in A and B, else NaN),
        ``name``, ``value``, ``error``.
    """
    figure, panels = plane.matrix(
        1, 3, width=style.DOUBLE_COLUMN, height=1.75, left=0.55, across=0.52, bottom=0.72, up=(), top=0.25
    )
    row, column = np.unravel_index(found.source, grid.shape)
    limit = -found.divergence.reshape(grid.shape)
    posteriors = found.log_posterior.reshape(-1, *grid.shape)
    tables = []
    for k, (axes, name) in enumerate(zip(panels[0][:2], names, strict=True)):
        cut = (slice(None), column) if k == 0 else (row, slice(None))
        profiles = posteriors[(slice(None), *cut)]
        tables.append(_draw_profiles(axes, grid.axes[k], profiles, limit[cut], found, first=k == 0))
        axes.axvline(grid.points[found.source, k], color="0.6", linewidth=0.7, linestyle=":", zorder=0)
        axes.set_xlabel(plane.label(name))
        tables[-1].insert(0, "panel", "AB"[k])
    tables.append(_draw_errors(panels[0][2], found).assign(panel="C"))
    for axes, letter in zip(panels[0], "ABC", strict=True):
        style.panel_letter(axes, letter)
    columns = ["panel", "N", "x", "name", "value", "error"]
    return figure, pd.concat(tables, ignore_index=True)[columns]


def _draw_profiles(
    axes: Axes, x: np.ndarray, profiles: np.ndarray, limit: np.ndarray, found: Sharpening, *, first: bool
) -> pd.DataFrame:
    shown = np.unique(np.linspace(0, len(found.counts) - 1, PROFILES).round().astype(int))
    shades = style.colour_map("mako_r")(np.linspace(0.2, 0.85, len(shown)))
    tables = []
    for k, colour in zip(shown, shades, strict=True):
        axes.plot(x, profiles[k], color=colour, linewidth=1, label=f"$N$ = {found.counts[k]:,}")
        tables.append(_tidy(found.counts[k], x, "log_posterior_over_N", profiles[k]))
    axes.plot(x, limit, color="black", linewidth=1, linestyle=(0, (3, 1.5)), label="limit $-D_F(t, t')$")
    tables.append(_tidy(np.nan, x, "minus_divergence", limit))
    # The limit sets the scale: a posterior of few samples may lie far off it.
    reach = np.ptp(limit)
    axes.set(xlim=(x[0], x[-1]), ylim=(limit.min() - 0.15 * reach, max(limit.max(), 0) + 0.35 * reach))
    style.round_ticks(axes, 4, 4)
    if first:
        axes.set_ylabel(r"$\log\, p(t \mid x_1 \ldots x_N)\, /\, N$ (nats)")
        axes.legend(
            frameon=False, loc="upper left", bbox_to_anchor=(-0.05, -0.22), ncols=6, columnspacing=1.2, borderpad=0,
            handlelength=1.4,
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _draw_errors(axes: Axes, found: Sharpening) -> pd.DataFrame:
    n = found.counts.astype(float)
    upper = slice(len(n) // 2, None)
    tables = []
    for values, text, name, colour, marker in (
        (found.supremum, "largest", "supremum", plane.RED, "o"),
        (found.rms, "rms", "rms", plane.BLUE, "s"),
    ):
        mean = values.mean(axis=0)
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.zeros(len(n))
        slope = plane.fitted_slope(n[upper], mean[upper])[0] if len(n[upper]) > 1 else np.nan
        label = f"{text}, slope {slope:.2f}".replace("-", "\u2212")
        axes.errorbar(
            n,
            mean,
            yerr=error,
            color=colour,
            marker=marker,
            markersize=3,
            linewidth=1,
            capsize=1.5,
            label=label,
        )
        tables.append(_tidy(n, np.nan, name, mean, error))
    guide = found.rms.mean(axis=0)[-1] * np.sqrt(n[-1] / n) * 0.5
    axes.plot(n, guide, color="0.6", linewidth=0.8, linestyle=(0, (4, 2)), label="$N^{-1/2}$", zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="number of samples $N$", ylabel=r"error of $p^{1/N}$")
    plane.decades(axes, 5)
    axes.legend(frameon=False, borderpad=0.2, handlelength=1.6, loc="upper right", labelspacing=0.3)
    return pd.concat(tables, ignore_index=True)


def _tidy(count: object, x: object, name: str, value: np.ndarray, error: object = np.nan) -> pd.DataFrame:
    return pd.DataFrame({"N": count, "x": x, "name": name, "value": value, "error": error})
