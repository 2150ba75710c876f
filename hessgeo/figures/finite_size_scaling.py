"""The heat capacity of finite Ising lattices, and how its peak moves towards the critical point and grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from hessgeo.evaluation.finite_size import PEAK_SLOPE, scaling_tables
from hessgeo.evaluation.tables import Case
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style
from hessgeo.systems.solvable.ising import CRITICAL_TEMPERATURE

NAMES = {
    "curves": ("side", "temperature", "heat_capacity"),
    "peaks": ("side", "temperature", "height"),
    "samples": ("side", "temperature", "heat_capacity", "error"),
}


def gather(_: Sequence[Case], *, sizes: Sequence[int], samples: int) -> dict[str, Any]:
    """Curves, peaks and samples of the Ising model on lattices of some sides, computed here."""
    return dict(zip(NAMES, scaling_tables(sizes, samples), strict=True))


@style.theme()
def draw(
    curves: pd.DataFrame, peaks: pd.DataFrame, samples: pd.DataFrame | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Heat capacity a site against temperature (A), where it peaks against ``1/L`` (B), and how high against ``L`` (C).

    Lines in A are exact, marks with bars of one standard error measured on samples. The dashed lines of B and C are
    through the two largest lattices; that of C is labelled with its slope by ``ln L``, which tends to
    ``(8 / pi) K_c^2 = 0.4945``, and that of B with the temperature it reaches at ``1/L = 0``.

    Args:
        curves: ``side``, ``temperature`` (``J / k_B``), ``heat_capacity`` (``k_B`` a site), exact.
        peaks: ``side``, ``temperature``, ``height``; at least two sides.
        samples: ``side``, ``temperature``, ``heat_capacity``, ``error``, if there are any.

    Returns:
        The figure, 7 inches wide, and a tidy table: ``kind`` (exact, measured, peak), ``side``, ``temperature``,
        ``heat_capacity``, ``error``.

    Raises:
        ValueError: if a column is missing, or there is only one peak.
    """
    for name, table in (("curves", curves), ("peaks", peaks), ("samples", samples)):
        if table is None:
            continue
        missing = [column for column in NAMES[name] if column not in table]
        if missing:
            raise ValueError(f"{name} lack the columns {missing}; they have {list(table.columns)}")
    peaks = peaks.sort_values("side", ignore_index=True)
    if peaks["side"].nunique() < 2:
        raise ValueError(f"peaks have {peaks['side'].nunique()} side, must have at least 2")
    figure, panels = plane.matrix(
        1, 3, width=style.DOUBLE_COLUMN, height=2.1, left=0.5, across=0.58, bottom=0.4, up=(), top=0.25
    )
    _draw_curves(panels[0][0], curves, samples)
    _draw_positions(panels[0][1], peaks)
    _draw_heights(panels[0][2], peaks)
    for axes, letter in zip(panels[0], "ABC", strict=True):
        style.panel_letter(axes, letter)
    parts = [
        curves.assign(kind="exact", error=np.nan),
        peaks.rename(columns={"height": "heat_capacity"}).assign(kind="peak", error=np.nan),
    ]
    if samples is not None:
        parts.insert(1, samples.assign(kind="measured"))
    names = ["kind", "side", "temperature", "heat_capacity", "error"]
    return figure, pd.concat([part[names] for part in parts], ignore_index=True)


def _draw_curves(axes: Axes, curves: pd.DataFrame, samples: pd.DataFrame | None) -> None:
    sides = sorted(curves["side"].unique())
    shades = style.colour_map("mako_r")(np.linspace(0.25, 0.9, len(sides)))
    for k, (side, colour) in enumerate(zip(sides, shades, strict=True)):
        own = curves[curves["side"] == side].sort_values("temperature")
        axes.plot(own["temperature"], own["heat_capacity"], color=colour, linewidth=1, label=f"$L$ = {side}")
        if samples is not None:
            dots = samples[samples["side"] == side]
            axes.errorbar(
                dots["temperature"],
                dots["heat_capacity"],
                yerr=dots["error"],
                color=colour,
                fmt=plane.MARKERS[k % len(plane.MARKERS)],
                markersize=2.8,
                elinewidth=0.7,
                capsize=1.2,
                markeredgewidth=0.3,
                markeredgecolor="white",
            )
    axes.axvline(CRITICAL_TEMPERATURE, color="0.5", linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    axes.annotate(
        "$T_c$",
        (CRITICAL_TEMPERATURE, 1),
        (-2, -2),
        ("data", "axes fraction"),
        "offset points",
        ha="right",
        va="top",
    )
    axes.set(xlabel=plane.label("T"), ylabel="heat capacity a site ($k_B$)")
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.legend(frameon=False, loc="upper right", borderpad=0.1, handlelength=1.2, labelspacing=0.25)


def _draw_positions(axes: Axes, peaks: pd.DataFrame) -> None:
    inverse, temperature = 1 / peaks["side"].to_numpy(dtype=float), peaks["temperature"].to_numpy()
    slope, limit = np.polyfit(inverse[-2:], temperature[-2:], 1)
    axes.plot(inverse, temperature, "o", color=plane.BLUE, markersize=3.5, label="exact peak")
    ends = np.array([0, inverse.max()])
    axes.plot(ends, limit + slope * ends, color="0.6", linewidth=0.8, linestyle=(0, (4, 2)), zorder=0,
              label=f"line, {limit:.4f} at 0")  # fmt: skip
    axes.plot(0, CRITICAL_TEMPERATURE, "*", color=plane.RED, markersize=7, clip_on=False, zorder=4,
              label=f"$T_c$ = {CRITICAL_TEMPERATURE:.4f}")  # fmt: skip
    axes.set(xlabel="$1/L$", ylabel="temperature of the peak ($J/k_B$)")
    axes.set_xlim(left=0)
    style.round_ticks(axes, 4, 5)
    axes.legend(frameon=False, loc="upper left", borderpad=0.1, handlelength=1.2, labelspacing=0.25)


def _draw_heights(axes: Axes, peaks: pd.DataFrame) -> None:
    side, height = peaks["side"].to_numpy(dtype=float), peaks["height"].to_numpy()
    slope, constant = np.polyfit(np.log(side[-2:]), height[-2:], 1)
    axes.plot(side, height, "o", color=plane.BLUE, markersize=3.5, label="exact peak")
    axes.plot(side, constant + slope * np.log(side), color="0.6", linewidth=0.8, linestyle=(0, (4, 2)), zorder=0,
              label=f"line, slope {slope:.4f}\n(limit {PEAK_SLOPE:.4f})")  # fmt: skip
    axes.set(xscale="log", xlabel="side $L$", ylabel="height of the peak ($k_B$ a site)")
    every = -(-len(side) // 5)
    axes.set_xticks(side[::every])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.legend(frameon=False, loc="upper left", borderpad=0.1, handlelength=1.2, labelspacing=0.25)
