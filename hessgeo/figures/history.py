"""The tree of phases over the sampler's time, when each boundary is decided, and the entropy clock."""

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

from hessgeo.figures import style
from hessgeo.figures.phases import colours_of
from hessgeo.figures.thumbnails import shrink
from hessgeo.store.shards import StoredArray

LEFT, RIGHT, TOP, GAP = 0.62, 0.88, 0.3, 0.34  # inches
LEAF, ROW, CLOCK = 0.46, 0.15, 1.0  # height of a leaf, of a boundary's row, of the clock
SIDE, FEWEST = 0.36, 0.42  # of a thumbnail; a branch shorter than this has none
ROWS = 16  # boundaries that are shown at most: those decided first
LINE, CHARACTERS = 0.125, 112  # of the summary

LIMITS = 1.01, -0.01  # of noise levels
LEVEL = r"noise level $\sigma / \sqrt{\alpha^2 + \sigma^2}$: from pure noise to the image"

Branch = Mapping[str, Any]


def gather(
    history: Mapping[str, Any], history_fields: xr.Dataset, predictions: StoredArray, images: StoredArray
) -> dict[str, Any]:
    """The history with a picture of each branch: its typical prediction before it parts, of a leaf the image."""
    pictures = []
    for branch in history["branches"]:
        row = np.array([branch["medoid"]])
        step = branch["step"]
        pictures.append(images[row][0] if step is None else predictions[row][0, step])
    return {
        "history": history,
        "clock": history_fields[["level", "entropy", "null"]],
        "pictures": np.stack([shrink(picture, 128) for picture in pictures]),
    }


@style.theme()
def draw(
    history: Mapping[str, Any], clock: xr.Dataset, pictures: UInt8[np.ndarray, "m h w c"]
) -> tuple[Figure, pd.DataFrame]:
    """Tree (A), times of decision (B) and entropy clock (C) over one axis of noise levels, with what they say.

    Args:
        history: ``branches``, ``boundaries``, ``clock`` and ``summary``.
        clock: ``level``, ``entropy`` and its ``null`` by step.
        pictures: one a branch, one or three channels.

    Returns:
        The figure, 7 inches wide, and a row a boundary, that decided first on top.

    Raises:
        ValueError: if there is not a picture for each branch.
    """
    branches, rows = history["branches"], history["boundaries"][:ROWS]
    if len(pictures) != len(branches):
        raise ValueError(f"{len(pictures)} pictures do not show the {len(branches)} branches")
    leaves = [branch for branch in branches if not branch["children"]]
    lines = textwrap.wrap(history["summary"], CHARACTERS)
    heights = [len(leaves) * LEAF, max(1, len(rows)) * ROW + 0.1, CLOCK]
    note = LINE * len(lines) + 0.1
    height = TOP + sum(heights) + 2 * GAP + 0.42 + note
    figure = Figure(figsize=(style.DOUBLE_COLUMN, height))
    width, tops = style.DOUBLE_COLUMN - LEFT - RIGHT, []
    top = height - TOP
    for part in heights:
        tops.append(style.place(figure, LEFT, top - part, width, part))
        top -= part + GAP
    colours = colours_of([branch["phases"][0] for branch in leaves])
    places = draw_tree(tops[0], branches, colours)
    name_leaves(tops[0], branches, places, SIDE * 72 + 13)
    _show_pictures(tops[0], branches, places, pictures, colours)
    _draw_boundaries(tops[1], rows, len(history["boundaries"]))
    _draw_clock(tops[2], clock, history["clock"])
    for letter, axes in zip("ABC", tops, strict=True):
        axes.set_xlim(*LIMITS)
        style.panel_letter(axes, letter, left=22)
    tops[2].set_xlabel(LEVEL)
    for axes in tops[:2]:
        axes.tick_params(labelbottom=False)
    figure.text(LEFT / style.DOUBLE_COLUMN, (note - 0.04) / height, "\n".join(lines), fontsize=7, va="top")
    return figure, pd.DataFrame(history["boundaries"])


def heights_of(branches: Sequence[Branch]) -> list[float]:
    """Where each branch lies across the tree: leaves one apart, in an order without crossings, others amid theirs."""
    place: dict[int, float] = {}
    stack, order = [len(branches) - 1], []
    while stack:
        number = stack.pop()
        order.append(number)
        # The largest on top.
        stack += sorted(branches[number]["children"], key=lambda child: branches[child]["share"])
    leaves = [number for number in order if not branches[number]["children"]]
    place |= {number: float(len(leaves) - 1 - rank) for rank, number in enumerate(leaves)}
    for number in reversed(order):
        if children := branches[number]["children"]:
            place[number] = float(np.mean([place[child] for child in children]))
    return [place[number] for number in range(len(branches))]


