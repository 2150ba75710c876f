"""The free energy as a surface and as contours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from hessgeo.evaluation.gauge import remove_affine_part
from hessgeo.figures import style, surface

RELIEF = 0.55  # height of the surface over its width
LABEL = "$F$ (nats per $N$)"


def without_affine_part(dataset: xr.Dataset) -> Float[np.ndarray, "a b"]:
    """``F`` on the nodes, less its least-squares plane, which no posterior determines."""
    values = style.field(dataset, "free_energy").astype(float)
    node_a, node_b = np.meshgrid(*style.axes_of(dataset), indexing="ij")
    points = np.column_stack([node_a.ravel(), node_b.ravel()])
    return remove_affine_part(points, values.ravel()).reshape(values.shape)


@style.theme()
def draw(dataset: xr.Dataset) -> tuple[Figure, pd.DataFrame]:
    """The free energy ``F(a, b)`` without its affine part, as a shaded surface (A) and as contours (B).

    Args:
        dataset: ``free_energy`` (nats per ``N``) on dims ``(a, b)``.

    Returns:
        The figure, 7 inches wide, and a row per node: ``a``, ``b``, ``F_nats_per_N`` as it was fitted,
        ``F_affine_removed_nats_per_N`` as it is drawn.
    """
    a, b = style.axes_of(dataset)
    shown = without_affine_part(dataset)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, 3.1))
    _draw_surface(
        style.place(figure, 0.38, 0.0, 3.2, 3.1, projection="3d", computed_zorder=False), shown, a, b
    )
    ratio = style.height_ratio(a, b)
    width, height = min(2.3, 2.3 / ratio), min(2.3, 2.3 * ratio)
    middle_a, middle_b = 5.12, 1.6  # of panel B, inches
    panel = style.place(figure, middle_a - width / 2, middle_b - height / 2, width, height)
    _draw_contours(panel, shown, a, b)
    columns = {"F_nats_per_N": style.field(dataset, "free_energy"), "F_affine_removed_nats_per_N": shown}
    return figure, style.node_table(a, b, columns)


def _draw_surface(
    axes: Axes3D, shown: Float[np.ndarray, "a b"], a: Float[np.ndarray, "a"], b: Float[np.ndarray, "b"]
) -> None:
    """Panel A: a lit surface in the colours of panel B."""
    node_a, node_b = np.meshgrid(a, b, indexing="ij")
    unit = surface.unit_height(shown)
    colours = style.colour_map(style.SEQUENTIAL)(unit)
    lit = surface.hillshade(unit, relief=RELIEF)
    colours[..., :3] *= 0.6 + 0.4 * lit[..., None]  # darker in the shade, the hue of panel B kept
    axes.plot_surface(
        node_a,
        node_b,
        shown,
        facecolors=colours,
        rcount=min(len(a), 128),
        ccount=min(len(b), 128),
        linewidth=0,
        antialiased=False,
        shade=False,
        rasterized=True,
    )
    axes.set_box_aspect((1, 1, RELIEF), zoom=0.95)
    axes.view_init(elev=32, azim=-125)
    surface.dress(axes, ("latent coordinate $a$", "latent coordinate $b$", LABEL))
    axes.figure.text(0.02, 0.92, "A", fontsize=9, fontweight="bold")
    axes.figure.text(0.26, 0.92, "affine part removed", ha="center")


def _draw_contours(
    axes: Axes, shown: Float[np.ndarray, "a b"], a: Float[np.ndarray, "a"], b: Float[np.ndarray, "b"]
) -> None:
    """Panel B: filled levels, every second one outlined."""
    levels = MaxNLocator(20).tick_values(shown.min(), shown.max())
    filled = axes.contourf(a, b, shown.T, levels=levels, cmap=style.SEQUENTIAL)
    axes.contour(a, b, shown.T, levels=levels[::2], colors="black", linewidths=0.4, linestyles="solid")
    axes.set_aspect("equal")
    style.label_parameters(axes)
    style.panel_letter(axes, "B")
    bar = axes.figure.colorbar(filled, cax=axes.inset_axes((1.04, 0, 0.05, 1)))
    bar.outline.set_linewidth(0.6)
    bar.locator = MaxNLocator(6)
    bar.update_ticks()
    bar.set_label(LABEL)
