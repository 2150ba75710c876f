"""Fisher metrics of several estimators beside the exact one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from hessgeo.estimators.names import ESTIMATORS
from hessgeo.evaluation.metric_scores import interior
from hessgeo.evaluation.tables import Case
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style
from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import positive_definite, relative_difference

COLUMNS = 4
Metrics = Float[np.ndarray, "node 2 2"]
VOLUME = r"$(\det g)^{1/2}$"


def gather(cases: Sequence[Case]) -> dict[str, Any]:
    """The metrics of every estimator that has one, on the one system that is shown."""
    (case,) = cases
    metrics = {
        ESTIMATORS[record.estimator].title: record.estimate.metric
        for record in case.records
        if record.estimate.metric is not None
    }
    about = {"grid": case.exact.grid, "names": case.names}
    return {"metrics": metrics, "exact": case.exact.flat("metric"), **about}


@style.theme()
def draw(
    metrics: Mapping[str, Metrics],
    exact: Metrics,
    grid: Grid,
    *,
    names: Sequence[str],
    quantity: Literal["error", "volume"] = "error",
    margin: int = 1,
) -> tuple[Figure, pd.DataFrame]:
    """The exact volume ``sqrt(det g)`` and, for each estimator, the relative error of its metric or its own volume.

    All errors share one logarithmic scale, and all volumes that of the exact one. Over an error stands its median
    over the interior nodes. Cells where an estimate is not positive definite are hatched.

    Args:
        metrics: metric of each estimator at the nodes, by its title.
        exact: the truth.
        grid: the nodes.
        names: of the parameters.
        quantity: ``error`` is ``|g - g*| / |g*|`` in Frobenius norms.
        margin: rings of nodes that are no interior nodes.

    Returns:
        The figure, 7 inches wide, and a row per estimator and node: ``method``, the parameters, ``volume`` (NaN where
        the metric is not positive definite), ``relative_error``.

    Raises:
        ValueError: if there is no estimator, or an unknown quantity.
    """
    if not metrics or quantity not in ("error", "volume"):
        raise ValueError(
            f"quantity is {quantity!r} of {len(metrics)} estimators, must be error or volume of at least one"
        )
    count = 1 + len(metrics)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure, panels = plane.matrix(
        rows, columns, width=style.DOUBLE_COLUMN, height=1.3, left=0.55, across=0.2, bottom=0.4, up=[0.98] * (rows - 1),
        top=0.72,
    )  # fmt: skip
    flat = [axes for row in panels for axes in row]
    errors = {name: relative_difference(g, exact, units=grid.square) for name, g in metrics.items()}
    volumes = {name: _volume(g) for name, g in metrics.items()}
    true_volume = _volume(exact)
    volume_norm = style.log_norm(true_volume)
    error_norm = style.log_norm(np.concatenate(list(errors.values())), low=2, high=98)
    inside = interior(grid, margin)
    image = plane.draw_field(flat[0], true_volume, grid, names, norm=volume_norm, horizontal=count <= columns)
    style.colour_bar(image, f"exact\nvolume {VOLUME}", ticks=3)
    style.panel_letter(flat[0], "A")
    tables = []
    for k, (name, g) in enumerate(metrics.items(), start=1):
        axes = flat[k]
        below = k + columns >= count
        shown, norm, cmap = (
            (errors[name], error_norm, style.RIDGE)
            if quantity == "error"
            else (volumes[name], volume_norm, style.SEQUENTIAL)
        )
        image = plane.draw_field(
            axes, shown, grid, names, norm=norm, cmap=cmap, horizontal=below, vertical=k % columns == 0
        )
        style.mark_cells(axes, ~positive_definite(g).reshape(grid.shape), *grid.axes)
        percent = 100 * float(np.median(errors[name][inside]))
        median = f"median error {percent:{'.2g' if percent < 99 else '.0f'}} %"
        style.colour_bar(image, f"{name}\n{median}", ticks=3)
        style.panel_letter(axes, "ABCDEFGHIJKLMNOP"[k])
        columns_of = {"volume": volumes[name], "relative_error": errors[name]}
        tables.append(plane.node_table(grid, names, columns_of).assign(method=name))
    for axes in flat[count:]:
        axes.remove()
    truth = {"volume": true_volume, "relative_error": np.zeros(grid.size)}
    tables.insert(0, plane.node_table(grid, names, truth).assign(method="exact"))
    return figure, pd.concat(tables, ignore_index=True)[["method", *names, "volume", "relative_error"]]


def _volume(g: Metrics) -> Float[np.ndarray, "node"]:
    """``sqrt(det g)`` where the metric is positive definite, else NaN."""
    good = positive_definite(g)
    return np.where(good, np.sqrt(np.where(good, np.linalg.det(g), 1.0)), np.nan)