def draw_tree(axes: Axes, branches: Sequence[Branch], colours: Mapping[int, Any]) -> list[float]:
    """Branches from noise to image, each as long as it lasts, leaves in their colours; gives their heights."""
    heights = heights_of(branches)
    leaves = sum(not branch["children"] for branch in branches)
    axes.set(ylim=(-0.5, leaves - 0.5), yticks=[], xlim=LIMITS)
    axes.spines[["left", "right", "top"]].set_visible(False)
    for branch, y in zip(branches, heights, strict=True):
        leaf = not branch["children"]
        colour = colours[branch["phases"][0]] if leaf else style.INK
        axes.plot([branch["born"], branch["level"]], [y, y], color=colour, linewidth=2.2 if leaf else 1.4)
        if not leaf:
            ends = [heights[child] for child in branch["children"]]
            axes.plot([branch["level"]] * 2, [min(ends), max(ends)], color=style.INK, linewidth=1.4)
    return heights


def name_leaves(axes: Axes, branches: Sequence[Branch], heights: Sequence[float], gap: float) -> None:
    """Number and share of the area of each leaf, so many points to the right of a tree."""
    for branch, y in zip(branches, heights, strict=True):
        if not branch["children"]:
            name = f"{branch['phases'][0]}: {branch['share']:.0%}"
            axes.annotate(name, (0, y), xytext=(gap, 0), textcoords="offset points", va="center", fontsize=7,
                          annotation_clip=False)  # fmt: skip


def _show_pictures(
    axes: Axes,
    branches: Sequence[Branch],
    heights: Sequence[float],
    pictures: UInt8[np.ndarray, "m h w c"],
    colours: Mapping[int, Any],
) -> None:
    """The image that is most typical of each leaf, and of each branch that is long enough, where it parts."""
    box, (across, up) = axes.get_position(), axes.figure.get_size_inches()
    inches = box.width * across / (LIMITS[0] - LIMITS[1])
    leaves = sum(not branch["children"] for branch in branches)
    for branch, y, picture in zip(branches, heights, pictures, strict=True):
        left, colour = box.x1 * across + 0.06, style.INK
        if branch["children"]:
            if (branch["born"] - branch["level"]) * inches <= FEWEST:
                continue
            left = box.x0 * across + (LIMITS[0] - branch["level"]) * inches - SIDE - 0.05
        else:
            colour = colours[branch["phases"][0]]
        middle = (box.y0 + box.height * (y + 0.5) / leaves) * up
        frame = style.place(axes.figure, left, middle - SIDE / 2, SIDE, SIDE, zorder=3)
        style.show_picture(frame, picture)
        frame.set(xticks=[], yticks=[])
        for spine in frame.spines.values():
            spine.set(visible=True, color=colour, linewidth=1.6)


def _draw_boundaries(axes: Axes, rows: Sequence[Mapping[str, Any]], count: int) -> None:
    """A row a boundary: when the density gets a valley, and when the maps show it."""
    axes.spines[["right", "top"]].set_visible(False)
    ranks = np.arange(len(rows))[::-1].astype(float)
    for rank, row in zip(ranks, rows, strict=True):
        axes.plot([row["map_high"], row["map_low"]], [rank - 0.2] * 2, color="0.65", linewidth=1)
        axes.plot([row["high"], row["low"]], [rank + 0.15] * 2, color="#0f7fa8", linewidth=1.6)
    values = {key: [row[key] for row in rows] for key in ("level", "map_level")}
    axes.plot(
        values["level"],
        ranks + 0.15,
        "o",
        color="#0f7fa8",
        markersize=4,
        label="density of states gets a valley",
    )
    axes.plot(values["map_level"], ranks - 0.2, "D", color="white", markeredgecolor="0.4", markersize=3.4,
              label="maps of predictions part")  # fmt: skip
    axes.set(ylim=(-0.7, max(len(rows), 1) - 0.3), yticks=ranks)
    axes.set_yticklabels([f"{row['phase']}|{row['other']}" for row in rows])
    axes.set_ylabel("boundary" if count <= ROWS else f"boundary ({ROWS} of {count})", labelpad=6)
    _legend_above(axes)


def _draw_clock(axes: Axes, clock: xr.Dataset, about: Mapping[str, Any]) -> None:
    """Entropy of the final phase given the state, its null, and when half of it is gone."""
    axes.spines[["right", "top"]].set_visible(False)
    level, prior = clock["level"].to_numpy(), about["prior"]
    axes.axvspan(about["high"], about["low"], color="#0f7fa8", alpha=0.2, linewidth=0)
    axes.axhline(prior / 2, color="0.7", linewidth=0.6)
    axes.plot(level, clock["entropy"].to_numpy(), "o-", color="#0f7fa8", markersize=2.4, label="final phases")
    axes.plot(level, clock["null"].to_numpy(), "--", color="0.4", linewidth=1, label="labels shuffled")
    axes.set(ylim=(0, 1.12 * max(prior, 1e-3)))
    axes.set_ylabel("entropy (nats)", labelpad=6)
    _legend_above(axes)


def _legend_above(axes: Axes) -> None:
    """One line above a panel, at its right: the curves may be anywhere in it."""
    place = {"loc": "lower right", "bbox_to_anchor": (1, 0.97), "ncols": 2}
    axes.legend(frameon=False, borderpad=0, handletextpad=0.3, **place)
