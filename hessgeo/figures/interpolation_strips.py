"""Strips of images along a geodesic and along the straight line between the same two points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from hessgeo.figures import style

COLOURS = ("#0f7fa8", "#b4541a", "#5b8c2a", "#7a4fa3")
MARKS = ("o", "s", "^", "D")
LEFT, RIGHT, GAP, STEPS, TOP, BOTTOM = 0.95, 0.12, 0.14, 0.5, 0.08, 0.36  # inches


@style.theme()
def draw(
    images: UInt8[np.ndarray, "pair way k h w c"],
    points: Float[np.ndarray, "pair way k 2"],
    steps: Float[np.ndarray, "pair way k-1"],
    ways: Sequence[str],
    *,
    step_label: str,
) -> tuple[Figure, pd.DataFrame]:
    """For each pair a strip of images for each way from one point to the other, and how far each step is in features.

    Args:
        images: along each way, one or three channels.
        points: where they are from.
        steps: distance of each image from the one before it, in a feature space.
        ways: their names, at most four.
        step_label: what ``steps`` are, the label of their axis.

    Returns:
        The figure, 7 inches wide, and a row per image: ``pair``, ``way``, ``place``, ``a``, ``b``, ``step`` (from the
        image before, NaN for the first).

    Raises:
        ValueError: if the arrays do not belong together.
    """
    pairs, count, places = images.shape[:3]
    fits = points.shape == (pairs, count, places, 2) and steps.shape == (pairs, count, places - 1)
    if not fits or len(ways) != count or count > len(COLOURS):
        raise ValueError(
            f"images {images.shape}, points {points.shape}, steps {steps.shape} and {len(ways)} ways do not fit"
        )
    side = (style.DOUBLE_COLUMN - LEFT - RIGHT) / places
    height = side * images.shape[3] / images.shape[4]
    block = count * height + 0.06 + STEPS
    figure = Figure(figsize=(style.DOUBLE_COLUMN, TOP + BOTTOM + pairs * block + (pairs - 1) * GAP))
    highest = float(steps.max()) or 1.0
    for pair in range(pairs):
        top = figure.get_size_inches()[1] - TOP - pair * (block + GAP)
        for way in range(count):
            for k in range(places):
                place = (LEFT + k * side, top - (way + 1) * height, 0.94 * side, 0.94 * height)
                axes = style.place(figure, *place)
                style.show_picture(axes, images[pair, way, k])
                axes.set(xticks=[], yticks=[])
                for spine in axes.spines.values():
                    spine.set(color=COLOURS[way], linewidth=0.9)
            where = (0.06, top - (way + 0.5) * height)
            _write(
                figure,
                where,
                f"{ways[way]}\ntotal {style.number(float(steps[pair, way].sum()))}",
                COLOURS[way],
            )
        chart = style.place(figure, LEFT, top - block, places * side - 0.06 * side, STEPS)
        for way in range(count):
            chart.plot(
                np.arange(places - 1) + 1,
                steps[pair, way],
                color=COLOURS[way],
                marker=MARKS[way],
                markersize=3,
            )
        # A step lies between the images it joins.
        chart.set(xlim=(0, places), ylim=(0, 1.1 * highest), xticks=[])
        chart.spines[["top", "right"]].set_visible(False)
        if pair == pairs - 1:
            chart.set_xlabel("way-points, from one end to the other", labelpad=4)
        if pair == 0:
            chart.set_ylabel(step_label)
    index = np.indices((pairs, count, places)).reshape(3, -1)
    step = np.concatenate([np.full((pairs, count, 1), np.nan), steps], axis=2)
    table = pd.DataFrame(
        {"pair": index[0], "way": np.array(ways)[index[1]], "place": index[2]}
        | {"a": points[..., 0].ravel(), "b": points[..., 1].ravel(), "step": step.ravel()}
    )
    return figure, table


def _write(figure: Figure, inches: tuple[float, float], text: str, colour: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(inches[0] / width, inches[1] / height, text, color=colour, fontsize=7, va="center", ha="left")
