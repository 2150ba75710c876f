"""A morph: images along a geodesic and along the straight line, and how far each frame is from the one before it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hessgeo.figures import style
from hessgeo.figures.interpolation_strips import draw_strip

COLOURS = ("#0072b2", "#d55e00")
MARKS = ("o", "s")
SHOWN = 13  # frames in a strip, at most
LEFT, RIGHT, TOP, CHART, GAP = 0.98, 0.1, 0.12, 1.3, 0.5  # inches
LINE = 0.135  # height of a line of text, inches
SPACES = {"feature_step": "step in the embedding", "metric_step": "step in the metric"}


@style.theme()
def draw(morph: xr.Dataset) -> tuple[Figure, pd.DataFrame]:
    """A strip of each way, and below them the steps of both, in features and in the metric.

    Args:
        morph: of ``pipeline.morph.make_morph``.

    Returns:
        The figure, 7 inches wide, and a row per frame: ``way``, ``frame``, ``a``, ``b``, ``feature_step`` and
        ``metric_step`` from the frame before it, NaN for the first.
    """
    frames = morph.sizes["frame"]
    shown = np.unique(np.linspace(0, frames - 1, min(SHOWN, frames)).round().astype(int))
    images = morph["image"].to_numpy()[:, shown]
    side = (style.DOUBLE_COLUMN - LEFT - RIGHT) / len(shown)
    height = min(side * images.shape[2] / images.shape[3], 1.5)
    text = textwrap.wrap(verdict_line(morph), 132)
    below = LINE * len(text) + 0.12
    strips = 2 * height + 0.34
    figure = Figure(figsize=(style.DOUBLE_COLUMN, TOP + strips + CHART + GAP + below))
    up = figure.get_figheight()
    for way, name in enumerate(morph["way"].to_numpy()):
        floor = up - TOP - (way + 1) * height - 0.06 * way
        draw_strip(figure, (LEFT, floor, side, height), images[way], COLOURS[way], share=0.95)
        words = (
            f"{name.replace(' ', chr(10))}\nlargest {style.number(float(morph['feature_step'][way].max()))}"
        )
        figure.text(0.01, (floor + height / 2) / up, words, color=COLOURS[way], fontsize=7, va="center")
    figure.text(
        LEFT / style.DOUBLE_COLUMN, (up - TOP - 2 * height - 0.12) / up,
        f"frames {', '.join(map(str, shown))}", fontsize=7, va="top",
    )  # fmt: skip
    wide = (style.DOUBLE_COLUMN - LEFT + 0.45 - RIGHT - 0.65) / 2
    for column, (name, label) in enumerate(SPACES.items()):
        left = LEFT - 0.45 + column * (wide + 0.65)
        axes = style.place(figure, left, below + GAP - 0.1, wide, CHART)
        _profile(axes, morph[name].to_numpy(), label)
        style.panel_letter(axes, "AB"[column], left=28)
        if name == "feature_step":
            floor_step = float(morph["floor"].max())
            axes.axhline(floor_step, color="0.4", linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    figure.text(0.01, (LINE * len(text) + 0.06) / up, "\n".join(text), va="top", fontsize=7, linespacing=1.25)
    return figure, _table(morph)


def verdict_line(morph: xr.Dataset) -> str:
    """What the numbers say."""
    feature = morph["feature_step"].max("step").to_numpy()
    legs, sure = morph.sizes["leg"], int(morph["certified"].sum())
    said = (
        f"Largest step in the embedding {feature[0]:.3g} along the geodesic, {feature[1]:.3g} along the straight line "
        f"at as many frames ({morph.sizes['frame']}); dashed: below {float(morph['floor'].max()):.3g} no way over "
        f"neighbouring nodes goes, images between nodes may. Certified: {sure} of {legs} legs."
    )
    warnings = " ".join(f"Warning: {line}." for line in str(morph.attrs["warnings"]).split("\n") if line)
    drawn = str(morph.attrs.get("drawn", ""))
    return " ".join(part for part in (said, drawn, warnings) if part)


def _profile(axes: Axes, steps: Float[np.ndarray, "2 k"], label: str) -> None:
    """Steps of both ways against the frame that they lead to."""
    place, few = np.arange(1, steps.shape[1] + 1), steps.shape[1] <= 40
    for own, colour, mark, name in zip(steps, COLOURS, MARKS, ("geodesic", "straight line"), strict=True):
        axes.plot(
            place, own, color=colour, marker=mark if few else None, markersize=2.6, linewidth=1, label=name
        )
    axes.set(xlabel="frame", ylabel=label, ylim=(0, 1.12 * (float(steps.max()) or 1.0)))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.spines[["top", "right"]].set_visible(False)


def _table(morph: xr.Dataset) -> pd.DataFrame:
    """A row per frame."""
    points, columns = morph["point"].to_numpy(), {}
    for name in SPACES:
        steps = morph[name].to_numpy()
        columns[name] = np.concatenate([np.full((len(steps), 1), np.nan), steps], axis=1).ravel()
    way, frame = np.indices(points.shape[:2]).reshape(2, -1)
    about: Mapping[str, Any] = {"a": points[..., 0].ravel(), "b": points[..., 1].ravel()}
    return pd.DataFrame({"way": morph["way"].to_numpy()[way], "frame": frame, **about, **columns})
