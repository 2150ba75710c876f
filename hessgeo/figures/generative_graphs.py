"""Epsilon-graphs of the same points: connected, or in pieces."""

from __future__ import annotations

import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.look import line_colours


@style.theme()
def draw(dataset: xr.Dataset) -> tuple[Figure, pd.DataFrame]:
    """Points and edges, a panel an ``epsilon``, coloured by connected component.

    Args:
        dataset: as ``experiments.epsilon_graphs`` makes it.

    Returns:
        The figure, 7 inches wide, and a row a graph: ``epsilon``, ``factor`` (over the connecting radius),
        ``edges``, ``components``, ``unreachable_pairs``.
    """
    points = dataset["points"].to_numpy()
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.06 * (high - low).max()
    ratio = float((high - low + 2 * margin)[1] / (high - low + 2 * margin)[0])
    count = dataset.sizes["graph"]
    figure, panels = style.map_row(count, ratio, width=style.DOUBLE_COLUMN, top=0.55)
    for k, axes in enumerate(panels):
        _draw_graph(axes, dataset, k)
        axes.set(
            xlim=(low[0] - margin, high[0] + margin),
            ylim=(low[1] - margin, high[1] + margin),
            xlabel="$x_1$",
        )
        axes.tick_params(labelleft=k == 0)
        style.panel_letter(axes, "ABCDEFG"[k])
    panels[0].set_ylabel("$x_2$")
    names = ["epsilon", "factor", "edges", "components", "unreachable_pairs"]
    return figure, pd.DataFrame({name: dataset[name].to_numpy() for name in names})


def _draw_graph(axes: Axes, dataset: xr.Dataset, k: int) -> None:
    points = dataset["points"].to_numpy()
    component = dataset["component"].isel(graph=k).to_numpy()
    edges = dataset["edge"].to_numpy()[dataset["edge_graph"].to_numpy() == k]
    palette = line_colours()
    colours = [palette[name % len(palette)] for name in component]
    axes.add_collection(LineCollection(points[edges], colors="0.45", linewidths=0.5, zorder=1))
    axes.scatter(*points.T, c=colours, s=9, edgecolors="black", linewidths=0.3, zorder=2)
    row = dataset.isel(graph=k)
    pieces, pairs = int(row["components"]), int(row["unreachable_pairs"])
    parts = "connected" if pieces == 1 else f"{pieces} components,\n{pairs:,} pairs without a path"
    axes.set_title(
        f"$\\epsilon$ = {float(row['epsilon']):.3g}, {int(row['edges'])} edges\n{parts}", fontsize=7
    )
