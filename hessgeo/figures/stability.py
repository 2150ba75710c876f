"""Which phases are real: how often boundaries are found again, how far maps agree, and what becomes of boundaries."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import NullLocator

from hessgeo.figures import style
from hessgeo.figures.phases import colours_of, draw_map
from hessgeo.phases.recurrence import REAL
from hessgeo.phases.scaling import CROSSOVER, TRANSITION, UNDECIDED

FATES = {TRANSITION: "#0173b2", CROSSOVER: "#d55e00", UNDECIDED: "0.55"}
NAMES = {"curie_weiss": "Curie\u2013Weiss", "ising": "Ising, torus"}
MODELS = {"curie_weiss": "Curie\u2013Weiss model", "ising": "Ising model on a torus"}
PALE = 0.6  # share of white in the colours of phases, so that boundaries stand out
LINE = 0.135  # height of a line of text, inches


@style.theme()
def draw(
    fields: xr.Dataset, stability: Mapping[str, Any], agreements: pd.DataFrame
) -> tuple[Figure, pd.DataFrame]:
    """Boundaries coloured by how often replicates have them (A), agreement of maps (B), growth with ``N`` (C).

    The last panel shows the test of growth where the answer is exact: the line h = 0 of two magnets.

    Args:
        fields: integer ``label`` on dims ``(a, b)``.
        stability: see ``pipeline.stability.study_stability``: ``phases``, ``boundaries``, ``edges``, ``counts``,
            ``extractors``, ``exact``, ``classifier`` if there are labels.
        agreements: a row for every two maps, ``first``, ``second``, ``value``, ``low``, ``high``, ``verdict``.

    Returns:
        The figure, 7 inches wide, with the verdict below it; and a row for each phase, boundary and pair of maps.
    """
    a, b = style.axes_of(fields)
    ratio = min(style.height_ratio(a, b), 1.4)
    text = [line for part in verdict_lines(stability) for line in textwrap.wrap(part, 132)]
    grown = [line for line in stability["boundaries"] if line["strengths"]]
    below = LINE * len(text) + 0.12
    floor = below + 2.85
    side = 2.35
    figure = Figure(figsize=(style.DOUBLE_COLUMN, floor + max(side * ratio, 2.6) + 0.55))
    axes = style.place(figure, 0.48, floor, side, side * ratio)
    _draw_map(axes, fields, stability, a, b)
    style.panel_letter(axes, "A", left=20)
    names = list(stability["counts"])
    matrix = style.place(figure, 3.75, floor, 3.2, max(side * ratio, 2.6))
    _draw_matrix(matrix, names, stability["counts"], agreements)
    style.panel_letter(matrix, "B", left=52)
    if grown:
        fates = style.place(figure, 0.48, below + 0.4, 2.35, 1.45)
        _draw_fates(fates, stability["resolutions"], grown)
        style.panel_letter(fates, "C")
    exact = style.place(figure, 3.75, below + 0.4, 2.1, 1.45)
    _draw_exact(exact, stability["exact"])
    style.panel_letter(exact, "D" if grown else "C")
    up = figure.get_figheight()
    figure.text(0.01, (LINE * len(text) + 0.06) / up, "\n".join(text), va="top", fontsize=7, linespacing=1.25)
    return figure, _table(stability, agreements)


def verdict_lines(stability: Mapping[str, Any]) -> list[str]:
    """What the numbers say, a sentence or two for each question."""
    real, phases, lines = stability["real"], stability["phases"], stability["boundaries"]
    doubtful = ", ".join("{}|{}".format(*pair) for pair in real["doubtful"])
    said = [
        f"Real: {real['phases']} of {len(phases)} phases and {real['boundaries']} of {len(lines)} boundaries, found in "
        f"at least {stability['confidence']:.0%} of {stability['replicates']} replicates and more often than by chance"
        + (f"; not told from noise: boundary {doubtful}." if doubtful else ".")
    ]
    fates = pd.Series([line["fate"] for line in lines if line["fate"]], dtype=object).value_counts()
    if len(fates):
        words = ", ".join(f"{count} {word}" for word, count in fates.items())
        said.append(f"Fate of boundaries with N: {words}.")
    test = stability["extractors"]
    if test["pairs"]:
        said.append(
            f"Boundaries stable across extractors? {test['verdict'][0].upper()}{test['verdict'][1:]}. Extractors agree "
            f"at {test['least']:.2f} to {test['greatest']:.2f} adjusted Rand, replicates of one at "
            f"{test['replicates']:.3f} or more, maps moved at random at {test['chance']:.2f} at most; of the edges of "
            f"one map {test['edges_least']:.0%} or more lie within a grid step of another's (chance "
            f"{test['edges_chance']:.0%})."
        )
    said += [
        f"The same test on the line h = 0 of the {MODELS[one['system']]}, exact: a crossover up to "
        f"{one['crossover_up_to']:.2g} of the critical coupling, a transition from {one['transition_from']:.2g} on, "
        f"{one['wrong']} places called wrongly."
        for one in stability["exact"]
    ]
    if "classifier" in stability:
        known = stability["classifier"]
        said.append(
            f"Phases agree with the {known['classes']} classes of the classifier at {known['adjusted_rand']:.3f} "
            f"adjusted Rand (replicates {known['replicates_low']:.3f} to {known['replicates_high']:.3f}); "
            f"the embedding itself, told the classes, at {known['ceiling']:.3f}."
        )
    return said


def _draw_map(
    axes: Axes, fields: xr.Dataset, stability: Mapping[str, Any], a: np.ndarray, b: np.ndarray
) -> None:
    """Pale phases with their numbers, and every edge by its share of replicates."""
    label = style.field(fields, "label").astype(int)
    own = colours_of([phase["label"] for phase in stability["phases"]])
    colours = {name: (_pale(red), _pale(green), _pale(blue)) for name, (red, green, blue) in own.items()}
    draw_map(axes, label, a, b, colours)
    edges = np.array(stability["edges"], dtype=float).reshape(-1, 5)
    lines = LineCollection(
        list(edges[:, :4].reshape(-1, 2, 2)),
        array=edges[:, 4],
        cmap=style.colour_map("plasma_r"),
        clim=(0, 1),
        linewidths=1.6,
        capstyle="projecting",
        path_effects=[Stroke(linewidth=2.4, foreground="white"), Normal()],
        zorder=3,
    )
    axes.add_collection(lines, autolim=False)
    bar = axes.inset_axes((0, 1.03, 1, 0.035))
    axes.figure.colorbar(lines, cax=bar, orientation="horizontal")
    bar.xaxis.set_ticks_position("top")
    bar.xaxis.set_label_position("top")
    bar.set_xlabel("share of replicates with a boundary here", labelpad=3)


def _pale(channel: float) -> float:
    """A channel of a colour, most of it white."""
    return PALE + (1 - PALE) * channel


def _draw_matrix(axes: Axes, names: list[str], counts: Mapping[str, int], agreements: pd.DataFrame) -> None:
    """Adjusted Rand index of every two maps below the diagonal, the ends of its interval above, phases on it."""
    place = {name: k for k, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    centred: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
    for row in agreements.itertuples():
        i, j = place[row.second], place[row.first]
        values[i, j] = row.value
        axes.text(j, i, f"{row.value:z.2f}", color="white" if row.value < 0.6 else "black", **centred)
        if row.high > row.low:
            axes.text(
                i, j, f"{_short(row.low)}\n{_short(row.high)}", color="0.35", linespacing=0.95, **centred
            )
    for name, k in place.items():
        axes.text(k, k, str(counts[name]), fontweight="bold", **centred)
    image = axes.imshow(values, vmin=0, vmax=1, cmap=style.colour_map("viridis").with_extremes(bad="white"))
    axes.set_aspect("auto")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set(xlabel="map of phases", ylabel="map of phases")
    axes.set_title("adjusted Rand (below), interval (above), number of phases", fontsize=7)
    image.set_rasterized(True)


def _draw_fates(axes: Axes, resolutions: Sequence[float], lines: Sequence[Mapping[str, Any]]) -> None:
    """Strength of each boundary against ``N``, in the colour of its fate; not real ones are dashed."""
    ends = []
    for line in lines:
        dash = "-" if line["verdict"] == REAL else (0, (3, 2))
        colour = FATES.get(line["fate"], FATES["undecided"])
        axes.plot(resolutions, line["strengths"], "o", linestyle=dash, color=colour, markersize=3)
        ends.append((line["strengths"][-1], "{}|{}".format(*line["phases"]), colour))
    axes.set_xscale("log")
    axes.set_xticks(resolutions, [style.number(value) for value in resolutions])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="resolution $N$", ylabel="strength (nats)")
    axes.margins(x=0.04, y=0.12)
    low, high = axes.get_ylim()
    least = (high - low) * 0.09  # between two names, one above the other
    height = low - least
    for strength, name, colour in sorted(ends):
        height = max(strength, height + least)
        axes.annotate(
            name, (1.01, height), xycoords=("axes fraction", "data"), va="center", fontsize=7, color=colour,
            annotation_clip=False,
        )  # fmt: skip


def _draw_exact(axes: Axes, systems: Sequence[Mapping[str, Any]]) -> None:
    """Growth of the line h = 0 of exact systems between the two largest sizes, in the colour of the verdict."""
    for system, marker in zip(systems, "os", strict=False):
        colours = [FATES[word] for word in system["verdicts"]]
        axes.plot(system["couplings"], system["rates"], color="0.8", linewidth=0.8, zorder=1)
        axes.scatter(system["couplings"], system["rates"], c=colours, marker=marker, s=11, zorder=2)
    axes.axvline(1, color="0.5", linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    axes.set(xlabel="coupling $K / K_c$, on $h = 0$", ylabel="growth with spins")
    handles = [
        Line2D([], [], color="0.5", marker=marker, markersize=3, linestyle="", label=NAMES[system["system"]])
        for system, marker in zip(systems, "os", strict=False)
    ]
    handles += [
        Line2D([], [], color=colour, marker="o", markersize=3, label=word) for word, colour in FATES.items()
    ]
    axes.legend(handles=handles, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.05), handlelength=1)


def _short(value: float) -> str:
    """Two digits, the zero before the point left out."""
    return f"{value:.2f}".replace("0.", ".", 1) if 0 <= value < 1 else f"{value:.2f}"


def _table(stability: Mapping[str, Any], agreements: pd.DataFrame) -> pd.DataFrame:
    """A row for each phase, boundary and pair of maps."""
    columns = ("share", "low", "high", "chance", "verdict")
    rows: list[dict[str, Any]] = [
        {"kind": "phase", "first": str(phase["label"]), **{name: phase[name] for name in columns}}
        for phase in stability["phases"]
    ]
    for line in stability["boundaries"]:
        one, other = map(str, line["phases"])
        named = {name: line[name] for name in columns}
        rows.append({"kind": "boundary", "first": one, "second": other, **named, "fate": line["fate"]})
    pairs = agreements.rename(columns={"value": "share"})[["first", "second", *columns]]
    return pd.concat([pd.DataFrame(rows), pairs.assign(kind="agreement")], ignore_index=True)
