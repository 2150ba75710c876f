"""Calibration of posteriors: histograms of ranks, and coverage against credibility."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binom

from hessgeo.figures import style
from hessgeo.posteriors.calibration import coverage_band, expected_coverage

BINS = 16
MASS = 0.95  # of the bands: all bins, or the whole line, lie inside them for so many of calibrated posteriors
FINE = np.linspace(0, 1, 101)
COLOURS = {"measured": "#0173b2", "fitted": "#d55e00"}
LABELS = {"a": "rank of $a$", "b": "rank of $b$", "projection": "rank along a direction"}
TRUTHS = {"held-out": "held-out samples", "source": "the source itself", "drawn": "draws from measured"}


@style.theme()
def draw(dataset: xr.Dataset) -> tuple[Figure, pd.DataFrame]:
    """Ranks of the truth along each parameter and a random direction, and expected coverage (TARP).

    Bands hold all of a histogram, or of a line, in 95 % of calibrated posteriors; of the two kinds that of fewer
    posteriors is shown.

    Args:
        dataset: ``measured (measured_source, test)`` and ``fitted (fitted_source, test)``, ranks between 0 and 1 along
            each test, the last of which is the distance to a random point; each with ``truth``, ``verdict`` and
            ``p_value`` as attributes.

    Returns:
        The figure, 7 inches wide, and a row per posterior, panel and bin or level: ``posterior``, ``panel``, ``at``,
        ``value`` (probability relative to uniform, or coverage), ``low`` and ``high`` of its band, ``verdict``,
        ``p_value``.
    """
    names = [str(name) for name in dataset["test"].to_numpy()]
    figure, panels = _panels(len(names))
    count = min(dataset.sizes[f"{kind}_source"] for kind in COLOURS)
    tables = []
    for kind, colour in COLOURS.items():
        found, ranks = dataset[kind], dataset[kind].to_numpy()
        about = {"posterior": kind, "verdict": found.attrs["verdict"], "p_value": found.attrs["p_value"]}
        for axes, name, column in zip(panels[:-1], names[:-1], ranks.T[:-1], strict=True):
            tables.append(_draw_histogram(axes, column, colour).assign(panel=name, **about))
        label = f"{kind}: {TRUTHS[found.attrs['truth']]}\n{found.attrs['verdict']}, p: {_probability(found)}"
        tables.append(
            _draw_coverage(panels[-1], ranks[:, -1], colour, label).assign(panel="coverage", **about)
        )
    for axes, name in zip(panels[:-1], names[:-1], strict=True):
        low, high = _bin_band(count)
        axes.fill_between((0, 1), low, high, color="0.88", linewidth=0, zorder=0)
        axes.set(xlabel=LABELS[name], xlim=(0, 1), ylim=(0, None))
    panels[0].set_ylabel("probability, uniform = 1")
    _finish_coverage(panels[-1], count)
    for k, axes in enumerate(panels):
        style.panel_letter(axes, "ABCD"[k])
    figure.legend(*panels[-1].get_legend_handles_labels(), loc="lower center", ncols=2, frameon=False)
    columns = ["posterior", "panel", "at", "value", "low", "high", "verdict", "p_value"]
    return figure, pd.concat(tables, ignore_index=True)[columns]


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """Panels side by side, the last one with room for its own label, above a legend of two lines."""
    left, gap, room, bottom, top = 0.45, 0.36, 0.25, 0.82, 0.22
    side = min((style.DOUBLE_COLUMN - left - room - 0.15 - (count - 1) * gap) / count, 1.9)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, bottom + side + top))
    lefts = [left + k * (side + gap) + room * (k == count - 1) for k in range(count)]
    return figure, [style.place(figure, x, bottom, side, side) for x in lefts]


def _probability(found: xr.DataArray) -> str:
    p = float(found.attrs["p_value"])
    return f"{p:.2g}" if p >= 1e-4 else "0.0001 at most"


def _draw_histogram(axes: Axes, ranks: Float[np.ndarray, "n"], colour: str) -> pd.DataFrame:
    """Share of the ranks in each bin, in units of a uniform one's."""
    share, edges = np.histogram(ranks, bins=BINS, range=(0, 1))
    share = share * BINS / len(ranks)
    axes.stairs(share, edges, baseline=None, color=colour, linewidth=1.2)
    low, high = _bin_band(len(ranks))
    return pd.DataFrame({"at": (edges[1:] + edges[:-1]) / 2, "value": share, "low": low, "high": high})


def _bin_band(count: int) -> tuple[float, float]:
    """Between which all bins of uniform ranks lie with probability ``MASS`` at least (Bonferroni)."""
    tail = (1 - MASS) / BINS / 2
    low, high = binom.ppf([tail, 1 - tail], count, 1 / BINS) * BINS / count
    return float(low), float(high)


def _draw_coverage(axes: Axes, credibility: Float[np.ndarray, "n"], colour: str, label: str) -> pd.DataFrame:
    covered, half = expected_coverage(credibility, FINE), coverage_band(len(credibility), MASS)
    axes.plot(FINE, covered, color=colour, label=label)
    band = {"low": (FINE - half).clip(min=0), "high": (FINE + half).clip(max=1)}
    return pd.DataFrame({"at": FINE, "value": covered, **band})


def _finish_coverage(axes: Axes, count: int) -> None:
    half = coverage_band(count, MASS)
    low, high = (FINE - half).clip(min=0), (FINE + half).clip(max=1)
    axes.fill_between(FINE, low, high, color="0.88", linewidth=0, zorder=0)
    axes.set(xlabel="credibility", ylabel="expected coverage", xlim=(0, 1), ylim=(0, 1))
