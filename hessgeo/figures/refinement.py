"""The refinement of a study: where new images were made, round by round, and how few they are."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, to_rgb
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.phases import colours_of

MAP, LEFT, TOP, BOTTOM, GAP, LEAST = 3.6, 0.5, 0.36, 0.62, 0.85, 1.7  # inches
CHARACTERS, LINE = 128, 0.135
PALE = 0.55  # share of white in the colour of a phase: dots are to be seen on it


@style.theme()
def draw(refined: xr.Dataset, refined_numbers: Mapping[str, Any]) -> tuple[Figure, pd.DataFrame]:
    """The refined map with the images of each round (A), and how many there are after it (B).

    Args:
        refined: ``label`` and ``round`` on dims ``(a, b)``, -1 where there is no image.
        refined_numbers: of ``pipeline.refine.describe_refinement``.

    Returns:
        The figure, 7 inches wide, and a row a round: ``round``, ``new_images``, ``images``.
    """
    a, b = style.axes_of(refined)
    label, number = (style.field(refined, name).astype(int) for name in ("label", "round"))
    tall = MAP * min(style.height_ratio(a, b), 2.0)
    text = textwrap.wrap(verdict_line(refined_numbers), CHARACTERS)
    floor = BOTTOM + LINE * len(text)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, TOP + max(tall, LEAST) + floor))
    high = floor + max(tall, LEAST)
    axes = style.place(figure, LEFT, high - tall, MAP, tall)
    _draw_labels(axes, label, a, b)
    shades = _draw_samples(axes, number, a, b)
    style.label_parameters(axes)
    style.panel_letter(axes, "A", left=20)
    left = LEFT + MAP + GAP
    beside = max(min(tall, 2.6), LEAST)
    counts = style.place(figure, left, high - beside, style.DOUBLE_COLUMN - left - 0.15, beside)
    _draw_counts(counts, refined_numbers, shades)
    style.panel_letter(counts, "B", left=28)
    figure.text(
        0.01, (0.05 + LINE * len(text)) / figure.get_figheight(), "\n".join(text), va="top", fontsize=7,
        linespacing=1.25,
    )  # fmt: skip
    images = np.array(refined_numbers["rounds"])
    rows = {"round": np.arange(len(images)), "new_images": np.diff(images, prepend=0), "images": images}
    return figure, pd.DataFrame(rows)


def verdict_line(numbers: Mapping[str, Any]) -> str:
    """What the numbers say."""
    reached = "is reached" if numbers["converged"] else "is NOT reached"
    what = "boundaries are placed to" if numbers["by"] == "boundary" else "change times distance is at most"
    images = numbers["study_images"] + numbers["new_images"]
    left = f"; {numbers['left']:,} images of a further round are left" if numbers["left"] else ""
    nodes = " x ".join(map(str, numbers["finest_nodes"]))
    rounds = len(numbers["rounds"]) - 1
    return (
        f"The error asked for, {numbers['error']:.3g} of the box, {reached}: {what} {numbers['reached']:.3g} with "
        f"{numbers['new_images']:,} new images in {rounds} {'round' if rounds == 1 else 'rounds'}{left}. All "
        f"{images:,} images are {numbers['share']:.0%} of those of a uniform grid as fine ({nodes})."
    )


def _draw_labels(axes: Axes, label: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """A pale colour a phase."""
    labels = np.unique(label)
    colours = colours_of(labels.tolist())
    pale = [tuple(PALE + (1 - PALE) * c for c in to_rgb(colours[k])) for k in labels]
    norm = BoundaryNorm(np.append(labels, labels[-1] + 1) - 0.5, len(labels))
    style.show_field(axes, label, a, b, cmap=ListedColormap(pale), norm=norm)


def _draw_samples(axes: Axes, number: np.ndarray, a: np.ndarray, b: np.ndarray) -> list[Any]:
    """A dot an image, darker in later rounds; those of the study are the smallest."""
    rounds = int(number.max()) + 1
    shades = ["0.45", *style.colour_map("mako_r")(np.linspace(0.6, 0.95, max(rounds - 1, 1)))]
    for k in range(rounds):
        i, j = np.nonzero(number == k)
        size = 0.5 if k == 0 else 0.9
        axes.plot(a[i], b[j], ".", markersize=size * 2, color=shades[k], markeredgewidth=0, rasterized=True)
    return shades


def _draw_counts(axes: Axes, numbers: Mapping[str, Any], shades: list[Any]) -> None:
    """Images after each round, beside those of the uniform grid."""
    images = np.array(numbers["rounds"])
    axes.bar(range(len(images)), images, color=shades[: len(images)], width=0.7)
    axes.axhline(numbers["uniform_images"], color="0.4", linewidth=0.9, linestyle=(0, (4, 2)))
    axes.annotate(
        f"uniform grid: {numbers['uniform_images']:,}", (0.03, numbers["uniform_images"]), (0, -3),
        ("axes fraction", "data"), "offset points", va="top",
    )  # fmt: skip
    axes.set(
        xlabel="round (0: the study)", ylabel="images so far", ylim=(0, 1.08 * numbers["uniform_images"])
    )
    axes.set_xticks(range(len(images)))
