"""A film strip of the sampler's time: predicted images on the plane at some steps, and the phases that they show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.phases import colours_of
from hessgeo.figures.thumbnails import shrink
from hessgeo.grids import Grid
from hessgeo.phases.history import overlaps
from hessgeo.store.shards import StoredArray

TILES, SIDE = 12, 48  # images along a side of a mosaic, and pixels of each at most
COLUMNS = 4
LEFT, RIGHT, TOP, GAP, TITLE = 0.12, 0.12, 0.06, 0.1, 0.34  # inches


def gather(
    history_fields: xr.Dataset, predictions: StoredArray, *, grid: Grid, frames: int
) -> dict[str, Any]:
    """Phases of some of the steps, spread evenly over them, and the predictions on some nodes there."""
    shown = np.unique(np.linspace(0, history_fields.sizes["step"] - 1, frames).round().astype(int))
    sides = [np.linspace(0, n - 1, min(TILES, n)).round().astype(int) for n in grid.shape]
    rows = (sides[0][:, None] * grid.shape[1] + sides[1]).ravel()
    images = shrink(predictions[rows][:, shown], SIDE)
    tiles = images.reshape(len(sides[0]), len(sides[1]), *images.shape[1:])
    fields = history_fields[["label", "level"]].isel(step=shown).assign(final=history_fields["final"])
    return {"fields": fields, "tiles": tiles}


@style.theme()
def draw(fields: xr.Dataset, tiles: UInt8[np.ndarray, "ta tb k h w c"]) -> tuple[Figure, pd.DataFrame]:
    """For each step the mosaic of predictions above their phases, each in the colour of the final one it holds most of.

    Args:
        fields: ``label`` on ``(step, a, b)``, ``level`` by step, ``final`` on ``(a, b)``.
        tiles: predictions on some nodes at these steps.

    Returns:
        The figure, 7 inches wide, and a row a phase and step: ``step``, ``level``, ``phase``, ``share``, ``final``.
    """
    labels, levels = fields["label"].to_numpy().astype(int), fields["level"].to_numpy()
    a, b = style.axes_of(fields)
    final, numbers = fields["final"].to_numpy().astype(int), fields["step"].to_numpy()
    frames = [*labels, final]
    columns = min(COLUMNS, len(frames))
    side = (style.DOUBLE_COLUMN - LEFT - RIGHT - GAP * (columns - 1)) / columns
    tall = side * min(style.height_ratio(a, b), 2.0)
    pitch = TITLE + 2 * tall + 0.06
    bands = -(-len(frames) // columns)
    height = 2 * TOP + bands * pitch + (bands - 1) * GAP
    figure = Figure(figsize=(style.DOUBLE_COLUMN, height))
    colours = colours_of(range(1, int(final.max()) + 1))
    rows: list[dict[str, Any]] = []
    for k, label in enumerate(frames):
        band, column = divmod(k, columns)
        left, top = LEFT + column * (side + GAP), height - TOP - band * (pitch + GAP) - TITLE
        pictures, chart = (
            style.place(figure, left, top - (n + 1) * tall - 0.06 * n, side, tall) for n in (0, 1)
        )
        last = k == len(labels)
        _mosaic(pictures, tiles[:, :, min(k, len(labels) - 1)])
        held = overlaps(label, final).argmax(axis=0) + 1
        _map(chart, held[label - 1], label, colours)
        level = 0.0 if last else float(levels[k])
        count = f"{label.max()} phase{'s' if label.max() > 1 else ''}"
        title = f"images\n{count}" if last else f"step {numbers[k]}, noise level {level:.2f}\n{count}"
        pictures.set_title(title, fontsize=7, pad=3)
        for phase in range(1, int(label.max()) + 1):
            share = float((label == phase).mean())
            step = int(numbers[-1]) + 1 if last else int(numbers[k])
            rows.append(
                {"step": step, "level": level, "phase": phase, "share": share, "final": int(held[phase - 1])}
            )
    return figure, pd.DataFrame(rows)


def _mosaic(axes: Axes, tiles: UInt8[np.ndarray, "ta tb h w c"]) -> None:
    """Images side by side, the first parameter to the right, the second upwards."""
    upright = tiles[:, ::-1].transpose(1, 2, 0, 3, 4)
    rows, h, columns, w, channels = upright.shape
    style.show_picture(axes, upright.reshape(rows * h, columns * w, channels))
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("auto")


def _map(
    axes: Axes, held: Int[np.ndarray, "a b"], label: Int[np.ndarray, "a b"], colours: Mapping[int, Any]
) -> None:
    """Phases in the colours of the final ones, with a line wherever two meet."""
    picture = np.array([colours[name] for name in sorted(colours)])[held - 1]
    axes.imshow(np.swapaxes(picture, 0, 1), origin="lower", aspect="auto", interpolation="none")
    if label.max() > 1:
        for phase in range(1, int(label.max()) + 1):
            axes.contour((label == phase).T.astype(float), [0.5], colors="white", linewidths=0.5)
    axes.set(xticks=[], yticks=[])
