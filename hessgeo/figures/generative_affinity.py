"""Affinity of all points to one, by Euclidean distance and in the metric of the density."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.look import line_colours

TITLES = ("data", "density", "Euclidean affinity", "geodesic affinity")


@style.theme()
def draw(dataset: xr.Dataset) -> tuple[Figure, pd.DataFrame]:
    """A row a set: its points by cluster, its density, and the affinity to the red cross by both distances.

    Args:
        dataset: as ``experiments.affinity_maps`` makes it.

    Returns:
        The figure, at most a page high, and a row a set: ``toy``, ``points``, ``euclidean_auc``, ``geodesic_auc``,
        the share of pairs (own cluster, other) that the affinity to the cross orders rightly.
    """
    rows = dataset.sizes["toy"]
    left, gap, top, side = 0.62, 0.1, 0.28, 1.42
    figure = Figure(figsize=(left + 4 * (side + gap) + 0.05, top + rows * (side + gap) + 0.5))
    for row, name in enumerate(dataset["toy"].to_numpy()):
        part = dataset.sel(toy=name)
        floor = 0.5 + (rows - 1 - row) * (side + gap)
        panels = [style.place(figure, left + k * (side + gap), floor, side, side) for k in range(4)]
        shown = _draw_row(panels, part)
        panels[0].set_ylabel(str(name), fontsize=9)
        if row == 0:
            for axes, title in zip(panels, TITLES, strict=True):
                axes.set_title(title)
    bar = style.place(figure, left + 2 * (side + gap), 0.34, 2 * side + gap, 0.09)
    figure.colorbar(
        shown, cax=bar, orientation="horizontal", label="affinity $\\exp(-d / \\mathrm{median}\\, d)$"
    )
    names = ["euclidean_auc", "geodesic_auc"]
    table = {name: dataset[name].to_numpy() for name in names}
    return figure, pd.DataFrame({"toy": dataset["toy"].to_numpy(), "points": dataset.sizes["node"], **table})


def _draw_row(panels: list[Axes], part: xr.Dataset) -> object:
    points, label = part["points"].to_numpy(), part["label"].to_numpy().astype(int)
    x, y = part["x"].to_numpy(), part["y"].to_numpy()
    cross = points[int(part["source"])]
    palette = np.array(line_colours(max(10, label.max() + 1)))
    panels[0].scatter(*points.T, c=palette[label], s=2.5, linewidths=0)
    density = np.exp(part["log_density"].to_numpy())
    style.show_field(panels[1], density, x, y, norm=Normalize(0, np.quantile(density, 0.995)))
    for axes, name in zip(panels[2:], ("euclidean", "geodesic"), strict=True):
        value = part[name].to_numpy()
        order = np.argsort(value)
        shown = axes.scatter(
            *points[order].T, c=value[order], s=3.5, linewidths=0, cmap=style.SEQUENTIAL, vmin=0, vmax=1
        )
        axes.annotate(
            f"AUC {float(part[f'{name}_auc']):.2f}",
            xy=(0.97, 0.03), xycoords="axes fraction", ha="right", va="bottom", fontsize=7,
        )  # fmt: skip
    for axes in panels:
        axes.plot(*cross, "x", color="#e8000b", markersize=6, markeredgewidth=1.8, zorder=5)
        axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xticks=[], yticks=[])
    return shown
