"""The same slice by different routes: free energy, its slopes and the metric, a row a study."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.free_energy import without_affine_part
from hessgeo.figures.saving import RESOLVED, verdict_of

COLUMNS = {  # what each column shows: its name in the table and above the maps
    "F_affine_removed_nats_per_N": "$F$ (nats per $N$)",
    "F_a_less_mean_nats_per_N": r"$\partial_a F$ (nats per $N$)",
    "F_b_less_mean_nats_per_N": r"$\partial_b F$ (nats per $N$)",
    "log10_largest_eigenvalue": r"$\log_{10}\lambda_{\max}(g)$",
}
LEFT, GAP, RIGHT = 0.5, 0.16, 0.1  # room beside the maps, inches
TITLE, BAR_ROOM, BELOW, LABELS = 0.21, 0.45, 0.07, 0.37  # and above and below those of a row
ALIKE = 3.0  # ratio of ranges up to which rows share a colour scale: beyond, one of them would fade


@dataclass(frozen=True)
class Route:
    """A study to compare.

    Attributes:
        label: what it is called, such as ``CLIP, eta = 0``.
        free_energy: ``free_energy`` and ``gradient`` on ``(a, b)``; attributes ``resolution``, ``kernel`` and
            ``certificate``.
        metric: ``largest_eigenvalue`` and ``positive_definite`` on ``(a, b)``.
        boundaries: ``{"points": [[a, b], ...]}`` of each line between phases.
    """

    label: str
    free_energy: xr.Dataset
    metric: xr.Dataset
    boundaries: Sequence[Mapping[str, Any]]

    @property
    def kernel(self) -> str:
        """The kind of its posterior."""
        return str(self.free_energy.attrs["kernel"])

    @property
    def ratio(self) -> float:
        """Height over width of its maps."""
        return style.height_ratio(*style.axes_of(self.free_energy))


def gather(
    free_energies: Sequence[xr.Dataset],
    metrics: Sequence[xr.Dataset],
    phases: Sequence[Mapping[str, Any]],
    *,
    labels: Sequence[str],
) -> dict[str, Any]:
    """The studies, whose results stand at the same place of each list."""
    boundaries = [found["boundaries"] for found in phases]
    return {"routes": [Route(*one) for one in zip(labels, free_energies, metrics, boundaries, strict=True)]}


def verdict(free_energies: Sequence[xr.Dataset], *_: Any, labels: Sequence[str]) -> str:
    """What is to be known of those studies that are not resolved."""
    words = zip(labels, map(verdict_of, free_energies), strict=True)
    return "; ".join(f"{label}: {text}" for label, text in words if text != RESOLVED) or RESOLVED


@style.theme()
def draw(routes: Sequence[Route]) -> tuple[Figure, pd.DataFrame]:
    """Free energy, its two slopes and the metric's largest eigenvalue of several studies, a row each.

    The affine part of ``F`` and the mean of its gradient, which no posterior determines, are removed. Studies that
    follow each other share the colour scales if they have the same kind of posterior and ranges of ``F`` within a
    factor of three; colour bars stand above the first of them. Those of another kind never do, for their ``F`` is
    counted per unit of another ``N``. Lines on the last map are phase
    boundaries, hatched cells are not positive definite. Above each row stand its ``N``, the divergence of the
    fit from the data posterior, and the share of cells that are positive definite.

    Args:
        routes: the studies, at least one; put those with the same kind of posterior next to each other.

    Returns:
        The figure, 7 inches wide, and a row per study and node: ``route``, ``kernel``, ``N``, ``a``, ``b``, the
        four fields, ``positive_definite``.

    Raises:
        ValueError: if there are no studies.
    """
    if not routes:
        raise ValueError("there are no studies to compare; name at least one")
    tables = {id(route): _fields(route) for route in routes}
    groups = _alike(
        routes, {key: float(np.ptp(next(iter(fields.values())))) for key, fields in tables.items()}
    )
    side = (style.DOUBLE_COLUMN - LEFT - RIGHT - GAP * (len(COLUMNS) - 1)) / len(COLUMNS)
    height = (
        sum(TITLE + side * route.ratio + BELOW for route in routes) + BAR_ROOM * len(groups) + LABELS + 0.02
    )
    figure = Figure(figsize=(style.DOUBLE_COLUMN, height))
    top = height - 0.02
    for group in groups:
        scales = {name: _scale(name, [tables[id(route)][name] for route in group]) for name in COLUMNS}
        for route in group:
            first, last = route is group[0], route is routes[-1]
            _write_title(figure, route, tables[id(route)]["positive_definite"], top)
            top -= TITLE + BAR_ROOM * first + side * route.ratio
            for k, name in enumerate(COLUMNS):
                axes = style.place(figure, LEFT + k * (side + GAP), top, side, side * route.ratio)
                _draw_map(axes, route, tables[id(route)], name, scales[name], first=first)
                style.label_parameters(axes, horizontal=last, vertical=k == 0)
                axes.set_xlabel("$a$" if last else "")
                axes.set_ylabel("$b$" if k == 0 else "")
            top -= BELOW
    return figure, pd.concat([_table(route, tables[id(route)]) for route in routes], ignore_index=True)


def _alike(routes: Sequence[Route], ranges: Mapping[int, float]) -> list[list[Route]]:
    """Runs of studies of one kind whose ranges of ``F`` are within ``ALIKE`` of each other."""
    groups: list[list[Route]] = []
    for route in routes:
        fitting = groups and groups[-1][0].kernel == route.kernel
        if fitting:
            extremes = [ranges[id(other)] for other in [*groups[-1], route]]
            fitting = max(extremes) <= ALIKE * min(extremes)
        if fitting:
            groups[-1].append(route)
        else:
            groups.append([route])
    return groups


def _fields(route: Route) -> dict[str, np.ndarray]:
    """The four fields and where the metric is positive definite, free of the gauge."""
    gradient = style.field(route.free_energy, "gradient").astype(float)
    slope = gradient - gradient.mean(axis=(0, 1))
    largest = style.field(route.metric, "largest_eigenvalue").astype(float)
    logarithm = np.full(largest.shape, np.nan)
    np.log10(largest, out=logarithm, where=largest > 0)
    fields = (without_affine_part(route.free_energy), slope[..., 0], slope[..., 1], logarithm)
    definite = style.field(route.metric, "positive_definite").astype(bool)
    return {**dict(zip(COLUMNS, fields, strict=True)), "positive_definite": definite}


def _scale(name: str, fields: Sequence[Float[np.ndarray, "a b"]]) -> tuple[str, Normalize]:
    """Colour map and scale of a column, for all rows of one kind."""
    values = np.concatenate([field.ravel() for field in fields])
    if name == "log10_largest_eigenvalue":
        return style.RIDGE, style.linear_norm(values)
    return (
        style.signed_scale(values) if "less_mean" in name else (style.SEQUENTIAL, style.linear_norm(values))
    )


def _draw_map(
    axes: Axes,
    route: Route,
    fields: Mapping[str, np.ndarray],
    name: str,
    scale: tuple[str, Normalize],
    *,
    first: bool,
) -> None:
    """One map; the first row of a kind carries the colour bar."""
    cmap, norm = scale
    a, b = style.axes_of(route.free_energy)
    image = style.show_field(axes, fields[name], a, b, cmap=cmap, norm=norm)
    if name == "log10_largest_eigenvalue":
        style.mark_cells(axes, ~fields["positive_definite"], a, b)
        style.draw_boundaries(axes, route.boundaries, width=0.4)
    if first:
        style.colour_bar(image, COLUMNS[name], ticks=3)


def _write_title(figure: Figure, route: Route, definite: Bool[np.ndarray, "a b"], top: float) -> None:
    """The name of a study in bold, and what its row rests on."""
    height = figure.get_size_inches()[1]
    place = {"y": (top - TITLE / 2) / height, "va": "center"}
    figure.text(0.07 / style.DOUBLE_COLUMN, s=route.label, fontweight="bold", **place)
    attributes = route.free_energy.attrs
    certificate = attributes.get("certificate", {})
    certificate = json.loads(certificate) if isinstance(certificate, str) else certificate
    notes = [f"$N$ = {style.number(float(attributes['resolution']))}"]
    for key, symbol in (("mean_divergence", "KL"), ("jensen_shannon", "JS")):
        if key in certificate:
            notes.append(f"{symbol} of the fit {style.number(float(certificate[key]))} nats")
    notes.append(f"$g$ positive definite in {100 * definite.mean():.1f} %")
    figure.text(1 - RIGHT / style.DOUBLE_COLUMN, s=",  ".join(notes), ha="right", fontsize=7, **place)


def _table(route: Route, fields: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """A row per node of one study."""
    table = style.node_table(*style.axes_of(route.free_energy), fields)
    about = {
        "route": route.label,
        "kernel": route.kernel,
        "N": float(route.free_energy.attrs["resolution"]),
    }
    for place, (name, value) in enumerate(about.items()):
        table.insert(place, name, value)
    return table
