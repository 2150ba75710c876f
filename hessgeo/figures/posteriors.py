"""Measured and fitted posteriors beside each other for a few source images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.path import Path

from hessgeo.evaluation.posterior_rows import fitted_rows, measured_rows
from hessgeo.figures import style
from hessgeo.grids import Grid
from hessgeo.posteriors import Posterior, read_posterior
from hessgeo.store.shards import StoredArray

COLUMNS = 6  # sources side by side
# A cross that is open in the middle, where a narrow posterior is.
ARMS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
CROSS = Path(np.stack([0.45 * ARMS, ARMS], axis=1).reshape(-1, 2), [Path.MOVETO, Path.LINETO] * 4)


def gather(
    free_energy: xr.Dataset,
    posterior: str | Posterior,
    phases: Mapping[str, Any],
    images: StoredArray,
    embedding: StoredArray,
    *,
    grid: Grid,
    sources: int,
) -> dict[str, Any]:
    """Measured and fitted rows of the posterior of a few sources, and their images.

    Args:
        free_energy: the fit.
        posterior: the data posterior, or its folder.
        phases: whose medoids are the first sources.
        images: of all samples.
        embedding: of all samples.
        grid: the nodes of the free energy.
        sources: how many to show.
    """
    found = posterior if isinstance(posterior, Posterior) else read_posterior(posterior)
    # A network's posterior has nodes of its own, and the rows of some sources: of each choice the nearest of these.
    own = None if found.support is None else found.carrier(grid)
    nodes = own or grid
    chosen = found.sources_with_rows(choose_sources(phases["phases"], grid.frame.into(found.t), sources))
    measured = measured_rows(found, embedding[:], chosen, nodes)
    fitted = fitted_rows(free_energy, found.t, chosen, grid, carrier=own)
    return {
        "images": images[chosen],
        "measured": measured.reshape(-1, *nodes.shape),
        "fitted": fitted.reshape(-1, *nodes.shape),
        "sources": found.t[chosen],
        "grid": nodes,
    }


def choose_sources(
    phases: Sequence[Mapping[str, Any]], t: Float[np.ndarray, "n 2"], count: int
) -> Int[np.ndarray, "s"]:
    """The typical samples of the largest phases, then the samples farthest from those chosen so far."""
    largest = sorted(phases, key=lambda phase: -phase["area"])
    chosen = [phase["medoid"] for phase in largest][:count]
    while len(chosen) < min(count, len(t)):
        distance = np.linalg.norm(t[:, None] - t[chosen], axis=-1).min(axis=1)
        chosen.append(int(np.argmax(distance)))
    return np.array(chosen)


@style.theme()
def draw(
    images: UInt8[np.ndarray, "s h w c"],
    measured: Float[np.ndarray, "s a b"],
    fitted: Float[np.ndarray, "s a b"],
    sources: Float[np.ndarray, "s 2"],
    grid: Grid,
) -> tuple[Figure, pd.DataFrame]:
    """For each source: its image, the posterior measured from embeddings, and the model's (Fig. 11).

    Both posteriors of a source share a colour scale, linear in the root of the probability so that a narrow
    peak leaves its flanks visible. Their distance is the total variation
    ``sum_g |P_g - q_g| / 2``, between 0 (equal) and 1 (disjoint).

    Args:
        images: the image of each source, one or three channels.
        measured: its posterior over the nodes, each summing to one.
        fitted: the model's posterior, the same.
        sources: parameter point of each source.
        grid: the nodes.

    Returns:
        The figure, 7 inches wide, six sources a row, and a row per source and node: ``source``, ``source_a``,
        ``source_b``, ``a``, ``b``, ``measured_probability``, ``fitted_probability``, ``total_variation``.

    Raises:
        ValueError: if the arrays differ in their number of sources, or a posterior is not on the grid.
    """
    shape = (len(sources), *grid.shape)
    if not len(images) == len(sources) or measured.shape != shape or fitted.shape != shape:
        raise ValueError(
            f"{len(sources)} sources on a grid of {grid.shape} need as many images and posteriors of shape "
            f"{shape}, not {len(images)} images, measured {measured.shape}, fitted {fitted.shape}"
        )
    distance = np.abs(measured - fitted).sum(axis=(1, 2)) / 2
    figure, columns = _panels(len(sources), style.height_ratio(*grid.axes), images.shape[1] / images.shape[2])
    for k, panels in enumerate(columns):
        first = k % COLUMNS == 0
        _draw_source(panels, images[k], (measured[k], fitted[k]), sources[k], grid, first=first)
        titles = (f"source {k + 1}", "measured", f"fitted, TV {distance[k]:.3f}")
        for axes, title in zip(panels, titles, strict=True):
            axes.set_title(title, fontsize=7)
        if first:
            for axes, letter in zip(panels, "ABC", strict=True):
                style.panel_letter(axes, letter, left=22)
    return figure, _table(measured, fitted, sources, grid, distance)


def _panels(count: int, ratio: float, image_ratio: float) -> tuple[Figure, list[list[Axes]]]:
    """Image, measured and fitted panel of each source, six sources side by side."""
    left, gap, top, space, bottom = 0.45, 0.26, 0.22, 0.22, 0.88
    side = (style.DOUBLE_COLUMN - left - 0.1 - (COLUMNS - 1) * gap) / COLUMNS
    heights = (side * image_ratio, side * ratio, side * ratio)
    band = top + sum(heights) + 2 * space + bottom
    bands = -(-count // COLUMNS)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, bands * band))
    columns = []
    for k in range(count):
        row, column = divmod(k, COLUMNS)
        floor, panels = (bands - row) * band - top + space, []
        for height in heights:
            floor -= height + space
            panels.append(style.place(figure, left + column * (side + gap), floor, side, height))
        columns.append(panels)
    return figure, columns


def _draw_source(
    panels: Sequence[Axes],
    image: UInt8[np.ndarray, "h w c"],
    pair: tuple[Float[np.ndarray, "a b"], Float[np.ndarray, "a b"]],
    source: Float[np.ndarray, "2"],
    grid: Grid,
    *,
    first: bool,
) -> None:
    """One column: image, measured, fitted."""
    style.show_picture(panels[0], image)
    panels[0].set(xticks=[], yticks=[])
    norm = PowerNorm(0.5, 0.0, 1e3 * max(pair[0].max(), pair[1].max()))
    for axes, values, last in zip(panels[1:], pair, (False, True), strict=True):
        shown = style.show_field(axes, 1e3 * values, *grid.axes, cmap="mako", norm=norm)
        axes.plot(*source, marker=CROSS, markersize=9, markeredgewidth=1.1, color="#ff5a36", clip_on=False)
        style.label_parameters(axes, horizontal=last, vertical=first)
        axes.set_xlabel("$a$" if last else "")
        axes.set_ylabel("$b$" if first else "")
    style.colour_bar(shown, r"$P$ (10$^{-3}$ per cell)", side="bottom", gap=0.4, ticks=2)


def _table(
    measured: Float[np.ndarray, "s a b"],
    fitted: Float[np.ndarray, "s a b"],
    sources: Float[np.ndarray, "s 2"],
    grid: Grid,
    distance: Float[np.ndarray, "s"],
) -> pd.DataFrame:
    """A row per source and node."""
    count, nodes = len(sources), grid.size
    return pd.DataFrame(
        {
            "source": np.repeat(np.arange(1, count + 1), nodes),
            "source_a": np.repeat(sources[:, 0], nodes),
            "source_b": np.repeat(sources[:, 1], nodes),
            "a": np.tile(grid.points[:, 0], count),
            "b": np.tile(grid.points[:, 1], count),
            "measured_probability": measured.ravel(),
            "fitted_probability": fitted.ravel(),
            "total_variation": np.repeat(distance, nodes),
        }
    )
