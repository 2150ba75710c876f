"""Learned coordinates as a bent grid over the phases, and what they are worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.phases import colours_of

LINES = 17  # along each parameter, at most
_PREFIX = "divergence_"


@style.theme()
def draw(
    free_energy: xr.Dataset, fields: xr.Dataset, phases: Mapping[str, Any]
) -> tuple[Figure, pd.DataFrame]:
    """The image of the parameter grid in learned coordinates (A), and the divergence against their number (B).

    Args:
        free_energy: ``coordinates (a, b, u)`` in box units, of which the first two are drawn; in its ``certificate``
            ``divergence_given``, ``divergence_2`` and so on, nats.
        fields: integer ``label`` on dims ``(a, b)``.
        phases: ``phases`` with their ``label`` and ``area``.

    Returns:
        The figure, 7 inches wide, and a row per node (``a``, ``b``, ``u_1``, ``u_2`` .., ``label``), then one a
        dimension (``dimension``, 0 for the given coordinates, and ``divergence_nats``).
    """
    a, b = style.axes_of(free_energy)
    u = style.field(free_energy, "coordinates")
    label = style.field(fields, "label").astype(int)
    divergences = _divergences(free_energy.attrs["certificate"])
    low, high = u[..., :2].min(axis=(0, 1)), u[..., :2].max(axis=(0, 1))
    ratio = min(float((high[1] - low[1]) / (high[0] - low[0])), 2.0)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, 0.72 + 3.4 * ratio))
    plane = style.place(figure, 0.55, 0.5, 3.4, 3.4 * ratio)
    order = [
        phase["label"]
        for phase in sorted(phases["phases"], key=lambda phase: (-phase["area"], phase["label"]))
    ]
    _draw_phases(plane, u, label, colours_of(order))
    _draw_grid(plane, u)
    plane.set(xlabel="coordinate $u_1$ (box units)", ylabel="coordinate $u_2$ (box units)", aspect="equal")
    style.panel_letter(plane, "A")
    losses = style.place(figure, 4.75, 0.5, 2.1, min(3.4 * ratio, 2.6))
    _draw_losses(losses, divergences)
    style.panel_letter(losses, "B")
    columns = {f"u_{k + 1}": u[..., k] for k in range(u.shape[-1])}
    rows = pd.DataFrame(divergences.items(), columns=["dimension", "divergence_nats"])
    return figure, pd.concat([style.node_table(a, b, {**columns, "label": label}), rows], ignore_index=True)


def _divergences(certificate: Mapping[str, Any] | str) -> dict[int, float]:
    """Mean divergence by the number of learned coordinates, 0 for those given."""
    about = json.loads(certificate) if isinstance(certificate, str) else certificate
    found = {
        0 if (name := key.removeprefix(_PREFIX)) == "given" else int(name): float(value)
        for key, value in about.items()
        if key.startswith(_PREFIX)
    }
    return dict(sorted(found.items()))


def _draw_phases(
    axes: Axes,
    u: Float[np.ndarray, "na nb component"],
    label: Int[np.ndarray, "na nb"],
    colours: Mapping[int, tuple[float, float, float]],
) -> None:
    """Every cell in the colour of the phase at its first corner."""
    order = sorted(colours)
    norm = BoundaryNorm(np.arange(len(order) + 1) - 0.5, len(order))
    shown = np.searchsorted(order, label[:-1, :-1])
    # Paler, not transparent: where cells meet, transparent ones show a seam.
    cmap = ListedColormap([tuple(0.55 * channel + 0.45 for channel in colours[name]) for name in order])
    axes.pcolormesh(u[..., 0], u[..., 1], shown, cmap=cmap, norm=norm)


def _draw_grid(axes: Axes, u: Float[np.ndarray, "na nb component"]) -> None:
    """Lines of constant ``a`` and of constant ``b``, evenly chosen, both ends among them."""
    rows, columns = (np.unique(np.linspace(0, count - 1, LINES).round().astype(int)) for count in u.shape[:2])
    lines = [u[row, :, :2] for row in rows] + [u[:, column, :2] for column in columns]
    axes.add_collection(LineCollection(lines, colors=style.INK, linewidths=0.5))
    axes.autoscale_view()


def _draw_losses(axes: Axes, divergences: Mapping[int, float]) -> None:
    """A point a dimension."""
    axes.plot(list(divergences), list(divergences.values()), marker="o", markersize=4, color="#0173b2")
    for dimension, value in divergences.items():
        axes.annotate(
            f"{value:.2g}", (dimension, value), textcoords="offset points", xytext=(4, 4), fontsize=7
        )
    axes.set_xticks(list(divergences))
    axes.margins(x=0.22, y=0.15)
    axes.set_ylim(bottom=0.0)
    axes.set(xlabel="learned coordinates (0: given)", ylabel="divergence (nats)")
