"""How the results move with the resolution number N."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from hessgeo.figures import style
from hessgeo.figures.saving import RESOLVED

LABELS = {
    "range_free_energy": "range of $F$\n(nats per $N$)",
    "rms_gradient": "rms of $\\nabla F$\n(nats per $N$)",
    "largest_eigenvalue_99": "$\\lambda_{\\max}(g)$\n(nats per $N$)",
    "largest_eigenvalue_median": "$\\lambda_{\\max}(g)$\n(nats per $N$)",
    "effective_cells_median": "effective cells,\nmedian",
    "phases": "number of phases",
    "positive_definite_share": "share of cells\npositive definite",
    "total_variation": "total variation,\nmeasured to fitted",
}
COLUMNS = 4
BLUE, ORANGE = "#0173b2", "#d55e00"
PANELS = [
    ("range_free_energy",),
    ("rms_gradient",),
    ("largest_eigenvalue_99", "largest_eigenvalue_median"),
    ("effective_cells_median",),
    ("phases",),
    ("positive_definite_share",),
    ("total_variation",),
]
LOGARITHMIC = {"largest_eigenvalue_99", "largest_eigenvalue_median", "effective_cells_median"}
NAMES = {
    "largest_eigenvalue_99": r"$\lambda_{\max}$: 99th percentile",
    "largest_eigenvalue_median": r"$\lambda_{\max}$: median",
}


def verdict(scan: pd.DataFrame) -> str:
    """The ``N`` at which the fit is not to be trusted, if there are any."""
    poor = scan.loc[~(scan["converged"] & scan["resolved"]), "N"]
    return "at N = " + ", ".join(f"{n:.4g}" for n in poor) if len(poor) else RESOLVED


@style.theme()
def draw(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Small multiples against ``N`` on a logarithmic axis, the chosen ``N`` marked.

    Args:
        table: a row per ``N`` with columns ``N``, ``chosen`` and any of ``range_free_energy``,
            ``rms_gradient``, ``largest_eigenvalue_99``, ``largest_eigenvalue_median``,
            ``effective_cells_median``, ``phases``, ``positive_definite_share``, ``total_variation``. A panel
            without a column is left out.

    Returns:
        The figure, 7 inches wide, and the table by rising ``N`` with the columns shown.

    Raises:
        ValueError: if ``N`` or ``chosen`` is missing, or none of the other columns is there.
    """
    panels = [shown for names in PANELS if (shown := [name for name in names if name in table])]
    missing = [name for name in ("N", "chosen") if name not in table]
    if missing or not panels:
        raise ValueError(
            f"a resolution scan needs N, chosen and one of {list(LABELS)}; it has {list(table.columns)}"
        )
    table = table.sort_values("N", ignore_index=True)
    figure, grid, free = _panels(len(panels))
    for k, (axes, names) in enumerate(zip(grid, panels, strict=True)):
        _draw_curves(axes, table, names)
        _scale_values(axes, names[0], table[names].to_numpy(dtype=float))
        _label_resolution(axes, table["N"].to_numpy(dtype=float))
        style.panel_letter(axes, "ABCDEFG"[k])
    _draw_legend(figure, grid, free)
    return figure, table[["N", "chosen", *(name for names in panels for name in names)]]


def _draw_curves(axes: Axes, table: pd.DataFrame, names: list[str]) -> None:
    """One panel: a line per column, the chosen row filled and its ``N`` marked."""
    resolution = table["N"].to_numpy(dtype=float)
    chosen = table["chosen"].to_numpy(dtype=bool)
    for name, colour in zip(names, (BLUE, ORANGE), strict=False):
        values = table[name].to_numpy(dtype=float)
        ring = {"color": colour, "markersize": 3.5, "markerfacecolor": "white"}
        axes.plot(resolution, values, "-o", **ring, label=NAMES.get(name))
        axes.plot(resolution[chosen], values[chosen], "o", color=colour, markersize=5, zorder=4)
        axes.set_ylabel(LABELS[name])
    for k, value in enumerate(resolution[chosen]):
        label = None if k else "chosen $N$"  # one entry in the legend
        axes.axvline(value, color="0.5", linewidth=0.8, linestyle=(0, (3, 2)), zorder=0, label=label)


def _panels(count: int) -> tuple[Figure, list[Axes], tuple[float, float]]:
    """Panels in rows of four, and the middle of a free place for the legend, as fractions of the figure."""
    left, gap, bottom, side, pitch, legend = 0.68, 0.66, 0.4, 1.04, 1.65, 0.25
    below = count % COLUMNS == 0  # no place is left beside the panels
    rows = -(-count // COLUMNS)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, rows * pitch + legend * below))
    places = [
        (left + k % COLUMNS * (side + gap), bottom + legend * below + (rows - 1 - k // COLUMNS) * pitch)
        for k in range(rows * COLUMNS)
    ]
    panels = [style.place(figure, *place, side, pitch - bottom - 0.2) for place in places[:count]]
    middle = (style.DOUBLE_COLUMN / 2, 0.16) if below else (places[-1][0] + 0.4, places[-1][1] + side / 2)
    across, up = figure.get_size_inches()
    return figure, panels, (middle[0] / across, middle[1] / up)


def _draw_legend(figure: Figure, panels: list[Axes], middle: tuple[float, float]) -> None:
    """One legend for all panels."""
    entries: dict[str, Artist] = {}
    for axes in panels:
        entries |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    columns = len(entries) if len(panels) % COLUMNS == 0 else 1
    handles, labels = list(entries.values()), list(entries)
    figure.legend(handles, labels, loc="center", bbox_to_anchor=middle, ncols=columns, frameon=False)


def _scale_values(axes: Axes, name: str, values: np.ndarray) -> None:
    """Logarithmic axis with plain numbers where the size is unknown, whole numbers for a count, else a few."""
    if name in LOGARITHMIC and (values > 0).all():
        axes.set_yscale("log")
        few = np.ptp(np.log10(values)) < 1.5
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif name == "phases":
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        # A power of ten above the axis: long numbers would meet the panel beside it.
        axes.ticklabel_format(axis="y", scilimits=(-2, 4), useMathText=True)


def _label_resolution(axes: Axes, resolution: np.ndarray) -> None:
    """Logarithmic ``N`` axis with numbers at the scanned values."""
    axes.set_xscale("log")
    axes.set_xlabel("resolution $N$")
    every = -(-len(resolution) // 3)  # more numbers than three run into each other
    shown = [f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in resolution]
    axes.set_xticks(resolution, [text if k % every == 0 else "" for k, text in enumerate(shown)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.08, y=0.15)
