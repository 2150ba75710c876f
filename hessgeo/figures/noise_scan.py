"""What a sampler's noise leaves of phases and boundaries, against how much of it there is."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style
from hessgeo.figures.phases import colours_of, draw_map

LEFT, RIGHT, GAP, HEIGHT = 0.64, 0.12, 0.6, 1.35  # of the panels, inches
TOP, BELOW, BETWEEN = 0.45, 0.52, 0.12  # above the panels, below each, between maps and their names
THIN, LINE, CHARACTERS = 0.06, 0.125, 118  # between maps; of the verdict: a line, and letters in one
RULES = {"ddim": "DDIM's rule", "renewal": "renewal"}
SHARP = ("steepness of images", "length by the Fisher metric")
COLOURS = {"ddim": plane.RED, "renewal": plane.BLUE}
MARKERS = {"ddim": "o", "renewal": "s"}


@style.theme()
def draw(
    noise_maps: xr.Dataset, noise: pd.DataFrame, noise_numbers: Mapping[str, Any]
) -> tuple[Figure, pd.DataFrame]:
    """Phases, agreement of maps and sharpness of boundaries against noise (A to D), and the maps (E).

    Args:
        noise_maps: ``label`` on ``(eta_rule, eta, a, b)``, zero where there is none.
        noise: from ``noise_frame``.
        noise_numbers: ``finding``, in words; ``sigma`` of the two modes that are exact; ``steps``.

    Returns:
        The figure, 7 inches wide, and ``noise`` as it came.
    """
    a, b = style.axes_of(noise_maps)
    rules = [str(rule) for rule in noise_maps["eta_rule"].to_numpy()]
    etas = noise_maps["eta"].to_numpy()
    words = textwrap.wrap(noise_numbers["finding"], CHARACTERS)
    room = (style.DOUBLE_COLUMN - LEFT - RIGHT - THIN * (len(etas) - 1)) / len(etas)
    ratio = min(style.height_ratio(a, b), 2.0)
    side = min(room, 1.0)
    maps = len(rules) * (side * ratio + THIN) + BETWEEN + 0.42
    text = LINE * len(words) + 0.12
    height = TOP + 2 * (HEIGHT + BELOW) + maps + text
    figure = Figure(figsize=(style.DOUBLE_COLUMN, height))
    panels = _panels(figure, height - TOP)
    _draw_phases(panels[0], noise)
    _draw_agreement(panels[1], noise)
    for axes, name, title in zip(panels[2:], ("images", "metric"), SHARP, strict=True):
        _draw_sharpness(axes, noise, name)
        axes.set(ylabel="boundaries / elsewhere", title=title)
    _draw_exact(panels[3], noise, noise_numbers)
    for axes, letter in zip(panels, "ABCD", strict=True):
        axes.set_xlabel(r"noise $\eta$")
        axes.set_xlim(-0.03 * max(etas), 1.03 * max(etas))
        style.panel_letter(axes, letter, left=22)
    _name_rules(figure, rules, height)
    _draw_maps(figure, noise_maps, (a, b), (side, side * ratio), height - TOP - 2 * (HEIGHT + BELOW))
    figure.text(
        0.08 / style.DOUBLE_COLUMN,
        (text - 0.04) / height,
        "\n".join(words),
        va="top",
        fontsize=7,
        linespacing=1.2,
    )
    return figure, noise


def _panels(figure: Figure, top: float) -> list[Axes]:
    """Four, two by two, below a height."""
    width = (style.DOUBLE_COLUMN - LEFT - GAP - RIGHT) / 2
    return [
        style.place(
            figure, LEFT + column * (width + GAP), top - row * (HEIGHT + BELOW) - HEIGHT, width, HEIGHT
        )
        for row in range(2)
        for column in range(2)
    ]


def _draw_phases(axes: Axes, noise: pd.DataFrame) -> None:
    for rule, own in noise.groupby("eta_rule", sort=False):
        axes.plot(
            own["eta"], own["phases"], color=COLOURS[rule], marker=MARKERS[rule], markersize=3, linewidth=1
        )
    axes.set_ylabel("phases")
    axes.set_ylim(0, noise["phases"].max() * 1.1)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_agreement(axes: Axes, noise: pd.DataFrame) -> None:
    """With the map without noise, whole lines; of two seeds, dashed ones."""
    for rule, own in noise.groupby("eta_rule", sort=False):
        _with_bars(axes, own, "agreement", rule)
        if own["again"].notna().sum() > 1:
            _with_bars(axes, own, "again", rule, linestyle=(0, (3, 2)), fillstyle="none")
    handles = [
        Line2D([], [], color="0.3", linewidth=1, label=r"with $\eta = 0$"),
        Line2D([], [], color="0.3", linewidth=1, linestyle=(0, (3, 2)), label="with another seed"),
    ]
    axes.legend(handles=handles, frameon=False, borderpad=0.1, loc="upper right")
    axes.set_ylabel("adjusted Rand index")
    axes.set_ylim(-0.1, 1.05)


def _draw_sharpness(axes: Axes, noise: pd.DataFrame, name: str) -> None:
    for rule, own in noise.groupby("eta_rule", sort=False):
        _with_bars(axes, own, name, rule)
    axes.axhline(1, color="0.6", linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    values = noise[[name, f"{name}_low", f"{name}_high"]].to_numpy()
    reach = np.nanmax(np.append(values, 1.2)) * 1.15
    axes.set_yscale("log")
    axes.set_ylim(min(0.9, np.nanmin(np.append(values, 0.9)) * 0.95), reach)
    axes.set_yticks(style.log_ticks(1, max(reach, 1.5), 4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: style.number(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_exact(axes: Axes, noise: pd.DataFrame, numbers: Mapping[str, Any]) -> None:
    """The same of two modes of which all is known, thin and dotted."""
    for rule, own in noise.groupby("eta_rule", sort=False):
        axes.plot(own["eta"], own["exact"], color=COLOURS[rule], linewidth=1, linestyle=(0, (1, 1.5)))
    words = rf"two modes, $\sigma$ = {numbers['sigma']:g}, exact"
    handle = Line2D([], [], color="0.3", linewidth=1, linestyle=(0, (1, 1.5)), label=words)
    axes.legend(handles=[handle], frameon=False, borderpad=0.1, loc="upper right")


def _with_bars(axes: Axes, own: pd.DataFrame, name: str, rule: str, **look: Any) -> None:
    value = own[name].to_numpy()
    bars = np.stack([value - own[f"{name}_low"], own[f"{name}_high"] - value])
    axes.errorbar(
        own["eta"], value, np.maximum(bars, 0), color=COLOURS[rule], marker=MARKERS[rule], markersize=3, linewidth=1,
        elinewidth=0.7, **look,
    )  # fmt: skip


def _name_rules(figure: Figure, rules: list[str], height: float) -> None:
    handles = [
        Line2D(
            [], [], color=COLOURS[rule], marker=MARKERS[rule], markersize=3, linewidth=1, label=RULES[rule]
        )
        for rule in rules
    ]
    figure.legend(
        handles=handles, ncols=len(rules), frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1 - 0.04 / height),
        borderaxespad=0.0,
    )  # fmt: skip


def _draw_maps(
    figure: Figure,
    noise_maps: xr.Dataset,
    axes_of: tuple[np.ndarray, np.ndarray],
    size: tuple[float, float],
    top: float,
) -> None:
    """A row of maps a rule, phases called as those without noise that they overlap most."""
    labels = noise_maps["label"].transpose("eta_rule", "eta", "a", "b").to_numpy().astype(int)
    colours = colours_of(range(1, int(labels.max()) + 1))
    for row, rule in enumerate(noise_maps["eta_rule"].to_numpy()):
        bottom = top - BETWEEN - row * (size[1] + THIN) - size[1]
        shown = [place for place, label in enumerate(labels[row]) if label.any()]
        for place in shown:
            axes = style.place(figure, LEFT + place * (size[0] + THIN), bottom, *size)
            draw_map(axes, labels[row, place], *axes_of, colours)
            last, outer = row == len(labels) - 1, place == shown[0]
            style.label_parameters(axes, horizontal=last, vertical=outer)
            axes.set_xlabel("$a$" if last else "")
            axes.set_ylabel(f"{RULES[str(rule)]}\n$b$" if outer else "")
            if row == 0:
                axes.set_title(rf"$\eta$ = {noise_maps['eta'].to_numpy()[place]:g}")
            if row == 0 and outer:
                style.panel_letter(axes, "E", left=22)
