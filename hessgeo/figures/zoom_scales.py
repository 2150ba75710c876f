"""Lipschitz constants and the dimension of a boundary against the width of a window."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from hessgeo.figures import style
from hessgeo.figures.zoom_strip import below_precision, kinds

COLOURS = ("#0173b2", "#d55e00", "#029e73", "#cc78bc", "#ca9161", "#56b4e9", "#949494", "#de8f05")
MARKS = "osD^vP*X"
PANELS = (
    ("embedding_per_parameter", r"$|\Delta E|\,/\,|\Delta t|$, largest"),
    ("clean_per_latent", r"$|\Delta x|\,/\,|\Delta z|$, largest"),
    ("embedding_per_clean", r"$|\Delta E|\,/\,|\Delta x|$, largest"),
)
SIDE, GAP, LEFT, TOP, BOTTOM, LINE, LEGEND = 1.62, 0.62, 0.55, 0.22, 0.42, 0.125, 0.26  # inches
CHARACTERS = 19  # an inch
COLUMNS = (
    "series", "level", "width", "step", "resolved", "inputs", "images", "pictures", "nodes", "labels", "phases",
    "embedding_per_parameter", "embedding_per_latent", "clean_per_parameter", "clean_per_latent", "embedding_per_clean",
    "boundary", "box_dimension", "box_low", "box_high", "correlation_dimension", "uncertainty_dimension",
)  # fmt: skip


@style.theme()
def draw(table: pd.DataFrame, verdicts: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Three Lipschitz constants, the dimension, and below them the verdict of each series.

    Full marks are windows whose nodes the precision tells apart, hollow ones those below it.

    Args:
        table: of ``pipeline.zoom_verdicts.zoom_table``.
        verdicts: of ``judge_series``.

    Returns:
        The figure, 7 inches wide, and the columns of the table that it shows.
    """
    names = list(dict.fromkeys(table["series"]))
    across = int(CHARACTERS * (style.DOUBLE_COLUMN - 0.2))
    lines = [
        line for name in names for line in textwrap.wrap(f"{name}: {verdict_line(verdicts[name])}", across)
    ]
    below = LINE * len(lines) + 0.1
    height = TOP + 2 * SIDE + 2 * BOTTOM + 0.1 + LEGEND + below
    figure = Figure(figsize=(style.DOUBLE_COLUMN, height))
    wide = (style.DOUBLE_COLUMN - 2 * LEFT - GAP / 2) / 2
    places = [
        (LEFT + k % 2 * (wide + LEFT + 0.1), height - TOP - SIDE - k // 2 * (SIDE + BOTTOM + 0.1))
        for k in range(4)
    ]
    panels = [style.place(figure, *place, wide, SIDE) for place in places]
    for axes, (column, label) in zip(panels, PANELS, strict=False):
        _draw_constant(axes, table, names, column, label)
    _draw_line_search(panels[0], table, verdicts, names)
    _draw_dimension(panels[3], table, names)
    for letter, axes in zip("ABCD", panels, strict=True):
        _scale(axes, table)
        style.panel_letter(axes, letter)
    handles, labels = panels[0].get_legend_handles_labels()
    place = {"loc": "center", "bbox_to_anchor": (0.5, (below + LEGEND / 2) / height)}
    figure.legend(handles, labels, ncols=min(len(labels), 5), frameon=False, **place)
    text = (0.1 / style.DOUBLE_COLUMN, below / height)
    figure.text(*text, "\n".join(lines), fontsize=7, va="top", linespacing=1.25)
    return figure, table[list(COLUMNS)]


def _draw_constant(axes: Axes, table: pd.DataFrame, names: list[str], column: str, label: str) -> None:
    for k, name in enumerate(names):
        rows = table[(table["series"] == name) & (table[column] > 0)]
        width, values = rows["width"].to_numpy(float), rows[column].to_numpy(float)
        told, colour = rows["resolved"].to_numpy(bool), COLOURS[k % len(COLOURS)]
        axes.plot(width, values, "-", color=colour, linewidth=0.8)
        mark = {"linestyle": "none", "marker": MARKS[k % len(MARKS)], "markersize": 3.5, "color": colour}
        axes.plot(width[told], values[told], **mark, label=name)
        axes.plot(width[~told], values[~told], **mark, markerfacecolor="white")
    # Features over clean data hardly change, the others may by decades.
    axes.set(yscale="linear" if column.endswith("clean") else "log", ylabel=label)
    if column.endswith("clean"):
        axes.set_ylim(bottom=0)


def _draw_line_search(axes: Axes, table: pd.DataFrame, verdicts: Mapping[str, Any], names: list[str]) -> None:
    """The slopes that the search for the boundary met, at widths whose grid steps are as long as its intervals."""
    limits = axes.get_ylim()
    for k, name in enumerate(names):
        line, row = verdicts[name]["line"], table[table["series"] == name].iloc[0]
        widths = np.array(line["widths"]) * float(row["width"] / row["step"])
        dotted = {"color": COLOURS[k % len(COLOURS)], "linewidth": 0.8, "linestyle": (0, (1, 1.5))}
        axes.plot(widths, line["slopes"], **dotted, label="along a line" if not k else None)
    axes.set_ylim(limits)


def _draw_dimension(axes: Axes, table: pd.DataFrame, names: list[str]) -> None:
    for k, name in enumerate(names):
        rows = table[(table["series"] == name) & np.isfinite(table["box_dimension"].to_numpy(float))]
        width, value = rows["width"].to_numpy(float) * 1.12**k, rows["box_dimension"].to_numpy(float)
        bars = [value - rows["box_low"].to_numpy(float), rows["box_high"].to_numpy(float) - value]
        told, colour = rows["resolved"].to_numpy(bool), COLOURS[k % len(COLOURS)]
        mark = {"linestyle": "none", "marker": MARKS[k % len(MARKS)], "markersize": 3.5, "color": colour}
        axes.errorbar(width, value, yerr=np.maximum(bars, 0), **mark, elinewidth=0.8, markerfacecolor="white")
        axes.plot(width[told], value[told], **mark, zorder=4)
    axes.axhline(1, color="0.5", linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    axes.set(ylabel="box dimension of the boundary", ylim=(0.5, 2.1))


def _scale(axes: Axes, table: pd.DataFrame) -> None:
    """Widths from the whole box to the narrowest window, left to right."""
    low, high = table["width"].min(), table["width"].max()
    axes.set(xscale="log", xlim=(2.5 * high, low / 2.5), xlabel="width of the window, share of the box")
    axes.xaxis.set_major_locator(LogLocator(numticks=7))
    axes.xaxis.set_minor_formatter(NullFormatter())


def verdict_line(found: Mapping[str, Any]) -> str:
    """What became of the Lipschitz constant and of the boundary, with the numbers that decided."""
    law, shape = found["lipschitz"]["embedding_per_parameter"], found["boundary"]
    lipschitz = f"Lipschitz constant {law['verdict']}: {law['reason']}"
    return f"{lipschitz}; {kinds(shape)}{below_precision(shape)}"
