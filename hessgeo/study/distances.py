"""Distances of a study from one point to all its nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr

from hessgeo.geodesics.eikonal import distance_map
from hessgeo.grids import Grid
from hessgeo.metrics.base import Metric
from hessgeo.study.metric import chosen_metric
from hessgeo.study.parts import Parts

FINER = 4  # steps of the grid of distances in one of the study's


def distances(
    parts: Parts, start: Any, metric: str | Metric | Callable[[torch.Tensor], torch.Tensor]
) -> xr.DataArray:
    """Distances at the nodes, on dims ``(a, b)``, by fast marching on a grid four times as fine.

    Args:
        parts: of the study.
        start: ``(a, b)``; None for the medoid of the largest phase.
        metric: see ``chosen_metric``.

    Raises:
        ValueError: one line, on a point that is none or lies outside the box, or a metric that is none.
    """
    grid = parts.grid
    if start is None:
        first = max(parts.found["phases"], key=lambda phase: (phase["area"], -phase["label"]))
        start = parts.t[first["medoid"]]
    source = np.asarray(start, dtype=float)
    if source.shape != (2,):
        raise ValueError(f"a point of shape {source.shape} is not allowed; allowed: (2,), one point (a, b)")
    name, smooth = chosen_metric(parts, metric)
    fine = Grid(grid.extent, tuple(FINER * (nodes - 1) + 1 for nodes in grid.shape))
    found = distance_map(smooth, source, fine)
    a, b = grid.axes
    about = {
        "metric": name,
        "source": source.tolist(),
        "units": "sqrt(nats per N)" if name == "fisher" else "",
    }
    values = found.values[::FINER, ::FINER]
    return xr.DataArray(values, {"a": a, "b": b}, ("a", "b"), name="distance", attrs=about)
