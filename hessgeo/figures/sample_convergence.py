"""How errors fall with the number of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hessgeo.estimators.names import ESTIMATORS
from hessgeo.evaluation.metric_scores import metric_scores
from hessgeo.evaluation.tables import Case
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style

COLUMNS = ("method", "samples", "error")
LEGEND_ROW = 0.155  # height of a row of the legend, inches


def gather(cases: Sequence[Case]) -> dict[str, Any]:
    """The median error of every estimate's metric, a panel a system."""
    rows = []
    for case in cases:
        metric, grid = case.exact.flat("metric"), case.exact.grid
        for record in case.records:
            if record.estimate.metric is not None:
                error = metric_scores(record.estimate, metric, grid).median
                about = {"system": case.title, "method": ESTIMATORS[record.estimator].title}
                rows.append({**about, "samples": record.samples, "error": error})
    return {"runs": pd.DataFrame(rows), "panel": "system"}


@style.theme()
def draw(
    runs: pd.DataFrame, *, label: str = "median relative error of $g$", panel: str | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Error against number of samples on logarithmic axes, a line per method and a panel per system.

    Marks are geometric means over seeds, bars their standard deviation about it (as a factor). The slope beside a
    method's name is fitted to all of its runs by least squares in logarithms, with its standard error. The grey line
    falls as ``n^(-1/2)``, the rate of an estimator without bias.

    Args:
        runs: a row per run with ``method``, ``samples``, ``error`` and, if ``panel`` names one, a column of systems.
        label: of the error.
        panel: column whose values have a panel each.

    Returns:
        The figure, and a row per panel, method and number of samples: ``error`` (geometric mean), ``factor`` (of the
        standard deviation), ``runs``, ``slope``, ``slope_error``.

    Raises:
        ValueError: if a column is missing, or an error or a number of samples is not positive.
    """
    needed = [*COLUMNS, *([panel] if panel else [])]
    missing = [name for name in needed if name not in runs]
    if missing:
        raise ValueError(f"runs lack the columns {missing}; they have {list(runs.columns)}")
    if not ((runs["error"] > 0) & (runs["samples"] > 0)).all():
        raise ValueError("an error or a number of samples is not positive, must be for logarithmic axes")
    systems = list(runs[panel].unique()) if panel else [""]
    methods = list(runs["method"].unique())
    width = style.SINGLE_COLUMN if len(systems) == 1 else style.DOUBLE_COLUMN
    columns = min(len(systems), 3)
    below = LEGEND_ROW * (len(methods) + 2) + 0.05
    figure, panels = plane.matrix(
        -(-len(systems) // columns),
        columns,
        width=width,
        height=2.0,
        left=0.55,
        across=0.45,
        bottom=0.42 + below,
        up=[0.68 + below] * (-(-len(systems) // columns) - 1),
        top=0.25,
    )
    tables = []
    flat = [axes for row in panels for axes in row]
    for k, system in enumerate(systems):
        part = runs[runs[panel] == system] if panel else runs
        table = _draw_panel(flat[k], part, methods, label if k % columns == 0 else "")
        if panel:
            flat[k].set_title(str(system))
            style.panel_letter(flat[k], "ABCDEFGHI"[k])
            table.insert(0, panel, system)
        tables.append(table)
    for axes in flat[len(systems) :]:
        axes.remove()
    return figure, pd.concat(tables, ignore_index=True)


def _draw_panel(axes: Axes, runs: pd.DataFrame, methods: list[str], label: str) -> pd.DataFrame:
    tables = []
    shades = plane.colours(len(methods))
    for method, colour, marker in zip(methods, shades, plane.MARKERS * 3, strict=False):
        own = runs[runs["method"] == method]
        if own.empty:
            continue
        table = _summary(own).assign(method=method)
        slope, error = table["slope"].iloc[0], table["slope_error"].iloc[0]
        # A bar of one standard deviation of the logarithm, on both sides of its mean.
        sides = [table["error"] * (1 - 1 / table["factor"]), table["error"] * (table["factor"] - 1)]
        text = str(method)
        if np.isfinite(slope):
            spread = f" ± {error:.2f}" if np.isfinite(error) else ""
            text += f" ({slope:.2f}{spread})".replace("-", "\u2212")
        axes.errorbar(
            table["samples"], table["error"], yerr=sides, color=colour, marker=marker, markersize=3.5, linewidth=1,
            elinewidth=0.7, capsize=1.5, label=text,
        )  # fmt: skip
        tables.append(table)
    axes.set(xscale="log", yscale="log", xlabel="number of samples $n$", ylabel=label)
    result = pd.concat(tables, ignore_index=True)
    _draw_guide(axes, result)
    plane.decades(axes, 5)
    axes.legend(
        frameon=False, loc="upper left", bbox_to_anchor=(-0.1, -0.2), borderpad=0, handlelength=1.6, handletextpad=0.5,
        title="method (fitted slope)", alignment="left",
    )  # fmt: skip
    return result[["method", "samples", "error", "factor", "runs", "slope", "slope_error"]]


def _summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Geometric mean and deviation at each number of samples, and the slope over all."""
    logs = np.log(runs["error"]).groupby(runs["samples"])
    table = pd.DataFrame(
        {
            "error": np.exp(logs.mean()),
            "factor": np.exp(logs.std(ddof=1).fillna(0.0)),
            "runs": logs.size(),
        }
    ).reset_index()
    slope = error = float("nan")
    if len(table) > 1:
        slope, error = plane.fitted_slope(
            runs["samples"].to_numpy(dtype=float), runs["error"].to_numpy(dtype=float)
        )
    return table.assign(slope=slope, slope_error=error)


def _draw_guide(axes: Axes, table: pd.DataFrame) -> None:
    """A line of slope -1/2 below all marks."""
    n = np.array([table["samples"].min(), table["samples"].max()], dtype=float)
    if n[0] == n[1]:
        return
    reach = (table["error"] / table["factor"] * np.sqrt(table["samples"] / n[0])).min()
    axes.plot(n, 0.75 * reach * np.sqrt(n[0] / n), color="0.6", linewidth=0.8, linestyle=(0, (4, 2)), zorder=0,
              label=r"$n^{-1/2}$")  # fmt: skip
