"""The phase map and one typical image of every phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt

from hessgeo.figures import style
from hessgeo.figures.look import line_colours
from hessgeo.store.shards import StoredArray

SHOWN = 12  # medoids that fit beside the map at a legible size
Colour = tuple[float, float, float]


def largest(phases: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The phases whose medoids are shown: the twelve largest, largest first."""
    return _by_area(phases)[:SHOWN]


def gather(fields: xr.Dataset, phases: Mapping[str, Any], images: StoredArray) -> dict[str, Any]:
    """The medoids of the largest phases, taken from the images of all samples."""
    medoids = np.array([phase["medoid"] for phase in largest(phases)])
    return {"fields": fields, "phases": phases, "medoids": images[medoids]}


def _by_area(phases: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(phases["phases"], key=lambda phase: (-phase["area"], phase["label"]))


@style.theme()
def draw(
    fields: xr.Dataset, phases: Mapping[str, Any], medoids: UInt8[np.ndarray, "m h w c"]
) -> tuple[Figure, pd.DataFrame]:
    """Phase labels with boundaries and triple points (A), and the medoid image of each phase (B).

    Args:
        fields: integer ``label`` on dims ``(a, b)``.
        phases: ``phases`` (``label``, ``area`` as a share, ``medoid`` as a sample index, ``mean_gradient``,
            ``samples``), ``boundaries`` and ``triple_points``.
        medoids: the medoid image of each phase of ``largest(phases)``; one or three channels.

    Returns:
        The figure, 7 inches wide, and a row per phase, largest first: ``label``, ``area_share``, ``samples``,
        ``medoid_sample``, ``mean_dF_da_nats_per_N``, ``mean_dF_db_nats_per_N``.

    Raises:
        ValueError: if a label of the map is not among the phases, or a medoid is missing.
    """
    a, b = style.axes_of(fields)
    label = style.field(fields, "label").astype(int)
    entries = _by_area(phases)
    missing = sorted(set(np.unique(label).tolist()) - {phase["label"] for phase in entries})
    if missing:
        raise ValueError(f"labels {missing} of the map are not among the phases")
    if len(medoids) != len(entries[:SHOWN]):
        raise ValueError(f"{len(medoids)} medoids do not show the {len(entries[:SHOWN])} largest phases")
    colours = colours_of([phase["label"] for phase in entries])
    ratio = min(style.height_ratio(a, b), 2.0)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, 0.72 + 3.1 * ratio))
    axes = style.place(figure, 0.5, 0.52, 3.1, 3.1 * ratio)
    draw_map(axes, label, a, b, colours)
    style.draw_boundaries(axes, phases["boundaries"])
    corners = np.array([corner["point"] for corner in phases["triple_points"]], dtype=float).reshape(-1, 2)
    if len(corners):
        style.mark_points(axes, corners, "triple point")
    style.panel_letter(axes, "A")
    _draw_medoids(figure, entries, medoids, colours)
    return figure, _table(entries)


def colours_of(labels: Sequence[int]) -> dict[int, Colour]:
    """Colour-blind-safe colours, largest phase first; from the eleventh on, paler ones of the same hues."""
    safe = line_colours()
    pale = [tuple(0.45 * channel + 0.55 for channel in colour) for colour in safe]
    cycle = safe + pale
    return {label: cycle[k % len(cycle)] for k, label in enumerate(labels)}


def draw_map(
    axes: Axes,
    label: Int[np.ndarray, "a b"],
    a: np.ndarray,
    b: np.ndarray,
    colours: Mapping[int, Colour],
) -> None:
    """Flat colours, and each phase's number where it is farthest from every other phase."""
    order = sorted(colours)
    position = np.searchsorted(order, label)
    cmap = ListedColormap([colours[name] for name in order])
    norm = BoundaryNorm(np.arange(len(order) + 1) - 0.5, len(order))
    style.show_field(axes, position, a, b, cmap=cmap, norm=norm)
    for name in np.unique(label):
        depth = distance_transform_edt(np.pad(label == name, 1))[1:-1, 1:-1]
        i, j = np.unravel_index(np.argmax(depth), depth.shape)
        outline = [withStroke(linewidth=1.6, foreground="white")]
        axes.text(
            a[i], b[j], str(name), ha="center", va="center", fontweight="bold", path_effects=outline, zorder=5
        )
    style.label_parameters(axes)


def _draw_medoids(
    figure: Figure,
    entries: Sequence[Mapping[str, Any]],
    medoids: UInt8[np.ndarray, "m h w c"],
    colours: Mapping[int, Colour],
) -> None:
    """One framed image a phase, with its label and share of the area, for the largest phases."""
    shown = entries[:SHOWN]
    left, bottom, gap, title, note = 3.9, 0.52, 0.1, 0.2, 0.25
    width, height = figure.get_figwidth() - left - 0.07, figure.get_figheight() - bottom
    sizes = {  # the side of square images in so many columns
        columns: min(width / columns - gap, (height - note) / -(-len(shown) // columns) - gap - title)
        for columns in range(1, len(shown) + 1)
    }
    columns = max(sizes, key=lambda columns: sizes[columns])
    side, pitch = sizes[columns], sizes[columns] + gap
    rows = -(-len(shown) // columns)
    top = bottom + (height + rows * (pitch + title) + note) / 2  # of a block centred beside the map
    for k, phase in enumerate(shown):
        row, column = divmod(k, columns)
        floor = top - (row + 1) * (pitch + title) + gap
        axes = style.place(figure, left + column * pitch, floor, side, side)
        _draw_medoid(axes, phase, medoids[k], colours[phase["label"]])
        if k == 0:
            style.panel_letter(axes, "B")
    more = "" if len(entries) == len(shown) else f"; the largest {SHOWN} of {len(entries)}"
    axes.figure.text(
        left / figure.get_figwidth(),
        (floor - 0.08) / figure.get_figheight(),
        f"medoids and shares of area of the phases{more}",
        va="top",
        fontsize=7,
    )


def _draw_medoid(
    axes: Axes, phase: Mapping[str, Any], image: UInt8[np.ndarray, "h w c"], colour: Colour
) -> None:
    """One image in the colour of its phase."""
    style.show_picture(axes, image)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{phase['label']}: {phase['area']:.0%}")
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour, linewidth=2.5)


def _table(entries: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per phase."""
    return pd.DataFrame(
        {
            "label": [phase["label"] for phase in entries],
            "area_share": [phase["area"] for phase in entries],
            "samples": [phase["samples"] for phase in entries],
            "medoid_sample": [phase["medoid"] for phase in entries],
            "mean_dF_da_nats_per_N": [phase["mean_gradient"][0] for phase in entries],
            "mean_dF_db_nats_per_N": [phase["mean_gradient"][1] for phase in entries],
        }
    )
