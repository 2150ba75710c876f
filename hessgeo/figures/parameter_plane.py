"""What figures of solvable systems share: named parameters, and maps of any shape over their box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Num
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator, NullFormatter

from hessgeo.figures import style
from hessgeo.figures.look import line_colours
from hessgeo.grids import Grid

PARAMETERS = {  # symbol, words, and unit by name
    "T": ("T", "temperature", "J/k_B"),
    "H": ("H", "field", "J"),
    "K": ("K", "coupling", ""),
    "h": ("h", "field", ""),
    "K1": ("K_1", "coupling", ""),
    "K2": ("K_2", "coupling", ""),
    "alpha": (r"\alpha", "entry rate", ""),
    "beta": (r"\beta", "exit rate", ""),
    "l0": (r"\lambda_0", "share of nearest neighbours", ""),
    "l1": (r"\lambda_1", "temperature", ""),
}
RED, BLUE, ORANGE, GREEN, GREY = "#c1272d", "#0173b2", "#d55e00", "#029e73", "0.45"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def label(name: str) -> str:
    """How a parameter is called on an axis; an unknown one by its own name."""
    if name not in PARAMETERS:
        return name
    mark, words, unit = PARAMETERS[name]
    return f"{words} ${mark}$ (${unit}$)" if unit else f"{words} ${mark}$"


def symbol(name: str) -> str:
    """Its symbol, for use inside of mathematics; an unknown one in upright letters."""
    upright = name if len(name) == 1 else rf"\mathrm{{{name}}}".replace("_", r"\_")
    return PARAMETERS.get(name, (upright,))[0]


def derivative(name: str) -> str:
    """``dF / d name`` in mathematics."""
    return rf"$\partial F/\partial {symbol(name)}$"


def colours(count: int) -> list:
    """Colours that readers with any kind of colour vision tell apart, as many as asked for."""
    return line_colours(count)


def draw_field(
    axes: Axes,
    values: Num[np.ndarray, "node"],
    grid: Grid,
    names: Sequence[str],
    *,
    cmap: str | Colormap = style.SEQUENTIAL,
    norm: Normalize | None = None,
    horizontal: bool = True,
    vertical: bool = True,
) -> AxesImage:
    """A field over the box that fills its panel, whatever the units of the parameters; inner panels drop labels."""
    image = style.show_field(axes, values.reshape(grid.shape), *grid.axes, cmap=cmap, norm=norm)
    axes.set_aspect("auto")
    style.round_ticks(axes, 4, 4)
    axes.tick_params(labelbottom=horizontal, labelleft=vertical)
    if horizontal:
        axes.set_xlabel(label(names[0]))
    if vertical:
        axes.set_ylabel(label(names[1]))
    return image


def decades(axes: Axes, most: int) -> None:
    """Numbers at powers of ten alone on logarithmic axes."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=most))
        axis.set_minor_formatter(NullFormatter())


def symmetric_norm(values: Num[np.ndarray, "node"], *, tail: float = 0.5) -> Normalize:
    """Linear colour scale about zero that leaves out the percentiles of both tails."""
    finite = np.abs(values[np.isfinite(values)])
    reach = float(np.percentile(finite, 100 - tail)) if finite.size else 1.0
    reach = reach or 1.0
    return Normalize(-reach, reach)


def node_table(
    grid: Grid, names: Sequence[str], columns: Mapping[str, Num[np.ndarray, "node"]]
) -> pd.DataFrame:
    """One row per node: the two parameters under their names, then the fields."""
    a, b = grid.axes
    return style.node_table(a, b, columns).rename(columns=dict(zip("ab", names, strict=True)))


def matrix(
    rows: int,
    columns: int,
    *,
    width: float,
    height: float,
    left: float,
    across: float,
    bottom: float,
    up: Sequence[float],
    top: float,
    right: float = 0.12,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a matrix of panels of one size.

    Args:
        rows: of panels.
        columns: of panels.
        width: of the figure, inches; the panels share what the margins leave.
        height: of a panel, inches.
        left: room left of the first column.
        across: between columns.
        bottom: below the last row.
        up: above each row but the first, from the second row on, inches.
        top: above the first row.
        right: right of the last column.

    Returns:
        The figure, and its axes row by row from the top.
    """
    side = (width - left - right - across * (columns - 1)) / columns
    total = bottom + rows * height + sum(up) + top
    figure = Figure(figsize=(width, total))
    panels = []
    for row in range(rows):
        base = total - top - (row + 1) * height - sum(up[:row])
        panels.append(
            [style.place(figure, left + k * (side + across), base, side, height) for k in range(columns)]
        )
    return figure, panels


def fitted_slope(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """Slope of ``log y`` against ``log x`` by least squares, and its standard error (NaN of less than three)."""
    u, v = np.log(x), np.log(y)
    spread = ((u - u.mean()) ** 2).sum()
    slope = float(((u - u.mean()) * v).sum() / spread)
    if len(u) < 3:
        return slope, float("nan")
    residual = v - v.mean() - slope * (u - u.mean())
    return slope, float(np.sqrt((residual**2).sum() / (len(u) - 2) / spread))
