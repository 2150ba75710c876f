"""The link from a metric to phases that a study and its resolution scan share; no fit needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from hessgeo.grids import Grid
from hessgeo.phases.lipschitz import lipschitz_field
from hessgeo.phases.segment import (
    PhaseMap,
    boundary_lines,
    boundary_points,
    boundary_strengths,
    medoids,
    segment_phases,
    smoothed_height,
    triple_points,
)
from hessgeo.pipeline.chain import to_grid


def phase_map(
    largest_eigenvalue: Float[np.ndarray, "*nodes"], grid: Grid, settings: Mapping[str, Any]
) -> PhaseMap:
    """Phases as the settings ``phases`` of a study say.

    An eigenvalue that is not positive, which an indefinite fit may have, counts as the smallest positive one:
    it lies in a basin, never on a ridge.

    Raises:
        ValueError: if no eigenvalue is positive.
    """
    options = {key: settings[key] for key in ("persistence", "minimum_area", "smoothing")}
    return segment_phases(_positive(largest_eigenvalue), grid, **options)


def phase_height(
    largest_eigenvalue: Float[np.ndarray, "*nodes"], settings: Mapping[str, Any]
) -> Float[np.ndarray, "*nodes"]:
    """The smoothed logarithm of the eigenvalue in which ``phase_map`` finds ridges."""
    return smoothed_height(_positive(largest_eigenvalue), settings["smoothing"])


def _positive(largest_eigenvalue: Float[np.ndarray, "*nodes"]) -> Float[np.ndarray, "*nodes"]:
    positive = largest_eigenvalue[largest_eigenvalue > 0]
    if positive.size == 0:
        raise ValueError("the metric has no positive eigenvalue, so it has no ridges to part phases")
    return np.maximum(largest_eigenvalue, positive.min())


def describe_phases(
    metric: xr.Dataset,
    free_energy: xr.Dataset,
    embedding: Float[np.ndarray, "n d"],
    t: Float[np.ndarray, "n axis"],
    grid: Grid,
    settings: Mapping[str, Any],
    *,
    on_grid: bool,
) -> tuple[xr.Dataset, dict[str, Any], dict[str, Any]]:
    """The phases of a metric with all that is told of them.

    Args:
        metric: ``largest_eigenvalue`` on the nodes, and the ``verdict`` on the fit.
        free_energy: ``gradient`` on the nodes.
        embedding: of every sample.
        t: their parameters.
        grid: the nodes.
        settings: the settings ``phases`` of a study.
        on_grid: whether the samples are the nodes, in their order.

    Returns:
        The fields ``largest_eigenvalue``, ``label``, ``ridge``, ``lipschitz``; ``phases``, ``boundaries`` and
        ``triple_points`` with the ``verdict``; and what is reported.
    """
    phases = phase_map(metric["largest_eigenvalue"].to_numpy(), grid, settings)
    lipschitz = lipschitz_field(
        embedding, t, grid=grid if on_grid else None, neighbours=settings["neighbours"]
    )
    fields = {"label": phases.label, "ridge": phases.ridge, "lipschitz": to_grid(lipschitz, t, grid)}
    dataset = metric[["largest_eigenvalue"]].assign(
        {key: (grid.dims, field) for key, field in fields.items()}
    )
    corners = triple_points(phases.label, grid) if len(grid.shape) == 2 else []
    height = phase_height(metric["largest_eigenvalue"].to_numpy(), settings)
    found = {
        "phases": list(_phases(phases.label, free_energy["gradient"].to_numpy(), embedding, t, grid)),
        "boundaries": list(_boundaries(phases, height, grid)),
        "triple_points": [{"phases": corner.phases, "point": corner.point} for corner in corners],
    }
    noise = {name: getattr(phases, name) for name in ("persistence", "noise", "noise_persistence")}
    shown = [{key: value for key, value in line.items() if key != "points"} for line in found["boundaries"]]
    slopes = {"lipschitz_median": np.median(lipschitz), "lipschitz_99": np.quantile(lipschitz, 0.99)}
    numbers = {**{key: len(value) for key, value in found.items()}, **slopes, **noise, "strengths": shown}
    return dataset, {**found, "verdict": metric.attrs["verdict"]}, numbers


def _phases(
    label: Int[np.ndarray, "*nodes"],
    gradient: Float[np.ndarray, "*nodes axis"],
    embedding: Float[np.ndarray, "n d"],
    t: Float[np.ndarray, "n axis"],
    grid: Grid,
) -> Iterator[dict[str, Any]]:
    """Area, typical sample and mean gradient of each phase, largest first."""
    of_sample = label.ravel()[grid.nearest(t)]
    typical, tree = medoids(embedding, of_sample), cKDTree(grid.frame.into(t))
    for phase in range(1, label.max() + 1):
        inside = label == phase
        # A small phase of a scattered design may hold no sample: the one nearest to it stands for it.
        distance, nearest = tree.query(grid.unit.points[inside.ravel()])
        medoid = typical.get(phase, int(nearest[np.argmin(distance)]))
        counts = {"area": inside.mean(), "samples": int(np.sum(of_sample == phase)), "medoid": medoid}
        yield {"label": phase, **counts, "mean_gradient": gradient[inside].mean(axis=0)}


def _boundaries(
    phases: PhaseMap, height: Float[np.ndarray, "*nodes"], grid: Grid
) -> Iterator[dict[str, Any]]:
    """Each line with the strength of its boundary, at the lowest place and the median, and that over noise's.

    On a line boundaries are points, with the width of their ridge.
    """
    strengths, on_line = boundary_strengths(phases), len(grid.shape) == 1
    lines = boundary_points(phases.label, height, grid) if on_line else boundary_lines(phases.label, grid)
    for line in lines:
        lowest, median = strengths[line.phases]
        over = {"over_noise": lowest / phases.noise_persistence} if phases.noise_persistence else {}
        width = {} if line.width is None else {"width": line.width}
        yield {
            "phases": line.phases,
            "points": line.points,
            "lowest": lowest,
            "strength": median,
            **over,
            **width,
        }
