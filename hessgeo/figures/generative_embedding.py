"""Pictures of data in the plane from geodesic and from Euclidean distances."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hessgeo.figures import style

SCORES = ("trustworthiness", "geodesic_trustworthiness", "neighbour_accuracy")


@style.theme()
def draw(dataset: xr.Dataset) -> tuple[Figure, pd.DataFrame]:
    """A panel a picture, its points coloured by class, with its scores.

    Args:
        dataset: ``picture (method, node, axis)``, ``label (node)`` and the scores of ``embedding_scores`` on dim
            ``method``.

    Returns:
        The figure, 7 inches wide, and a row a picture with its scores.
    """
    names = list(map(str, dataset["method"].to_numpy()))
    label = dataset["label"].to_numpy().astype(int)
    palette = np.array(mpl.colormaps["tab10"].colors)[: label.max() + 1]
    columns, side, gap, title = 3, 2.18, 0.12, 0.36
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, rows * (side + title) + 0.3))
    for k, name in enumerate(names):
        row, column = divmod(k, columns)
        left, floor = 0.1 + column * (side + gap), 0.3 + (rows - 1 - row) * (side + title)
        axes = style.place(figure, left, floor, side, side)
        picture = dataset["picture"].isel(method=k).to_numpy()
        axes.scatter(*picture.T, c=palette[label], s=4, linewidths=0)
        axes.set(xticks=[], yticks=[])
        axes.set_box_aspect(1)
        scores = [float(dataset[score].isel(method=k)) for score in SCORES]
        axes.set_title(
            f"{name}\ntrust {scores[0]:.3f}, geodesic {scores[1]:.3f}, class {scores[2]:.2f}", fontsize=7
        )
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, markersize=4, label=str(k))
        for k, colour in enumerate(palette)
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=len(handles),
        frameon=False,
        handletextpad=0.0,
        columnspacing=0.9,
    )
    return figure, pd.DataFrame({"picture": names, **{score: dataset[score].to_numpy() for score in SCORES}})
