"""What must be known of the fit behind a figure, in a line above it."""

from __future__ import annotations

import textwrap

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

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
