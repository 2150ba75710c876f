"""How well clusters are found by Euclidean distances, and by those of a density."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hessgeo.densities.clustering import summarise
from hessgeo.figures import style


@style.theme()
def draw(scores: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Mean adjusted Rand index, a column a data set and a row a distance and method.

    Args:
        scores: rows of ``clustering.cluster_scores`` with the columns ``dataset`` and ``seed``.

    Returns:
        The figure, 7 inches wide at most, and the numbers of ``clustering.summarise``.
    """
    table = summarise(scores)
    datasets = list(scores["dataset"].unique())
    kinds = list(dict.fromkeys(zip(scores["distance"], scores["method"], strict=True)))
    wide = table.pivot(index=["distance", "method"], columns="dataset", values="ari").loc[kinds, datasets]
    least = table.pivot(index=["distance", "method"], columns="dataset", values="ari_least").loc[
        kinds, datasets
    ]
    # No narrower than the label of the colour bar.
    width, height, left = max(0.78 * len(datasets), 2.6), 0.27 * len(kinds), 2.0
    figure = Figure(figsize=(left + width + 0.15, height + 0.9))
    axes = style.place(figure, left, 0.25, width, height)
    image = axes.imshow(wide.to_numpy(), aspect="auto", cmap=style.SEQUENTIAL, norm=Normalize(0, 1))
    for (row, column), value in np.ndenumerate(wide.to_numpy()):
        worst = least.to_numpy()[row, column]
        text = f"{value:z.2f}" if value - worst < 0.005 else f"{value:z.2f} ({worst:z.2f})"
        axes.text(
            column, row, text, ha="center", va="center", fontsize=7, color="black" if value > 0.6 else "white"
        )
    axes.set_xticks(range(len(datasets)), datasets)
    axes.set_yticks(range(len(kinds)), [f"{distance}, {method}" for distance, method in kinds])
    axes.tick_params(length=0, top=False, labelbottom=False, labeltop=False, bottom=False)
    for column, name in enumerate(datasets):
        axes.text(column, len(kinds) - 0.35, name, ha="center", va="top")
    style.colour_bar(image, "adjusted Rand index: mean over seeds (least)")
    starts = [k for k in range(1, len(kinds)) if kinds[k][0] != kinds[k - 1][0]]
    for row in starts:
        axes.axhline(row - 0.5, color="white", linewidth=2)
    return figure, table
