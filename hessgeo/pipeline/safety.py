"""Which seeds of a study are safe: fields on its nodes, the stable medoids of its phases, and what is reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from hessgeo.grids import AXES, Grid
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.metrics.repair import repaired_field
from hessgeo.phases.safety import StableMedoid, boundary_distances, jitter_risk, stable_medoids

SAFE = 0.01  # chance of another phase below which a node counts as safe


def study_safety(
    label: xr.DataArray,
    fisher: Float[np.ndarray, "na nb 2 2"],
    phases: Mapping[str, Any],
    embedding: Float[np.ndarray, "n d"],
    grid: Grid,
    settings: Mapping[str, Any],
    *,
    smoothing: float,
    floor: float,
) -> tuple[xr.Dataset, pd.DataFrame, dict[str, Any]]:
    """How far each node is from a phase boundary, what a jitter does to it, and which samples to take of each phase.

    Args:
        label: phase of each node, on dims ``(a, b)``.
        fisher: the Fisher metric at the nodes.
        phases: ``phases`` and ``boundaries`` of the study.
        embedding: of the nodes, in their order.
        grid: the nodes.
        settings: the settings ``safety``.
        smoothing: of the metric, see ``repaired_field``.
        floor: of its eigenvalues.

    Returns:
        ``label``, ``boundary_distance``, ``jitter_risk`` and ``jitter_inside`` on ``(a, b)``, the distance NaN where
        there is no boundary; the same as a table, a row a node; and for each phase its stable medoid, beside numbers
        of the map.
    """
    metric = GriddedMetric(repaired_field(fisher, grid, smoothing=smoothing, floor=floor).metric, grid)
    lines = [np.asarray(line["points"], dtype=float) for line in phases["boundaries"]]
    distance = boundary_distances(metric, lines, grid)
    named = label.transpose(*AXES).to_numpy().astype(int)
    risk, inside = jitter_risk(named, settings["jitter"])
    known = np.where(np.isfinite(distance), distance, np.nan)
    values = {"label": named, "boundary_distance": known, "jitter_risk": risk, "jitter_inside": inside}
    a, b = grid.axes
    fields = xr.Dataset(
        {name: (AXES, field) for name, field in values.items()},
        {"a": a, "b": b},
        {"jitter": settings["jitter"]},
    )
    fields["boundary_distance"].attrs["units"] = "sqrt(nats per N)"
    columns = {name: field.ravel() for name, field in values.items()}
    points = grid.points
    table = pd.DataFrame({"node": np.arange(grid.size), "a": points[:, 0], "b": points[:, 1], **columns})
    medoids = stable_medoids(phases["phases"], named, embedding, risk, distance, typical=settings["typical"])
    return fields, table, {**_of_map(named, risk, known, settings), "phases": _of_phases(medoids, table)}


def _of_map(
    label: np.ndarray, risk: np.ndarray, distance: np.ndarray, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Shares of the box; and what half the nodes along each side would change of the risk, as a test of the map."""
    coarse, _ = jitter_risk(label[::2, ::2], _same_jitter(label.shape, settings["jitter"]))
    off = np.abs(coarse - risk[::2, ::2])
    return {
        "jitter": settings["jitter"],
        "mean_risk": float(risk.mean()),
        "safe_share": float((risk < SAFE).mean()),
        "safe_below": SAFE,
        "median_boundary_distance": float(np.median(distance)),
        "coarse_difference_mean": float(off.mean()),
        "coarse_difference_95": float(np.quantile(off, 0.95)),
    }


def _same_jitter(shape: tuple[int, ...], jitter: float) -> float:
    """The share of a thinned grid's box that is as long: of an even number of nodes the last is left out."""
    sides = [(nodes - 1) / (2 * ((nodes - 1) // 2)) for nodes in shape]
    return jitter * float(np.sqrt(np.prod(sides)))


def _of_phases(medoids: list[StableMedoid], table: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each phase three nodes with their risks and distances."""
    found = []
    for one in medoids:
        entry: dict[str, Any] = {"label": one.label}
        for name in ("node", "medoid", "least"):
            row = table.iloc[getattr(one, name)]
            called = {"node": "stable", "medoid": "medoid", "least": "least_stable"}[name]
            entry[called] = {
                "node": int(row["node"]),
                "a": float(row["a"]),
                "b": float(row["b"]),
                "risk": float(row["jitter_risk"]),
                "boundary_distance": None
                if np.isnan(row["boundary_distance"])
                else float(row["boundary_distance"]),
            }
        found.append(entry)
    return found
