"""From results to the files of a figure: deterministic, and marked with what must be known of the fit behind it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from hessgeo.figures import style
from hessgeo.store import whole, write_table

RESOLVED = "resolved"
_COLOUR = "#b3261e"
_CHARACTERS = 17  # an inch, of the font below
_LINE, _EDGE = 0.12, 0.06  # inches


def mark_verdict(figure: Figure, verdict: str) -> Bbox | None:
    """Write a verdict above a figure, and give the box that holds both, inches; None where there is nothing to say.

    Args:
        figure: as it is to be saved; what stands in it keeps its place and size.
        verdict: ``resolved``, or what keeps the fit from being trusted.
    """
    if verdict == RESOLVED:
        return None
    across, up = figure.get_size_inches()
    lines = textwrap.wrap(f"NOT RESOLVED: {verdict}", width=int(_CHARACTERS * across))
    height = up + _EDGE + _LINE * len(lines)
    figure.text(
        _EDGE / across, (height - _EDGE / 2) / up, "\n".join(lines),
        fontsize=7, color=_COLOUR, ha="left", va="top", linespacing=1.1,
    )  # fmt: skip
    return Bbox.from_extents(0, 0, across, height)


def verdict_of(*results: Any, **_: Any) -> str:
    """The verdict that the first of some results bears which has one; ``resolved`` where none has."""
    for result in results:
        about = getattr(result, "attrs", result)
        if isinstance(about, Mapping) and "verdict" in about:
            return str(about["verdict"])
    return RESOLVED


def save_figure(
    figure: Figure,
    table: pd.DataFrame,
    svg: str | Path,
    png: str | Path,
    csv: str | Path,
    *,
    verdict: str = RESOLVED,
) -> None:
    """Write a figure and its numbers, each file whole or not at all; the same input gives the same bytes.

    Args:
        figure: what to draw, at its own size.
        table: the numbers it shows.
        svg: vector file, no date in it; heavy meshes are embedded at 300 dpi.
        png: at ``style.PNG_DPI``.
        csv: numbers with ten significant digits, no index.
        verdict: of the fit that the figure is made from; unless ``resolved``, it stands in a line above.
    """
    with style.theme(), whole(svg) as vectors, whole(png) as pixels:
        box = mark_verdict(figure, verdict)
        figure.savefig(vectors, format="svg", dpi=300, metadata={"Date": None}, bbox_inches=box)
        figure.savefig(pixels, format="png", dpi=style.PNG_DPI, bbox_inches=box)
    write_table(csv, table)


def drawn(
    module: ModuleType, results: Sequence[Any], settings: Mapping[str, Any]
) -> tuple[Figure, pd.DataFrame]:
    """A figure of the registry and its numbers.

    Args:
        module: its module. ``gather``, if it has one, makes the arguments of ``draw`` from the results.
        results: what the figure shows, in the order of its ``reads``.
        settings: its settings, by name.
    """
    made: tuple[Figure, pd.DataFrame] = (
        module.draw(**module.gather(*results, **settings))
        if hasattr(module, "gather")
        else module.draw(*results, **settings)
    )
    return made


def draw_and_save(
    module: ModuleType, results: Sequence[Any], settings: Mapping[str, Any], output: Any
) -> None:
    """Draw a figure of the registry and write its files.

    Args:
        module: its module, see ``drawn``; its ``verdict``, if it has one, says what ``verdict_of`` does not.
        results: see ``drawn``.
        settings: see ``drawn``.
        output: ``svg``, ``png`` and ``csv``, the files.
    """
    figure, table = drawn(module, results, settings)
    verdict = getattr(module, "verdict", verdict_of)(*results, **settings)
    save_figure(figure, table, output.svg, output.png, output.csv, verdict=verdict)
