"""A study of one parameter at one sight: its free energy with two derivatives, the posteriors' widths, its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory
from scipy.spatial import cKDTree
from scipy.stats import norm as normal

from hessgeo.evaluation.gauge import remove_affine_part
from hessgeo.figures import style
from hessgeo.figures.phases import colours_of
from hessgeo.grids import Grid, bilinear_weights
from hessgeo.posteriors import Posterior, read_posterior
from hessgeo.store.shards import StoredArray

BAND = float(normal.ppf(0.975))  # half width of a 95 % band in standard errors
LINE, SECOND = "#0173b2", "#de8f05"
TILES = 16  # images of the film strip
LEFT, RIGHT, TOP, BOTTOM, PANEL, GAP = 0.85, 0.55, 0.26, 0.36, 1.0, 0.2  # inches


def gather(
    free_energy: xr.Dataset,
    metric: xr.Dataset,
    phases: Mapping[str, Any],
    posterior: str | Posterior,
    points: StoredArray,
    images: StoredArray,
    *,
    grid: Grid,
    along: str,
) -> dict[str, Any]:
    """Widths and entropies of the posteriors on the nodes, and the image at the middle of each tile of the strip.

    Args:
        free_energy: the fit.
        metric: its metric.
        phases: with their boundaries.
        posterior: the data posterior, or its folder.
        points: parameters of all samples.
        images: of all samples.
        grid: the nodes.
        along: what the parameter moves, in words.
    """
    found = posterior if isinstance(posterior, Posterior) else read_posterior(posterior)
    spread = bilinear_weights(found.t, grid)
    share = np.asarray(spread.sum(axis=0)).ravel()
    each = np.column_stack([np.sqrt(found.central_moment[:, 0]), found.entropy])
    with np.errstate(invalid="ignore"):  # a node without samples has neither
        widths = (spread.T @ each) / np.where(share > 0, share, np.nan)[:, None]
    (low, high), count = grid.extent[0], min(TILES, len(points[:]))
    middles = low + (np.arange(count) + 0.5) * (high - low) / count
    _, chosen = cKDTree(points[:]).query(middles[:, None])
    shown = {"width": widths[:, 0], "entropy": widths[:, 1]}
    order = np.unique(chosen)
    pictures = images[order][np.searchsorted(order, chosen)]
    return {"free_energy": free_energy, "metric": metric, "phases": phases, "posteriors": shown,
            "pictures": pictures, "samples": chosen, "along": along}  # fmt: skip


@style.theme()
def draw(
    free_energy: xr.Dataset,
    metric: xr.Dataset,
    phases: Mapping[str, Any],
    posteriors: Mapping[str, Float[np.ndarray, "a"]],
    pictures: UInt8[np.ndarray, "m h w c"],
    samples: Int[np.ndarray, "m"],
    *,
    along: str,
) -> tuple[Figure, pd.DataFrame]:
    """``F`` (A), ``dF/da`` (B), ``sqrt g`` (C), widths and entropies of posteriors (D), images along the path (E).

    Phases are shaded, boundaries marked by lines with their strength in nats.

    Args:
        free_energy: ``free_energy``, ``gradient (a, i)``, ``fisher_metric (a, i, j)``, each with ``<name>_error``.
        metric: ``positive_definite`` on the same nodes.
        phases: ``phases`` (``label``) and ``boundaries`` (``points``, ``phases``, ``strength``, ``width``).
        posteriors: ``width`` (standard deviation) and ``entropy``, nats, on the nodes; NaN without samples.
        pictures: images of the film strip, from left to right.
        samples: which these are; in the table where a node is nearest to the middle of a tile.
        along: what the parameter moves, in words.

    Returns:
        The figure, 7 inches wide, and a row per node: ``a``, ``phase``, values and standard errors of ``F`` (affine
        part removed), ``dF_da``, ``F_aa`` in nats per ``N``, ``sqrt_g``, ``positive_definite``,
        ``posterior_deviation``, ``posterior_entropy_nats``, ``sample``.
    """
    a = free_energy["a"].to_numpy().astype(float)
    table = _table(a, free_energy, metric, phases, posteriors, samples)
    across = style.DOUBLE_COLUMN - LEFT - RIGHT
    strip = across / len(pictures) * pictures.shape[1] / pictures.shape[2]
    height = BOTTOM + strip + 4 * (PANEL + GAP) + TOP
    figure = Figure(figsize=(style.DOUBLE_COLUMN, height))
    floors = [BOTTOM + strip + GAP + k * (PANEL + GAP) for k in (3, 2, 1, 0)]
    panels = [style.place(figure, LEFT, floor, across, PANEL) for floor in floors]
    _draw_curves(panels, table)
    film = style.place(figure, LEFT, BOTTOM, across, strip)
    _draw_film(film, pictures, a)
    for letter, axes in zip("ABCDE", [*panels, film], strict=True):
        axes.set_xlim(a[0], a[-1])
        axes.tick_params(labelbottom=letter == "E")
        if letter != "E":
            _shade(axes, a, table["phase"].to_numpy(), numbered=letter == "A")
        _mark(axes, phases["boundaries"], strengths=letter == "A")
        style.panel_letter(axes, letter, left=44)
    film.set_xlabel(f"{along} $a$")
    return figure, table


def _table(
    a: Float[np.ndarray, "a"],
    free_energy: xr.Dataset,
    metric: xr.Dataset,
    phases: Mapping[str, Any],
    posteriors: Mapping[str, Float[np.ndarray, "a"]],
    samples: Int[np.ndarray, "m"],
) -> pd.DataFrame:
    """What the panels show; ``sqrt g`` where the metric is positive."""
    g = free_energy["fisher_metric"].to_numpy()[:, 0, 0]
    root = np.sqrt(np.where(g > 0, g, np.nan))
    bars = free_energy["fisher_metric_error"].to_numpy()[:, 0, 0]
    middles = a[0] + (np.arange(len(samples)) + 0.5) * (a[-1] - a[0]) / len(samples)
    shown = pd.Series(samples, index=np.abs(a[:, None] - middles).argmin(axis=0))
    return pd.DataFrame(
        {
            "a": a,
            "phase": _phase_of(a, phases),
            "F_affine_removed_nats_per_N": remove_affine_part(
                a[:, None], free_energy["free_energy"].to_numpy()
            ),
            "F_error_nats_per_N": free_energy["free_energy_error"].to_numpy(),
            "dF_da_nats_per_N": free_energy["gradient"].to_numpy()[:, 0],
            "dF_da_error_nats_per_N": free_energy["gradient_error"].to_numpy()[:, 0],
            "F_aa_nats_per_N": g,
            "F_aa_error_nats_per_N": bars,
            "sqrt_g": root,
            "sqrt_g_error": bars / (2 * root),
            "positive_definite": metric["positive_definite"].to_numpy().astype(bool),
            "posterior_deviation": posteriors["width"],
            "posterior_entropy_nats": posteriors["entropy"],
            "sample": shown[~shown.index.duplicated()].reindex(range(len(a))).astype("Int64").to_numpy(),
        }
    )


def _phase_of(a: Float[np.ndarray, "a"], phases: Mapping[str, Any]) -> Int[np.ndarray, "a"]:
    """The phase of each node, from the boundaries between them: they are intervals."""
    ends = sorted((float(np.ravel(one["points"])[0]), tuple(one["phases"])) for one in phases["boundaries"])
    if not ends:
        return np.full(len(a), phases["phases"][0]["label"])
    # Neighbouring boundaries share the phase between them; the first has one that the second does not.
    order: list[int] = []
    for k, (_, pair) in enumerate(ends):
        following = ends[k + 1][1] if k + 1 < len(ends) else ()
        before = order[-1] if order else next((one for one in pair if one not in following), pair[0])
        order += [before] if not order else []
        order.append(next(one for one in pair if one != before))
    return np.array(order)[np.searchsorted([place for place, _ in ends], a)]


def _draw_curves(panels: Sequence[Axes], table: pd.DataFrame) -> None:
    """Panels A to D."""
    a = table["a"].to_numpy()
    curves = [
        ("F_affine_removed_nats_per_N", "F_error_nats_per_N", "$F$, affine part\nremoved (nats per $N$)"),
        ("dF_da_nats_per_N", "dF_da_error_nats_per_N", "$dF/da$\n(nats per $N$)"),
        ("sqrt_g", "sqrt_g_error", "$\\sqrt{g}$, $g = F_{aa}$\n(root of nats per $N$)"),
    ]
    for axes, (name, error, label) in zip(panels, curves, strict=False):
        value, half = table[name].to_numpy(), BAND * table[error].to_numpy()
        if np.isfinite(half).any():
            axes.fill_between(a, value - half, value + half, color=LINE, alpha=0.3, linewidth=0, zorder=2)
        axes.plot(a, value, color=LINE, zorder=3)
        _name(axes, label)
        axes.ticklabel_format(axis="y", scilimits=(-2, 4), useMathText=True)
    panels[2].set_ylim(bottom=0)
    widths, entropies = panels[3], panels[3].twinx()
    widths.plot(a, table["posterior_deviation"], color=LINE, zorder=3)
    _name(widths, "posterior s.d.\n(units of $a$)", LINE)
    entropies.plot(a, table["posterior_entropy_nats"], color=SECOND, linestyle="--", zorder=3)
    _name(entropies, "entropy (nats)", SECOND)
    widths.set_ylim(bottom=0)


def _name(axes: Axes, label: str, colour: str = style.INK) -> None:
    axes.set_ylabel(label, color=colour)
    style.round_ticks(axes, 6, 4)


def _shade(axes: Axes, a: Float[np.ndarray, "a"], phase: Int[np.ndarray, "a"], *, numbered: bool) -> None:
    """Each phase in its colour, pale, with its number."""
    colours = colours_of(sorted(set(phase.tolist())))
    edges = [a[0], *(a[:-1] + a[1:])[np.diff(phase) != 0] / 2, a[-1]]
    starts = [0, *np.flatnonzero(np.diff(phase)) + 1]
    for low, high, start in zip(edges[:-1], edges[1:], starts, strict=True):
        axes.axvspan(low, high, color=colours[int(phase[start])], alpha=0.13, linewidth=0, zorder=0)
        if numbered:
            place = {"transform": blended_transform_factory(axes.transData, axes.transAxes), "ha": "center"}
            axes.text((low + high) / 2, 0.9, str(phase[start]), va="top", fontweight="bold", **place)


def _mark(axes: Axes, boundaries: Sequence[Mapping[str, Any]], *, strengths: bool) -> None:
    """A line at each boundary, a bar for the width of its ridge, and above the first panel its strength."""
    up = blended_transform_factory(axes.transData, axes.transAxes)
    for one in boundaries:
        place = float(np.ravel(one["points"])[0])
        axes.axvline(place, color="black", linewidth=0.7, linestyle=(0, (3, 2)), zorder=4)
        if strengths:
            half = one["width"] / 2
            axes.plot(
                [place - half, place + half], [1, 1], transform=up, color="black", linewidth=2.2,
                solid_capstyle="butt", clip_on=False, zorder=5,
            )  # fmt: skip
            text = f"{one['strength']:.2g} nats"
            axes.text(place, 1.05, text, transform=up, ha="center", va="bottom", fontsize=7)


def _draw_film(axes: Axes, pictures: UInt8[np.ndarray, "m h w c"], a: Float[np.ndarray, "a"]) -> None:
    """Images side by side, each over the share of the path in whose middle it lies."""
    ends = np.linspace(a[0], a[-1], len(pictures) + 1)
    for picture, low, high in zip(pictures, ends[:-1], ends[1:], strict=True):
        inset = axes.inset_axes((low, 0, high - low, 1), transform=blended_transform_factory(
            axes.transData, axes.transAxes))  # fmt: skip
        inset.imshow(
            style.displayable(picture), cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="none"
        )
        inset.set(xticks=[], yticks=[])
    axes.set(yticks=[], ylim=(0, 1))
    style.round_ticks(axes, 6, 1)
    axes.set_yticks([])
