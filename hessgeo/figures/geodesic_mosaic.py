"""Geodesics beside straight lines, on the images and on the metric that bends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from hessgeo.evaluation.path_table import shown_pairs
from hessgeo.figures import style
from hessgeo.figures.mosaic import read_tiles, show_mosaic, tile_nodes
from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import eigenvalues, in_units
from hessgeo.metrics.repair import repaired_field
from hessgeo.store.shards import StoredArray

GEODESIC, LINE = "#20d5ff", "white"


def gather(
    free_energy: xr.Dataset,
    paths: xr.Dataset,
    scores: pd.DataFrame,
    phases: Mapping[str, Any],
    images: StoredArray,
    *,
    grid: Grid,
    tiles: int,
    shown: int,
    smoothing: float,
    floor: float,
) -> dict[str, Any]:
    """Geodesics of the Fisher metric, the metric that they were solved in, and the tiles below them.

    Args:
        free_energy: the fit.
        paths: of every method and pair.
        scores: of each path.
        phases: whose boundaries are drawn.
        images: of all samples, one a node.
        grid: the parameter box and its nodes.
        tiles: see ``mosaic.tile_nodes``.
        shown: half as many paths are drawn.
        smoothing: see ``repaired_field``.
        floor: see ``repaired_field``.
    """
    nodes = tile_nodes(grid, images.shape[1:], tiles=tiles)
    pairs = shown_pairs(scores, 2 * shown)
    of_fisher, of_line = (
        scores[scores["method"] == method].set_index("pair").loc[pairs] for method in ("fisher", "linear")
    )
    numbers = {"pair": np.array(pairs), "length": of_fisher["fisher"], "length_of_line": of_line["fisher"]}
    numbers |= {name: of_fisher[name] for name in ("certified", "residual", "within_phase")}
    field = repaired_field(free_energy["fisher_metric"].to_numpy(), grid, smoothing=smoothing, floor=floor)
    return {
        "images": read_tiles(images, nodes.ravel(), nodes),
        "nodes": nodes,
        "grid": grid,
        "largest_eigenvalue": eigenvalues(in_units(field.metric, grid.square))[..., 1],
        "boundaries": phases["boundaries"],
        "geodesics": paths["points"].sel({"method": "fisher"}).to_numpy()[pairs],
        "numbers": numbers,
    }


@style.theme()
def draw(
    images: UInt8[np.ndarray, "k h w c"],
    nodes: Int[np.ndarray, "ta tb"],
    grid: Grid,
    largest_eigenvalue: Float[np.ndarray, "na nb"],
    boundaries: Sequence[Mapping[str, Any]],
    geodesics: Float[np.ndarray, "m n 2"],
    numbers: Mapping[str, Sequence[float]],
) -> tuple[Figure, pd.DataFrame]:
    """Geodesics and the straight lines between their ends on the image mosaic (A) and on the metric (B).

    Args:
        images: the image of each tile, in the order of ``nodes``.
        nodes: node of ``grid`` that each tile shows, see ``mosaic.tile_nodes``.
        grid: the parameter box and its nodes.
        largest_eigenvalue: of the metric whose geodesics are drawn, at the nodes, as it is solved with.
        boundaries: ``{"points": [[a, b], ...]}`` each.
        geodesics: points of each curve, ends included.
        numbers: of each curve, columns of the table, such as its length and that of the line.

    Returns:
        The figure, 7 inches wide, and a row per point: ``curve``, ``point``, ``a``, ``b`` and the numbers of its curve.

    Raises:
        ValueError: if images and tiles differ in number, or numbers and curves do.
    """
    if len(images) != nodes.size:
        raise ValueError(f"{len(images)} images do not fill {nodes.shape} tiles, which are {nodes.size}")
    if wrong := [name for name, column in numbers.items() if len(column) != len(geodesics)]:
        raise ValueError(f"{', '.join(wrong)} are not the numbers of {len(geodesics)} curves")
    a, b = grid.axes
    figure, (left, right) = style.map_row(
        2, style.height_ratio(a, b), width=style.DOUBLE_COLUMN, top=0.52, bottom=0.62
    )
    show_mosaic(left, images, nodes, grid)
    style.draw_boundaries(left, boundaries, colour="#ffd400", width=0.8)
    logarithm = np.log10(largest_eigenvalue)
    image = style.show_field(right, logarithm, a, b, cmap=style.RIDGE, norm=style.linear_norm(logarithm))
    style.colour_bar(image, r"$\log_{10}\lambda_{\max}(g)$  ($\lambda$ in nats per $N$)")
    for panel, axes in enumerate((left, right)):
        _draw_curves(axes, geodesics)
        style.label_parameters(axes, vertical=panel == 0)
        style.panel_letter(axes, "AB"[panel])
    handles, labels = left.get_legend_handles_labels()
    where = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.2 / figure.get_size_inches()[1])}
    figure.legend(handles, labels, ncols=3, frameon=False, borderaxespad=0, **where)
    curve, point = np.indices(geodesics.shape[:2])
    table = pd.DataFrame(
        {"curve": curve.ravel(), "point": point.ravel()}
        | {"a": geodesics[..., 0].ravel(), "b": geodesics[..., 1].ravel()}
        | {name: np.asarray(column)[curve.ravel()] for name, column in numbers.items()}
    )
    return figure, table


def _draw_curves(axes: Axes, geodesics: Float[np.ndarray, "m n 2"]) -> None:
    limits = axes.get_xlim(), axes.get_ylim()
    cased = {"solid_capstyle": "round", "dash_capstyle": "butt"}
    for k, curve in enumerate(geodesics):
        label = {"label": "geodesic"} if k == 0 else {}
        effects = [Stroke(linewidth=2.6, foreground="black"), Normal()]
        axes.plot(*curve.T, color=GEODESIC, linewidth=1.5, path_effects=effects, zorder=5, **label, **cased)
        label = {"label": "straight line"} if k == 0 else {}
        effects = [Stroke(linewidth=1.8, foreground="black"), Normal()]
        axes.plot(
            *curve[[0, -1]].T,
            "--",
            color=LINE,
            linewidth=0.9,
            path_effects=effects,
            zorder=4,
            **label,
            **cased,
        )
    ends = geodesics[:, [0, -1]].reshape(-1, 2)
    axes.plot(*ends.T, "o", color="white", markeredgecolor="black", markersize=3.5, zorder=6, label="ends")
    axes.set(xlim=limits[0], ylim=limits[1])
