"""Which medoid is nearest in the Fisher metric: Voronoi cells over the phases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from hessgeo.figures import style
from hessgeo.figures.distances import medium_of, medoids_of
from hessgeo.figures.phases import colours_of, draw_map
from hessgeo.grids import Grid
from hessgeo.store.shards import StoredArray


def gather(
    free_energy: xr.Dataset,
    fields: xr.Dataset,
    phases: Mapping[str, Any],
    points: StoredArray,
    *,
    grid: Grid,
    smoothing: float,
    floor: float,
) -> dict[str, Any]:
    """Distances to the medoids of the phases that figures show.

    Args:
        free_energy: the fit.
        fields: ``label`` at the nodes.
        phases: with the medoid of each.
        points: parameters of all samples.
        grid: the parameter box and its nodes.
        smoothing: see ``repaired_field``.
        floor: see ``repaired_field``.
    """
    medoids, medium = (
        medoids_of(phases, points),
        medium_of(free_energy, grid, smoothing=smoothing, floor=floor),
    )
    found = np.stack([medium.distances(place).values for place in medoids.values()])
    return {"fields": fields, "medoids": medoids, "distances": found, "fine": medium.grid}


@style.theme()
def draw(
    fields: xr.Dataset,
    medoids: Mapping[int, Float[np.ndarray, "2"]],
    distances: Float[np.ndarray, "m na nb"],
    fine: Grid,
) -> tuple[Figure, pd.DataFrame]:
    """The phase map, with the borders of the Fisher Voronoi cells of its medoids.

    Args:
        fields: integer ``label`` on dims ``(a, b)``.
        medoids: where they lie, by the label of their phase.
        distances: from each medoid to the nodes of ``fine``.
        fine: a grid that holds the study's nodes.

    Returns:
        The figure, 3.4 inches wide, and a row per medoid: ``label``, ``a``, ``b``, ``phase_share`` and ``cell_share``
        of the nodes, ``agreement`` (share of its phase that its cell holds), ``nearest_medoid_distance``.
    """
    a, b = style.axes_of(fields)
    label, names = style.field(fields, "label").astype(int), np.array(list(medoids))
    cells = names[distances.argmin(axis=0)]
    figure, (axes,) = style.map_row(
        1, style.height_ratio(a, b), width=style.SINGLE_COLUMN, top=0.25, bottom=0.62
    )
    everything = [*names.tolist(), *sorted(set(np.unique(label).tolist()) - set(names.tolist()))]
    draw_map(axes, label, a, b, colours_of(everything))
    limits = axes.get_xlim(), axes.get_ylim()
    for k in range(len(names)):
        rival = np.delete(distances, k, axis=0).min(axis=0) if len(names) > 1 else np.full(fine.shape, np.inf)
        gap = np.nan_to_num(rival - distances[k], posinf=1.0, neginf=-1.0)
        if gap.min() < 0 < gap.max():
            lines = axes.contour(*fine.axes, gap.T, levels=[0.0], colors="black", linewidths=1.1)
            lines.set_path_effects([Stroke(linewidth=2.2, foreground="white"), Normal()])
    places = np.array(list(medoids.values()))
    axes.plot(
        *places.T, "o", color="black", markersize=3.5, markeredgecolor="white", markeredgewidth=0.8, zorder=4
    )
    axes.set(xlim=limits[0], ylim=limits[1])
    table = _table(label, medoids, _at_nodes(cells, fine, label.shape), distances, fine)
    same = float((_at_nodes(cells, fine, label.shape) == label).mean())
    below = f"in the Fisher metric, of the same phase at {same:.0%} of the nodes"
    text = f"colours: phases;  lines: nearest medoid (dots)\n{below}"
    axes.annotate(
        text, (0.5, 0), (0, -26), "axes fraction", "offset points", ha="center", va="top", fontsize=7
    )
    return figure, table


def _at_nodes(
    values: Int[np.ndarray, "fa fb"], fine: Grid, shape: tuple[int, ...]
) -> Int[np.ndarray, "na nb"]:
    """Values of a finer grid at the nodes that it shares with one of that shape."""
    every = [(many - 1) // (nodes - 1) for many, nodes in zip(fine.shape, shape, strict=True)]
    return values[:: every[0], :: every[1]]


def _table(
    label: Int[np.ndarray, "na nb"],
    medoids: Mapping[int, Float[np.ndarray, "2"]],
    cells: Int[np.ndarray, "na nb"],
    distances: Float[np.ndarray, "m fa fb"],
    fine: Grid,
) -> pd.DataFrame:
    """A row per medoid."""
    rows, nodes = [], fine.nearest(np.array(list(medoids.values())))
    for k, (name, (a, b)) in enumerate(medoids.items()):
        mine, cell = label == name, cells == name
        others = np.delete(distances[k].ravel()[nodes], k)
        rows.append(
            {
                "label": name,
                "a": a,
                "b": b,
                "phase_share": mine.mean(),
                "cell_share": cell.mean(),
                "agreement": cell[mine].mean() if mine.any() else np.nan,
                "nearest_medoid_distance": others.min() if len(others) else np.nan,
            }
        )
    return pd.DataFrame(rows)
