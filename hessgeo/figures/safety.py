"""Which seeds are safe: the chance that a jitter changes the phase, and the samples to take of each phase."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from hessgeo.figures import style
from hessgeo.figures.phases import colours_of, largest
from hessgeo.store.shards import StoredArray

SHOWN = 6  # phases, whose images fit beside the map
KINDS = {"stable": "most stable", "medoid": "medoid", "least_stable": "least stable"}
MARKS = {"stable": "*", "medoid": "o", "least_stable": "X"}
SIDE, PITCH = 0.44, 1.07  # of an image, and from one to the next with its numbers, inches
LEFT, TOP, BOTTOM = 0.5, 0.52, 0.62  # around the map, inches
MAP = 2.85  # width of the map, inches


def gather(
    safety_fields: xr.Dataset, safety: Mapping[str, Any], phases: Mapping[str, Any], images: StoredArray
) -> dict[str, Any]:
    """Three images of each of the largest phases, read by row."""
    shown = _shown(safety, phases)
    rows = np.array([phase[kind]["node"] for phase in shown for kind in KINDS])
    pictures = np.asarray(images[rows])
    return {
        "fields": safety_fields,
        "safety": safety,
        "phases": phases,
        "images": pictures.reshape(len(shown), len(KINDS), *pictures.shape[1:]),
    }


def _shown(safety: Mapping[str, Any], phases: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The safety of the phases that are shown, largest first."""
    known = {phase["label"]: phase for phase in safety["phases"]}
    return [known[phase["label"]] for phase in largest(phases)[:SHOWN]]


@style.theme()
def draw(
    fields: xr.Dataset,
    safety: Mapping[str, Any],
    phases: Mapping[str, Any],
    images: UInt8[np.ndarray, "phase 3 h w c"],
) -> tuple[Figure, pd.DataFrame]:
    """The map of risk with marked samples (A), and three images of each phase (B).

    Args:
        fields: ``jitter_risk`` on dims ``(a, b)``.
        safety: of ``pipeline.safety.study_safety``.
        phases: ``phases`` and ``boundaries`` of the study.
        images: of the most stable sample of each phase that is shown, of its medoid, and of its least stable one.

    Returns:
        The figure, 7 inches wide, and a row for each image: ``phase``, ``kind``, ``node``, ``a``, ``b``, ``risk``,
        ``boundary_distance``.
    """
    a, b = style.axes_of(fields)
    tall = MAP * min(style.height_ratio(a, b), 2.0)
    text = textwrap.wrap(verdict_line(safety), 132)
    floor = BOTTOM + 0.135 * len(text)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, TOP + max(tall, SHOWN * (SIDE + 0.08)) + floor))
    height = figure.get_figheight()
    axes = style.place(figure, LEFT, height - TOP - tall, MAP, tall)
    risk = style.field(fields, "jitter_risk")
    image = style.show_field(axes, risk, a, b, cmap="mako_r", norm=style.linear_norm(risk, tail=0.0))
    style.draw_boundaries(axes, phases["boundaries"])
    shown = _shown(safety, phases)
    _mark(axes, shown)
    style.label_parameters(axes)
    style.colour_bar(image, f"chance that a jitter of {safety['jitter']:g} of the box changes the phase")
    style.panel_letter(axes, "A", left=20)
    _draw_images(figure, shown, images, height - TOP)
    figure.text(
        0.01, (0.06 + 0.135 * len(text)) / height, "\n".join(text), va="top", fontsize=7, linespacing=1.25
    )
    return figure, _table(safety["phases"])


def verdict_line(safety: Mapping[str, Any]) -> str:
    """What the numbers say."""
    return (
        f"A jitter of {safety['jitter']:g} of the box changes the phase of {safety['mean_risk']:.1%} of all images; "
        f"{safety['safe_share']:.0%} of the nodes are safe (chance below {safety['safe_below']:.0%}). Half the nodes "
        f"along each side would change these chances by {safety['coarse_difference_mean']:.3f} in the mean, by "
        f"{safety['coarse_difference_95']:.3f} in one node of twenty."
    )


def _mark(axes: Axes, shown: Sequence[Mapping[str, Any]]) -> None:
    """The samples whose images are shown, with the number of their phase at the most stable."""
    size = {"stable": 9, "medoid": 4.5, "least_stable": 6}
    for kind, words in KINDS.items():
        places = np.array([[phase[kind]["a"], phase[kind]["b"]] for phase in shown])
        look: dict[str, Any] = {
            "color": "#ffb347",
            "markeredgecolor": "black",
            "markeredgewidth": 0.7,
            "linestyle": "none",
        }
        axes.plot(*places.T, marker=MARKS[kind], markersize=size[kind], label=words, zorder=5, **look)
    for phase in shown:
        at = (phase["stable"]["a"], phase["stable"]["b"])
        outline = [withStroke(linewidth=1.8, foreground="white")]
        axes.annotate(
            str(phase["label"]), at, (5, 4), textcoords="offset points", fontweight="bold", path_effects=outline,
            zorder=6,
        )  # fmt: skip
    below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 3.5}
    axes.legend(frameon=False, ncols=3, handletextpad=0.1, columnspacing=1.0, **below)


def _draw_images(figure: Figure, shown: Sequence[Mapping[str, Any]], images: np.ndarray, top: float) -> None:
    """A row a phase: its three images, each with its chance and its distance from the boundary."""
    colours = colours_of([phase["label"] for phase in shown])
    left, (across, up) = LEFT + MAP + 0.4, figure.get_size_inches()
    for column, words in enumerate(KINDS.values()):
        figure.text((left + column * PITCH) / across, (top + 0.06) / up, words, fontsize=8, va="bottom")
    for row, phase in enumerate(shown):
        floor = top - (row + 1) * SIDE - row * 0.08
        figure.text(
            (left - 0.12) / across, (floor + SIDE / 2) / up, str(phase["label"]), ha="right", va="center",
            fontweight="bold",
        )  # fmt: skip
        for column, kind in enumerate(KINDS):
            axes = style.place(figure, left + column * PITCH, floor, SIDE, SIDE)
            style.show_picture(axes, images[row, column])
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(visible=True, color=colours[phase["label"]], linewidth=1.8)
            one = phase[kind]
            far = one["boundary_distance"]
            said = f"{_chance(one['risk'])}\n{'no boundary' if far is None else f'$d$ = {far:.2f}'}"
            place = ((left + column * PITCH + SIDE + 0.06) / across, (floor + SIDE / 2) / up)
            figure.text(*place, said, fontsize=7, va="center", linespacing=1.3)
            if row == column == 0:
                style.panel_letter(axes, "B", left=14)


def _chance(risk: float) -> str:
    """A chance in words of a few characters."""
    return f"{risk:.1%}" if risk >= 5e-4 or risk < 1e-12 else "< 0.1%"


def _table(phases: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each phase and kind of sample."""
    return pd.DataFrame(
        [
            {"phase": phase["label"], "kind": words, **phase[kind]}
            for phase in phases
            for kind, words in KINDS.items()
        ]
    )
