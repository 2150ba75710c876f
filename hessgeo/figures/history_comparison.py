"""The histories of studies of the same latents, one below the other: which decides what, and when."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.history import CHARACTERS, LEVEL, LINE, draw_tree, name_leaves
from hessgeo.figures.phases import colours_of
from hessgeo.phases.history import Alignment, Decision, align

LEFT, RIGHT, TOP, GAP, LEAF = 0.62, 0.6, 0.3, 0.4, 0.21  # inches
ALONE = "0.72"  # a leaf that the first study has not


@style.theme()
def draw(
    history: Sequence[Mapping[str, Any]], history_fields: Sequence[xr.Dataset], *, labels: Sequence[str]
) -> tuple[Figure, pd.DataFrame]:
    """A tree a study, over one axis of noise levels; leaves of others have the colour of the first's they belong to.

    Args:
        history: ``boundaries`` and ``branches`` of each study.
        history_fields: ``final`` phases of each, on the same nodes.
        labels: names of the studies.

    Returns:
        The figure, 7 inches wide, and a row for each boundary that the first study shares with another: ``study``,
        ``phase``, ``other``, ``level`` of the other study, ``first_level``.
    """
    finals = _final_phases(history_fields)
    alignments = _alignments(history, finals)
    lines = [
        line for told in map(_told, labels[1:], alignments[1:]) for line in textwrap.wrap(told, CHARACTERS)
    ]
    heights = [max(2, int(final.max())) * LEAF for final in finals]
    note = LINE * len(lines) + 0.1
    height = TOP + sum(heights) + GAP * (len(heights) - 1) + 0.42 + note
    figure = Figure(figsize=(style.DOUBLE_COLUMN, height))
    colours, top = colours_of(range(1, int(finals[0].max()) + 1)), height - TOP
    axes: Axes
    for part, one, label, aligned in zip(heights, history, labels, alignments, strict=True):
        axes = style.place(figure, LEFT, top - part, style.DOUBLE_COLUMN - LEFT - RIGHT, part)
        mine = {leaf: colours[first] for first, leaf in aligned.leaves.items()}
        leaves = [branch["phases"][0] for branch in one["branches"] if not branch["children"]]
        places = draw_tree(axes, one["branches"], {leaf: mine.get(leaf, ALONE) for leaf in leaves})
        name_leaves(axes, one["branches"], places, 4)
        axes.set_title(label, loc="left", fontsize=8)
        axes.tick_params(labelbottom=False)
        top -= part + GAP
    axes.tick_params(labelbottom=True)
    axes.set_xlabel(LEVEL)
    figure.text(LEFT / style.DOUBLE_COLUMN, (note - 0.04) / height, "\n".join(lines), fontsize=7, va="top")
    return figure, _table(labels[1:], alignments[1:])


def verdict_lines(
    history: Sequence[Mapping[str, Any]], history_fields: Sequence[xr.Dataset], labels: Sequence[str]
) -> list[str]:
    """What each study but the first does otherwise than that, a sentence each; of the arguments of ``draw``."""
    return list(map(_told, labels[1:], _alignments(history, _final_phases(history_fields))[1:]))


def _final_phases(history_fields: Sequence[xr.Dataset]) -> list[Int[np.ndarray, "a b"]]:
    return [fields["final"].to_numpy().astype(int) for fields in history_fields]


def _alignments(
    history: Sequence[Mapping[str, Any]], finals: Sequence[Int[np.ndarray, "a b"]]
) -> list[Alignment]:
    """Each history set beside the first."""
    made = [_decisions(one["boundaries"]) for one in history]
    return [align(finals[0], final, (made[0], mine)) for final, mine in zip(finals, made, strict=True)]


def _decisions(boundaries: Sequence[Mapping[str, Any]]) -> list[Decision]:
    return [
        Decision((row["phase"], row["other"]), row["level"], row["low"], row["high"], row["places"])
        for row in boundaries
    ]


def _told(label: str, aligned: Alignment) -> str:
    """What one study does otherwise than the first, from its numbers."""
    text = f"{label}: {len(aligned.leaves)} phases are those of the first study, {aligned.shared:.0%} of the cells"
    if not aligned.pairs:
        return f"{text}; no boundary is shared."
    shifts = np.array([other - first for first, other in aligned.pairs.values()])
    earlier = int((shifts > 0).sum())
    text += f"; {earlier} of {len(shifts)} shared boundaries are decided earlier"
    text += f", median shift of the noise level {np.median(shifts):+.2f}"
    return (
        f"{text}." if np.isnan(aligned.concordance) else f"{text}; Kendall's tau {aligned.concordance:.2f}."
    )


def _table(labels: Sequence[str], alignments: Sequence[Alignment]) -> pd.DataFrame:
    """A row a shared boundary."""
    rows = [
        {"study": label, "phase": pair[0], "other": pair[1], "level": other, "first_level": first}
        for label, aligned in zip(labels, alignments, strict=True)
        for pair, (first, other) in aligned.pairs.items()
    ]
    return pd.DataFrame(rows, columns=["study", "phase", "other", "level", "first_level"])
