"""The error of the Hessian against the loss of Eq. 13 (Theorem 3.2 of Lobashev et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from hessgeo.estimators.estimate import Estimate
from hessgeo.estimators.names import ESTIMATORS
from hessgeo.evaluation.hessian_convergence import hessian_errors
from hessgeo.evaluation.tables import Case
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style

LEGEND_ROW = 0.145  # height of a row of the legend, inches
COLUMNS = ("series", "step", "loss", "largest", "rms")
ERRORS = {"largest": "largest error of $\\nabla^2 F$", "rms": "rms error of $\\nabla^2 F$"}


def gather(cases: Sequence[Case]) -> dict[str, Any]:
    """Losses and errors of every estimate that has a potential and a metric, on the one system that is shown."""
    (case,) = cases
    truth, rows = case.exact, []
    exact = Estimate(truth.flat("value"), truth.flat("gradient"), truth.flat("metric"))
    for record in case.records:
        estimate = record.estimate
        if estimate.value is not None and estimate.metric is not None:
            found = hessian_errors(estimate, exact, truth.grid.points)
            about = {"series": ESTIMATORS[record.estimator].title, "step": record.samples}
            rows.append({**about, "loss": found.loss, "largest": found.largest, "rms": found.rms})
    return {"fits": pd.DataFrame(rows)}


@style.theme()
def draw(fits: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Relative error of the Hessian, largest (A) and root mean square (B) over the box, against the loss.

    By Theorem 3.2 one goes to zero where the other does. Errors of one shape fall as the root of the loss (grey); finer
    ones, which the Hessian weighs more than the divergences, fall more slowly. Each mark is a fit, a line joins those
    of a series, and the number at a mark is its ``step``.

    Args:
        fits: a row per fit with ``series`` (its name in the legend), ``step`` (what grows along it: splines, samples),
            ``loss``, ``largest``, ``rms`` of ``hessian_errors``.

    Returns:
        The figure, 7 inches wide, and the table by series and step, with ``slope_largest`` and ``slope_rms``.

    Raises:
        ValueError: if a column is missing, or a loss or an error is not positive.
    """
    missing = [name for name in COLUMNS if name not in fits]
    if missing:
        raise ValueError(f"fits lack the columns {missing}; they have {list(fits.columns)}")
    if not (fits[["loss", "largest", "rms"]] > 0).to_numpy().all():
        raise ValueError("a loss or an error is not positive, must be for logarithmic axes")
    order = list(fits["series"].unique())
    by_order = fits.assign(order=fits["series"].map(order.index)).sort_values(
        ["order", "step"], kind="stable"
    )
    fits = by_order.drop(columns="order").reset_index(drop=True)
    below = LEGEND_ROW * (len(order) + 1) + 0.05
    figure, panels = plane.matrix(
        1,
        2,
        width=style.DOUBLE_COLUMN,
        height=2.3,
        left=0.6,
        across=0.65,
        bottom=0.42 + below,
        up=(),
        top=0.25,
    )
    slopes = {}
    for axes, (name, label), letter in zip(panels[0], ERRORS.items(), "AB", strict=True):
        slopes[f"slope_{name}"] = _draw_panel(axes, fits, name, label)
        style.panel_letter(axes, letter)
    for name, by_series in slopes.items():
        fits[name] = fits["series"].map(by_series)
    return figure, fits[[*COLUMNS, *slopes]]


def _draw_panel(axes: Axes, fits: pd.DataFrame, name: str, label: str) -> dict[str, float]:
    """One error against the loss; returns the fitted slope of each series."""
    series = list(fits["series"].unique())
    slopes = {}
    for text, colour, marker in zip(series, plane.colours(len(series)), plane.MARKERS * 3, strict=False):
        own = fits[fits["series"] == text]
        x, y = own["loss"].to_numpy(), own[name].to_numpy()
        slopes[text] = plane.fitted_slope(x, y)[0] if len(own) > 1 else float("nan")
        slope = f"{slopes[text]:.2f}".replace("-", "\u2212")
        axes.plot(
            x, y, color=colour, marker=marker, markersize=3.5, linewidth=0.9, label=f"{text} (slope {slope})"
        )
        for first, (step, here, there) in enumerate(zip(own["step"], x, y, strict=True)):
            if first in (0, len(own) - 1):  # the ends tell the direction; more would run into each other
                axes.annotate(
                    f"{step:,}", (here, there), (4, -3), textcoords="offset points", fontsize=7, color=colour,
                    ha="left", va="top", path_effects=[Stroke(linewidth=1.5, foreground="white"), Normal()],
                )  # fmt: skip
    low, high = fits["loss"].min(), fits["loss"].max()
    base = (fits[name] / (fits["loss"] / high) ** 0.5).min()
    axes.plot([low, high], [0.6 * base * (low / high) ** 0.5, 0.6 * base], color="0.6", linewidth=0.8,
              linestyle=(0, (4, 2)), label="root of the loss", zorder=0)  # fmt: skip
    axes.set(xscale="log", yscale="log", ylabel=f"{label} (relative)")
    axes.set_xlabel(r"loss $\langle (e^{-D_{\hat F}} - e^{-D_F})^2 \rangle$")
    plane.decades(axes, 6)
    axes.margins(0.1)
    axes.legend(
        frameon=False, loc="upper left", bbox_to_anchor=(-0.03, -0.17), borderpad=0.1, handlelength=1.6,
        labelspacing=0.3,
    )  # fmt: skip
    return slopes
