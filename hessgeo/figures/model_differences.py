"""Studies on the same latents: the phases of the first, of each other, and the cells that changed."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hessgeo.figures import style
from hessgeo.figures.phases import Colour, colours_of, draw_map

LEFT, GAP, BESIDE = (
    0.5,
    0.1,
    2.15,
)  # room left of the maps, between them, and for the numbers on the right, inches
TOP, BETWEEN, LABELS, LINE = 0.22, 0.1, 0.37, 0.125  # titles, between rows, labels below, a line of text
CHARACTERS = 118  # of the verdict, in a line
CHANGES = {  # what became of a cell
    "neither": "#e8e8e8",
    "image": "#56b4e9",
    "phase": "#e69f00",
    "both": "#7b3294",
}


@style.theme()
def draw(differences: xr.Dataset, measured: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """Phases of the first study, of another, and where phase or image changed, a row a study; numbers beside them.

    Phases of the others have the names and colours of those of the first that they overlap most.

    Args:
        differences: ``first_label`` on ``(a, b)``; ``label``, ``image_distance`` and ``metric_distance`` on
            ``(study, a, b)``.
        measured: ``first``, ``share``, ``null`` with its ``threshold``, ``models`` with the numbers of each study, and
            the ``finding``, in words.

    Returns:
        The figure, 7 inches wide, and a row per study and node: ``study``, ``a``, ``b``, the two labels, the distances
        and whether the cell keeps its phase and its image.
    """
    a, b = style.axes_of(differences)
    first = style.field(differences, "first_label").astype(int)
    labels = differences["label"].transpose("study", "a", "b").to_numpy().astype(int)
    rows, ratio = len(labels), style.height_ratio(a, b)
    words = textwrap.wrap(measured["finding"], CHARACTERS)
    below = LABELS + 0.28 + LINE * len(words) + 0.06
    side = (style.DOUBLE_COLUMN - LEFT - 3 * GAP - BESIDE) / 3
    side = min(side, ((style.PAGE_HEIGHT - TOP - below) / rows - BETWEEN) / ratio)
    height = TOP + rows * (side * ratio + BETWEEN) + below
    figure = Figure(figsize=(style.DOUBLE_COLUMN, height))
    colours = colours_of(range(1, max(int(first.max()), int(labels.max())) + 1))
    tables = []
    for row, numbers in enumerate(measured["models"]):
        bottom = height - TOP - (row + 1) * (side * ratio + BETWEEN) + BETWEEN
        places = [LEFT + k * (side + GAP) for k in range(3)]
        maps = [style.place(figure, left, bottom, side, side * ratio) for left in places]
        table = _rows(differences.isel(study=row), first, labels[row], measured["null"]["threshold"])
        changed = table.pop("change").to_numpy().reshape(first.shape)
        _draw_row(maps, (first, labels[row], changed), a, b, colours)
        _label(maps, numbers["study"], measured["first"], first=row == 0, last=row == rows - 1)
        _write(figure, numbers, LEFT + 3 * (side + GAP), bottom + side * ratio)
        table.insert(0, "study", numbers["study"])
        tables.append(table)
    _explain(figure, words, below)
    return figure, pd.concat(tables, ignore_index=True)


def _rows(fields: xr.Dataset, first: np.ndarray, label: np.ndarray, threshold: float) -> pd.DataFrame:
    """A row a node, with what became of it as a place in ``CHANGES``."""
    columns = {
        "first_label": first,
        "label": label,
        "image_distance": style.field(fields, "image_distance"),
        "metric_distance": style.field(fields, "metric_distance"),
        "keeps_phase": first == label,
    }
    columns["keeps_image"] = columns["image_distance"] <= threshold
    columns["change"] = 2 * ~columns["keeps_phase"] + ~columns["keeps_image"]
    return style.node_table(*style.axes_of(fields), columns)


def _draw_row(
    maps: list[Axes],
    fields: tuple[Int[np.ndarray, "a b"], ...],
    a: np.ndarray,
    b: np.ndarray,
    colours: Mapping[int, Colour],
) -> None:
    first, label, changed = fields
    for axes, phases in zip(maps[:2], (first, label), strict=True):
        draw_map(axes, phases, a, b, colours)
    scale = {"cmap": ListedColormap(list(CHANGES.values())), "norm": BoundaryNorm(np.arange(5) - 0.5, 4)}
    style.show_field(maps[2], changed, a, b, **scale)


def _label(maps: list[Axes], study: str, against: str, *, first: bool, last: bool) -> None:
    """Names above the maps, parameters at the outer ones alone."""
    for place, axes in enumerate(maps):
        style.label_parameters(axes, horizontal=last, vertical=place == 0)
        axes.set_xlabel("$a$" if last else "")
        axes.set_ylabel("$b$" if place == 0 else "")
    if first:
        for axes, title in zip(maps, (against, "the other", "changed cells"), strict=True):
            axes.set_title(title)


def _write(figure: Figure, numbers: Mapping[str, Any], left: float, top: float) -> None:
    """The numbers of one study, beside its maps."""
    across, up = figure.get_size_inches()
    shift, metric = numbers["boundary_shift"], numbers["metric_distance"]
    rand = numbers["adjusted_rand"]
    lines = [
        f"keeps its phase: {_share(numbers['keeps_phase'])}",
        f"keeps its image: {_share(numbers['keeps_image'])}",
        f"adjusted Rand {rand['value']:.3f} [{rand['low']:.3f}, {rand['high']:.3f}]",
        "no boundary in one of them"
        if shift is None
        else f"boundaries move by {shift['median']:.1f} ({shift['upper']:.1f})",
        "" if shift is None else f"  steps, at most {shift['there']:.1f} there, {shift['back']:.1f} back",
        "no metric in common" if metric is None else f"metrics {metric:.2f} apart",
    ]
    figure.text(left / across, top / up, numbers["study"], fontweight="bold", va="top", fontsize=8)
    text = "\n".join(line for line in lines if line)
    figure.text(left / across, (top - 0.16) / up, text, va="top", fontsize=7, linespacing=1.15)


def _share(interval: Mapping[str, float]) -> str:
    value, low, high = (100 * interval[name] for name in ("value", "low", "high"))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _explain(figure: Figure, words: list[str], below: float) -> None:
    """The colours of the changed cells, and the verdict."""
    across, up = figure.get_size_inches()
    handles = [Patch(facecolor=colour, edgecolor="0.5", linewidth=0.5) for colour in CHANGES.values()]
    names = ["cell unchanged", "another image", "another phase", "both"]
    place = {
        "loc": "upper left",
        "bbox_to_anchor": (LEFT / across, (below - LABELS) / up),
        "borderaxespad": 0.0,
    }
    figure.legend(handles, names, ncols=4, frameon=False, handlelength=1.2, columnspacing=1.6, **place)
    figure.text(
        0.08 / across, (below - LABELS - 0.28) / up, "\n".join(words), va="top", fontsize=7, linespacing=1.2
    )
