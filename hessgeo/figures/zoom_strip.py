"""Windows that shrink about a point of a boundary, side by side in every precision."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Num, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.look import LINES, line_colours

LEFT, GAP, TOP, ROW, LINE = 0.52, 0.03, 0.30, 0.16, 0.125  # inches
CHARACTERS = 19  # an inch, of the verdicts
TILES = 4  # images along a side of a mosaic
FADED = 0.35  # of windows below the precision


@style.theme()
def draw(windows: xr.Dataset, verdicts: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """A row of mosaics and one of phase maps a series, from the whole box to the narrowest window.

    Args:
        windows: ``image``, ``label``, ``series``, ``level``, ``width`` and ``resolved`` on the dimension ``window``.
        verdicts: of each series, see ``pipeline.zoom_verdicts.judge_series``.

    Returns:
        The figure, 7 inches wide, and a row a window: series, level, width, whether its nodes are told apart, and the
        share of its largest phase.
    """
    levels = np.unique(windows["level"].to_numpy())
    names = list(dict.fromkeys(windows["series"].to_numpy().tolist()))
    side = (style.DOUBLE_COLUMN - LEFT - 0.1 - GAP * (len(levels) - 1)) / len(levels)
    texts = {
        name: textwrap.wrap(verdict_line(verdicts[name]), int(CHARACTERS * (style.DOUBLE_COLUMN - LEFT)))
        for name in names
    }
    blocks = [2 * side + GAP + LINE * len(texts[name]) + ROW for name in names]
    height = TOP + sum(blocks)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, height))
    colours = ListedColormap(colours_of(windows["label"].to_numpy()))
    rows, top = [], height - TOP
    for name, block in zip(names, blocks, strict=True):
        for k in np.flatnonzero(windows["series"].to_numpy() == name):
            window = windows.isel(window=k)
            left = LEFT + (side + GAP) * int(np.searchsorted(levels, int(window["level"])))
            frames = [style.place(figure, left, top - (side + GAP) * r - side, side, side) for r in (0, 1)]
            rows.append(_draw_window(frames, window, colours))
            if name == names[0]:
                frames[0].set_title(_width(float(window["width"])), fontsize=7, pad=2)
        _label_series(figure, name, texts[name], top, side)
        top -= block
    figure.text(0.02 / 7, (height - TOP + 0.05) / height, "width", fontsize=7, va="bottom")
    return figure, pd.DataFrame(rows)


def _draw_window(frames: list[Axes], window: xr.Dataset, colours: ListedColormap) -> dict[str, Any]:
    """A window's mosaic above its phases; pale where its nodes cannot be told apart."""
    resolved, label = bool(window["resolved"]), window["label"].to_numpy()
    mosaic = style.displayable(mosaic_of(_some(window["image"].to_numpy())))
    alpha = 1.0 if resolved else FADED
    frames[0].imshow(mosaic, cmap="gray", vmin=0, vmax=255, interpolation="none", alpha=alpha)
    frames[1].imshow(
        label.T - 0.5, cmap=colours, vmin=0, vmax=colours.N, origin="lower", interpolation="none", alpha=alpha
    )
    for axes in frames:
        axes.set(xticks=[], yticks=[])
    share = np.bincount(label.ravel()).max() / label.size
    about = {name: window[name].item() for name in ("series", "level", "width", "resolved")}
    return {**about, "phases": len(np.unique(label)), "largest_phase": float(share)}


def _some(image: UInt8[np.ndarray, "ta tb h w c"]) -> UInt8[np.ndarray, "sa sb h w c"]:
    """A few of the images along each side, from edge to edge: as many as can be seen at this size."""
    first, second = (np.rint(np.linspace(0, n - 1, min(n, TILES))).astype(int) for n in image.shape[:2])
    return image[np.ix_(first, second)]


def mosaic_of(image: UInt8[np.ndarray, "ta tb h w c"]) -> Num[np.ndarray, "y x c"]:
    """Images side by side, ``a`` to the right and ``b`` upwards."""
    ta, tb, h, w, c = image.shape
    return image[:, ::-1].transpose(1, 2, 0, 3, 4).reshape(tb * h, ta * w, c)


def colours_of(label: Num[np.ndarray, "window a b"]) -> list[str]:
    """A colour for each phase of the study, the same in all windows."""
    count = int(label.max())
    return list(map(to_hex, line_colours(count) if count <= len(LINES) else _hues(count)))


def _hues(count: int) -> list[tuple[float, float, float]]:
    """So many hues of one lightness."""
    import seaborn as sns  # of many phases alone: it takes a second to import

    found: list[tuple[float, float, float]] = sns.husl_palette(count)
    return found


def _label_series(figure: Figure, name: str, lines: list[str], top: float, side: float) -> None:
    height = figure.get_size_inches()[1]
    precision, _, steps = name.partition("-")
    words = f"{precision}\n{steps} steps" if steps.isdigit() else f"{precision}\n{steps} ODE"
    figure.text(0.02 / 7, (top - side - GAP / 2) / height, words, fontsize=7, va="center", linespacing=1.2)
    place = (LEFT / 7, (top - 2 * side - GAP - 0.03) / height)
    figure.text(*place, "\n".join(lines), fontsize=7, va="top", linespacing=1.2)


def verdict_line(found: Mapping[str, Any]) -> str:
    """The verdicts of a series in words."""
    law, shape = found["lipschitz"]["embedding_per_parameter"], found["boundary"]
    dimension = ""
    if "box_dimension" in shape:
        interval = f"[{shape['box_low']:.2f}, {shape['box_high']:.2f}]"
        dimension = (
            f"; box dimension {shape['box_dimension']:.2f} {interval} at width {_plain(shape['width'])}"
        )
    lipschitz = f"Lipschitz constant {law['verdict']}"
    return f"{lipschitz}; {kinds(shape)}{dimension}{below_precision(shape)}"


def kinds(shape: Mapping[str, Any]) -> str:
    """In how many windows the boundary is of which kind, in words."""
    if not shape["resolved"]:
        return "no window is resolved"
    counted = ", ".join(f"{kind} in {count}" for kind, count in shape["windows"].items()) or "seen in none"
    return f"boundary {counted} of {shape['resolved']} resolved windows"


def below_precision(shape: Mapping[str, Any]) -> str:
    """What the boundary would seem to be in windows below the precision, in words; nothing where it is not fractal."""
    if "fractal" not in shape["below"]:
        return ""
    largest = f"box dimension up to {shape['below_dimension']:.2f}"
    return (
        f"; below the precision, in {shape['below']['fractal']}, rounding makes it look fractal ({largest})"
    )


def _plain(width: float) -> str:
    return f"{width:.0e}" if width < 0.01 else f"{width:.2g}"


def _width(width: float) -> str:
    """A power of ten as one, else two digits."""
    power = np.log10(width)
    if abs(power - round(power)) < 1e-6 and power < -0.5:
        return f"$10^{{{round(power)}}}$"
    return style.number(width) if width >= 1e-3 else f"{width:.0e}"
