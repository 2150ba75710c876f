"""Images along straight paths and along geodesics, and how likely they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hessgeo.figures import style

PATHS = {"straight": "#7f7f7f", "graph": "#0173b2", "geodesic": "#d55e00"}
SHOWN = 4  # pairs whose strips fit on a page at a legible size


@style.theme()
def draw(dataset: xr.Dataset) -> tuple[Figure, pd.DataFrame]:
    """Strips of the first pairs (A), and of all pairs the likelihood along each path by both models (B, C).

    Args:
        dataset: ``image (pair, path, step, h, w)`` as ``uint8``; by (pair, path) ``length`` in the metric,
            ``mean_log_prob`` and ``least_log_prob`` under the density of the metric, ``mean_model_log_prob`` and
            ``least_model_log_prob`` under the diffusion model; by pair ``vertices`` and ``converged``.

    Returns:
        The figure, 7 inches wide, and a row a pair and path with these numbers.
    """
    shown = min(SHOWN, dataset.sizes["pair"])
    steps = dataset.sizes["step"]
    left, right, gap = 0.72, 2.35, 0.12
    side = (style.DOUBLE_COLUMN - left - right) / steps
    height = max(shown * (3 * side + gap), 3.4)  # room for the two panels on the right
    figure = Figure(figsize=(style.DOUBLE_COLUMN, height + 0.3))
    for pair in range(shown):
        top = height + 0.05 - pair * (3 * side + gap)
        for row, path in enumerate(PATHS):
            axes = style.place(figure, left, top - (row + 1) * side, steps * side, side * 0.96)
            strip = dataset["image"].isel(pair=pair).sel(path=path).transpose("h", "step", "w").to_numpy()
            # A white seam between images.
            seamed = np.pad(255 - strip, ((0, 0), (0, 0), (0, 1)), constant_values=255)
            axes.imshow(seamed.reshape(strip.shape[0], -1), cmap="gray", vmin=0, vmax=255, aspect="auto")
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set_visible(False)
            axes.set_ylabel(path, rotation=0, ha="right", va="center", fontsize=7, color=PATHS[path])
            if pair == row == 0:
                style.panel_letter(axes, "A", left=30)
    across = style.DOUBLE_COLUMN - right + 0.62
    tall = (height - 0.55) / 2
    for k, (name, label) in enumerate(
        (("least_log_prob", "density of the metric"), ("least_model_log_prob", "diffusion model"))
    ):
        axes = style.place(figure, across, 0.42 + (1 - k) * (tall + 0.4), right - 0.72, tall - 0.15)
        _draw_likelihood(axes, dataset, name, label)
        style.panel_letter(axes, "BC"[k], left=18)
    return figure, _table(dataset)


def _draw_likelihood(axes: Axes, dataset: xr.Dataset, name: str, label: str) -> None:
    """One line a pair across the three paths, and their median."""
    values = dataset[name].sel(path=list(PATHS)).transpose("pair", "path").to_numpy()
    axes.plot(range(3), values.T, color="0.75", linewidth=0.7)
    for k, colour in enumerate(PATHS.values()):
        axes.plot(np.full(len(values), k), values[:, k], "o", color=colour, markersize=3)
        axes.plot([k - 0.25, k + 0.25], [np.median(values[:, k])] * 2, color="black", linewidth=1.6, zorder=4)
    axes.set_xticks(range(3), list(PATHS))
    axes.set_xlim(-0.5, 2.5)
    axes.set_ylabel("least $\\log p$ on the path (nats)")
    axes.set_title(label, fontsize=7)


def _table(dataset: xr.Dataset) -> pd.DataFrame:
    names = [
        "length", "mean_log_prob", "least_log_prob", "mean_model_log_prob", "least_model_log_prob", "vertices",
        "converged", "first_label", "last_label",
    ]  # fmt: skip
    return dataset[names].to_dataframe().reset_index()[["pair", "path", *names]]
