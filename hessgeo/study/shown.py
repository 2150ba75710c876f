"""How an object of a study shows itself: a few lines of numbers, and in a notebook a figure beside them."""

from __future__ import annotations

import base64
import html
import io
import sys
import textwrap
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from hessgeo.grids import Grid
from hessgeo.study.parts import Parts

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RESOLVED = "resolved"
LINES, WIDTH = 3, 110  # of a text; what is longer ends in dots
DPI = 110  # of figures in a notebook


class Shown(ABC):
    """Something of a study, with numbers that a line can say, and with a figure.

    Attributes:
        parts: of the study.
    """

    parts: Parts

    @property
    @abstractmethod
    def facts(self) -> dict[str, str]:
        """What is worth knowing at first sight, by what it is; the first entry is what it is called."""

    @property
    def verdict(self) -> str:
        """``resolved``, or what keeps the fit of the free energy from being trusted."""
        return self.parts.verdict

    @abstractmethod
    def draw(self) -> tuple[Figure, pd.DataFrame]:
        """The workflow's figure, and the numbers in it."""

    def plot(self) -> Figure:
        """The workflow's figure."""
        return finished(self.draw()[0], self.verdict)

    def __repr__(self) -> str:
        """The facts in at most three lines."""
        (kind, name), *rest = self.facts.items()
        text = f"{kind} {name}: " + "; ".join(f"{key} {value}" for key, value in rest)
        lines = textwrap.wrap(
            text, WIDTH, max_lines=LINES, placeholder=" ...", subsequent_indent="  ", break_on_hyphens=False
        )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The figure and a table of the facts, for a notebook."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for key, value in self.facts.items()
        )
        picture = base64.b64encode(png(self.plot())).decode()
        return f"<div><img src='data:image/png;base64,{picture}' style='max-width:40em'/><table>{rows}</table></div>"


def png(figure: Figure) -> bytes:
    """A figure as a picture, with what stands above it."""
    from hessgeo.figures import style

    with style.theme(), io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight")
        return file.getvalue()


def finished(figure: Figure, verdict: str) -> Figure:
    """A figure for whoever asked for it: marked with the verdict on its fit, and shown at the end of a cell.

    Figures of this package are made without ``pyplot``, so that IPython has to be told how to show them.
    """
    from matplotlib.figure import Figure as Kind

    from hessgeo.figures.saving import mark_verdict

    mark_verdict(figure, verdict)
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        shell.display_formatter.formatters["image/png"].for_type(Kind, png)
    return figure


def box(grid: Grid) -> str:
    """``64 x 64 nodes over [-1, 2] x [-1, 2]``."""
    sides = " x ".join(f"[{low:g}, {high:g}]" for low, high in grid.extent)
    return f"{grid.shape[0]} x {grid.shape[1]} nodes over {sides}"


def share(value: float) -> str:
    """A share in percent, one hundred only where nothing is left out."""
    return f"{100 * value:.3g} %" if value in (0, 1) or 0.0005 < value < 0.9995 else f"{100 * value:.6g} %"


def judged(verdict: str) -> str:
    """A verdict that cannot be overlooked."""
    return verdict if verdict == RESOLVED else f"NOT RESOLVED: {verdict}"
