"""Shortest paths in the metric of a density, for several lam."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from hessgeo.figures import style


@style.theme()
def draw(dataset: xr.Dataset) -> tuple[Figure, pd.DataFrame]:
    """Paths over the density (A), and their lengths against ``lam`` (B).

    Args:
        dataset: as ``experiments.lambda_sweep`` makes it.

    Returns:
        The figure, 7 inches wide, and a row a ``lam``, from the largest: ``length``, ``straight_length``,
        ``euclidean_length``, ``mean_log_density`` along the path in nats, ``residual``.
    """
    dataset = dataset.sortby("lam", ascending=False)
    x, y = (dataset[name].to_numpy() for name in "xy")
    ratio = style.height_ratio(x, y)
    side = 3.6
    figure = Figure(figsize=(style.DOUBLE_COLUMN, 0.9 + side * ratio))
    axes = style.place(figure, 0.5, 0.4, side, side * ratio)
    density = np.exp(dataset["log_density"].transpose("x", "y").to_numpy())
    image = style.show_field(axes, density, x, y, norm=Normalize(0, density.max()))
    style.colour_bar(image, "density $p(x)$")
    axes.set(xlabel="$x_1$", ylabel="$x_2$")
    colours = mpl.colormaps["binary"](np.linspace(1.0, 0.0, dataset.sizes["lam"]))
    for row, colour in enumerate(colours):
        lam = float(dataset["lam"][row])
        casing = "white" if colour[0] < 0.5 else "black"
        axes.plot(
            *dataset["path"].isel(lam=row).transpose("axis", "point").to_numpy(),
            color=colour,
            linewidth=1.5,
            path_effects=[Stroke(linewidth=2.3, foreground=casing), Normal()],
            label=f"{lam:g}",
        )
    ends = dataset["path"].isel(lam=0, point=[0, -1]).to_numpy()
    axes.plot(*ends.T, "o", color="#d62728", markersize=5, zorder=5)
    axes.legend(
        title="$\\lambda$",
        loc="lower center",
        ncols=dataset.sizes["lam"],
        frameon=True,
        framealpha=0.9,
        facecolor="0.85",
        handlelength=1.2,
        columnspacing=0.9,
    )
    style.panel_letter(axes, "A")
    table = _table(dataset)
    _draw_lengths(figure, table, side * ratio)
    return figure, table


def _draw_lengths(figure: Figure, table: pd.DataFrame, height: float) -> None:
    """Lengths in the metric and in the plane against lam."""
    axes = style.place(figure, 4.85, 0.4, 2.0, height)
    curves = (("straight_length", "line, in the metric", "o--", "0.45"),
              ("length", "shortest path, in the metric", "o-", "#0173b2"),
              ("euclidean_length", "shortest path, Euclidean", "s-", "#d55e00"))  # fmt: skip
    for name, label, marker, colour in curves:
        axes.plot(table["lam"], table[name], marker, color=colour, markersize=3.5, label=label)
    axes.set_xscale("log")
    axes.set(xlabel="$\\lambda$", ylabel="length", ylim=(0, 1.25 * table["straight_length"].max()))
    axes.legend(frameon=False, loc="upper right")
    style.panel_letter(axes, "B")


def _table(dataset: xr.Dataset) -> pd.DataFrame:
    names = ["length", "straight_length", "euclidean_length", "mean_log_density", "residual"]
    return pd.DataFrame(
        {"lam": dataset["lam"].to_numpy(), **{name: dataset[name].to_numpy() for name in names}}
    )
