"""Distances in the Fisher metric from the typical sample of the largest phase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator

from hessgeo.figures import style
from hessgeo.figures.phases import largest
from hessgeo.geodesics.eikonal import DistanceMap, GriddedMedium
from hessgeo.grids import Grid
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.metrics.repair import repaired_field
from hessgeo.store.shards import StoredArray

FINER = 4  # steps of the grid of distances in one of the study's
LINES = 12  # contour lines, about
TRACED = 60  # points of a path that is drawn


def medium_of(
    free_energy: xr.Dataset, grid: Grid, *, smoothing: float, floor: float, finer: int = FINER
) -> GriddedMedium:
    """The Fisher metric that a study's geodesics are solved in, on a grid of several steps in one of the study's."""
    field = repaired_field(free_energy["fisher_metric"].to_numpy(), grid, smoothing=smoothing, floor=floor)
    fine = Grid(grid.extent, tuple(finer * (nodes - 1) + 1 for nodes in grid.shape))
    return GriddedMedium.of(GriddedMetric(field.metric, grid), fine)


def medoids_of(phases: Mapping[str, Any], points: StoredArray) -> dict[int, Float[np.ndarray, "2"]]:
    """Where the medoids of the phases lie that figures show, largest first, by their labels."""
    entries = largest(phases)
    places = np.asarray(points[np.array([phase["medoid"] for phase in entries])], dtype=float)
    return {phase["label"]: place for phase, place in zip(entries, places, strict=True)}


def gather(
    free_energy: xr.Dataset,
    phases: Mapping[str, Any],
    points: StoredArray,
    *,
    grid: Grid,
    smoothing: float,
    floor: float,
) -> dict[str, Any]:
    """Distances from the medoid of the largest phase, and the ways from it to the other medoids.

    Args:
        free_energy: the fit.
        phases: whose boundaries are drawn.
        points: parameters of all samples.
        grid: the parameter box and its nodes.
        smoothing: see ``repaired_field``.
        floor: see ``repaired_field``.
    """
    (_, source), *others = medoids_of(phases, points).items()
    found = medium_of(free_energy, grid, smoothing=smoothing, floor=floor).distances(source)
    return {"found": found, "others": dict(others), "boundaries": phases["boundaries"], "grid": grid}


@style.theme()
def draw(
    found: DistanceMap,
    others: Mapping[int, Float[np.ndarray, "2"]],
    boundaries: list[Mapping[str, Any]],
    grid: Grid,
) -> tuple[Figure, pd.DataFrame]:
    """The distance map with contour lines at equal distances, and the ways to the other medoids.

    Args:
        found: distances on a grid that holds the study's nodes.
        others: medoids of other phases, by label.
        boundaries: ``{"points": [[a, b], ...]}`` each.
        grid: the study's nodes.

    Returns:
        The figure, 3.4 inches wide, and a row per node of the study: ``a``, ``b``, ``distance_from_medoid``.
    """
    a, b = found.grid.axes
    figure, (axes,) = style.map_row(
        1, style.height_ratio(a, b), width=style.SINGLE_COLUMN, top=0.52, bottom=0.62
    )
    known = np.where(np.isfinite(found.values), found.values, np.nan)
    image = style.show_field(axes, known, a, b, cmap="mako_r", norm=style.linear_norm(known, tail=0.0))
    limits = axes.get_xlim(), axes.get_ylim()
    levels = MaxNLocator(LINES, steps=[1, 2, 2.5, 5, 10]).tick_values(0, np.nanmax(known))[1:]
    axes.contour(a, b, known.T, levels=levels, colors="black", linewidths=0.4, alpha=0.7)
    style.draw_boundaries(axes, boundaries)
    _draw_ways(axes, found, others)
    axes.set(xlim=limits[0], ylim=limits[1])
    style.label_parameters(axes)
    style.colour_bar(image, "distance from the medoid  (nats per $N$)$^{1/2}$")
    step = levels[1] - levels[0] if len(levels) > 1 else levels[0]
    text = f"black lines: every {style.number(step)}\norange: shortest ways to the medoids of other phases"
    axes.annotate(
        text, (0.5, 0), (0, -26), "axes fraction", "offset points", ha="center", va="top", fontsize=7
    )
    every = tuple((fine - 1) // (nodes - 1) for fine, nodes in zip(found.grid.shape, grid.shape, strict=True))
    columns = {"distance_from_medoid": found.values[:: every[0], :: every[1]]}
    return figure, style.node_table(grid.axes[0], grid.axes[1], columns)


def _draw_ways(axes: Axes, found: DistanceMap, others: Mapping[int, Float[np.ndarray, "2"]]) -> None:
    """The source as a star, the ways to other medoids as lines that end in dots."""
    effects = [Stroke(linewidth=2.0, foreground="black"), Normal()]
    for place in others.values():
        path = found.path(place, count=TRACED)
        axes.plot(*path.T, color="#ffb347", linewidth=1.1, path_effects=effects, zorder=4)
        axes.plot(
            *place, "o", color="#ffb347", markersize=4, markeredgecolor="black", markeredgewidth=0.6, zorder=5
        )
    axes.plot(
        *found.source,
        "*",
        color="white",
        markersize=10,
        markeredgecolor="black",
        markeredgewidth=0.8,
        zorder=6,
    )
