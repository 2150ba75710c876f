"""Frames and colours of figures: those of seaborn, whose import would take every figure a second for its statistics."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.colors import ListedColormap, to_rgb

# Frames and ticks of seaborn's style "ticks" in the context "paper", whatever a user's own matplotlibrc says.
FRAMES: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.facecolor": "white",
    "axes.grid": False,
    **{f"axes.spines.{side}": True for side in ("left", "bottom", "right", "top")},
    "font.family": ["sans-serif"],
    "grid.color": ".8",
    "grid.linestyle": "-",
    "grid.linewidth": 0.8,
    "image.cmap": "rocket",
    "lines.markersize": 4.8,
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "patch.linewidth": 0.8,
    "xtick.bottom": True,
    "xtick.direction": "out",
    "xtick.top": False,
    "ytick.direction": "out",
    "ytick.left": True,
    "ytick.right": False,
}

# Told apart by readers of any colour vision: seaborn's palette "colorblind".
LINES = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
)  # fmt: skip
MAPS = ("rocket", "mako", "vlag")  # of seaborn, perceptually uniform


def line_colours(count: int = len(LINES)) -> list[tuple[float, float, float]]:
    """Colours of lines, from the first again where there are more lines than colours."""
    return [to_rgb(colour) for colour in islice(cycle(LINES), count)]


def register_maps() -> None:
    """Give matplotlib the maps of ``MAPS`` and, by ``<name>_r``, their reverses; those it has are left alone.

    Their tables are read from seaborn's file, as it is installed.

    Raises:
        ModuleNotFoundError: if seaborn is not installed.
    """
    if all(name in mpl.colormaps for name in MAPS):
        return
    found = find_spec("seaborn")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("seaborn is not installed, which has the colour maps of the figures")
    file = Path(found.submodule_search_locations[0], "cm.py")
    given = [node for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.Assign)]
    tables = {ast.unparse(node.targets[0]): node.value for node in given}
    for name in MAPS:
        if name not in mpl.colormaps:
            colours = ast.literal_eval(tables[f"_{name}_lut"])
            mpl.colormaps.register(ListedColormap(colours, name))
            mpl.colormaps.register(ListedColormap(colours[::-1], f"{name}_r"))
