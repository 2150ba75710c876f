"""Strips of images along a geodesic and along the straight line between the same two points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hessgeo.figures import style

COLOURS = ("#0f7fa8", "#b4541a", "#5b8c2a", "#7a4fa3")
MARKS = ("o", "s", "^", "D")
WAYS = {"fisher": "geodesic", "linear": "straight line"}
LEFT, RIGHT, GAP, STEPS, TOP, BOTTOM = 0.95, 0.12, 0.14, 0.5, 0.08, 0.36  # inches


def gather(strips: xr.Dataset) -> dict[str, Any]:
    """The strips of a study, with the numbers of the pairs that they join."""
    names = ("images", "points", "steps", "pair")
    images, points, steps, pairs = (strips[name].to_numpy() for name in names)
    ways = [WAYS[name] for name in strips["way"].to_numpy()]
    about = {"ways": ways, "step_label": "step of the\nembedding", "pairs": pairs}
    return {"images": images, "points": points, "steps": steps, **about}


@style.theme()
def draw(
    images: UInt8[np.ndarray, "pair way k h w c"],
    points: Float[np.ndarray, "pair way k 2"],
    steps: Float[np.ndarray, "pair way k-1"],
    ways: Sequence[str],
    *,
    step_label: str,
    pairs: Int[np.ndarray, "pair"] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """For each pair a strip of images for each way from one point to the other, and how far each step is in features.

    Args:
        images: along each way, one or three channels.
        points: where they are from.
        steps: distance of each image from the one before it, in a feature space.
        ways: their names, at most four.
        step_label: what ``steps`` are, the label of their axis.
        pairs: their numbers, counted from zero if None.

    Returns:
        The figure, 7 inches wide, and a row per image: ``pair``, ``way``, ``place``, ``a``, ``b``, ``step`` (from the
        image before, NaN for the first).

    Raises:
        ValueError: if the arrays do not belong together.
    """
    count, rows, places = images.shape[:3]
    fits = points.shape == (count, rows, places, 2) and steps.shape == (count, rows, places - 1)
    if not fits or len(ways) != rows or rows > len(COLOURS):
        raise ValueError(
            f"images {images.shape}, points {points.shape}, steps {steps.shape} and {len(ways)} ways do not fit"
        )
    side = (style.DOUBLE_COLUMN - LEFT - RIGHT) / places
    height = side * images.shape[3] / images.shape[4]
    block = rows * height + 0.06 + STEPS
    figure = Figure(figsize=(style.DOUBLE_COLUMN, TOP + BOTTOM + count * block + (count - 1) * GAP))
    for pair in range(count):
        top = figure.get_size_inches()[1] - TOP - pair * (block + GAP)
        for way, name in enumerate(ways):
            corner = (LEFT, top - (way + 1) * height, side, height)
            draw_strip(figure, corner, images[pair, way], COLOURS[way])
            text = f"{name}\ntotal {style.number(float(steps[pair, way].sum()))}"
            _write(figure, (0.06, top - (way + 0.5) * height), text, COLOURS[way])
        chart = style.place(figure, LEFT, top - block, places * side - 0.06 * side, STEPS)
        _draw_steps(chart, steps[pair], 1.1 * (float(steps.max()) or 1.0))
        if pair == count - 1:
            chart.set_xlabel("way-points, from one end to the other", labelpad=4)
        if pair == 0:
            chart.set_ylabel(step_label)
    return figure, _table(points, steps, ways, np.arange(count) if pairs is None else pairs)


def draw_strip(
    figure: Figure,
    corner: tuple[float, float, float, float],
    images: UInt8[np.ndarray, "k h w c"],
    colour: str,
    share: float = 0.94,
) -> None:
    """One row of framed images; the lower left corner of the first and the room of each in inches, a share filled."""
    left, floor, side, height = corner
    for k, image in enumerate(images):
        axes = style.place(figure, left + k * side, floor, share * side, share * height)
        style.show_picture(axes, image)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color=colour, linewidth=0.9)


def _draw_steps(axes: Axes, steps: Float[np.ndarray, "way k-1"], highest: float) -> None:
    """The steps of each way, between the images that they join."""
    place = np.arange(steps.shape[1]) + 1
    for own, colour, mark in zip(steps, COLOURS, MARKS, strict=False):
        axes.plot(place, own, color=colour, marker=mark, markersize=3)
    axes.set(xlim=(0, len(place) + 1), ylim=(0, highest), xticks=[])
    axes.spines[["top", "right"]].set_visible(False)


def _table(
    points: Float[np.ndarray, "pair way k 2"],
    steps: Float[np.ndarray, "pair way k-1"],
    ways: Sequence[str],
    pairs: Int[np.ndarray, "pair"],
) -> pd.DataFrame:
    """A row per image."""
    pair, way, place = np.indices(points.shape[:3]).reshape(3, -1)
    first = np.full((*points.shape[:2], 1), np.nan)
    return pd.DataFrame(
        {"pair": pairs[pair], "way": np.array(ways)[way], "place": place}
        | {"a": points[..., 0].ravel(), "b": points[..., 1].ravel()}
        | {"step": np.concatenate([first, steps], axis=2).ravel()}
    )


def _write(figure: Figure, inches: tuple[float, float], text: str, colour: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(inches[0] / width, inches[1] / height, text, color=colour, fontsize=7, va="center", ha="left")
