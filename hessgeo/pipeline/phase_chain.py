"""The link from a metric to phases that a study and its resolution scan share; no fit needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from hessgeo.grids import Grid
from hessgeo.phases.boundaries import (
    BoundaryLine,
    TriplePoint,
    boundary_lines,
    boundary_points,
    triple_points,
)
from hessgeo.phases.crossings import nearest_labels, refined_boundaries
from hessgeo.phases.lipschitz import lipschitz_field
from hessgeo.phases.segment import (
    PhaseMap,
    boundary_strengths,
    medoids,
    ridge_strength,
    segment_phases,
    smoothed_height,
)
from hessgeo.pipeline.node_means import to_grid


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
    eigenvalue = metric["largest_eigenvalue"].to_numpy()
    height = phase_height(eigenvalue, settings)
    nodes = embedding.reshape(*grid.shape, -1) if settings.get("lines") == "embedding" else None
    phases = phase_map(eigenvalue, grid, settings)
    phases = phases if nodes is None else refined_phases(phases, height, nodes)
    lines, corners = _lines(phases, height, nodes, grid)
    lipschitz = lipschitz_field(
        embedding, t, grid=grid if on_grid else None, neighbours=settings["neighbours"]
    )
    fields = {"label": phases.label, "ridge": phases.ridge, "lipschitz": to_grid(lipschitz, t, grid)}
    dataset = metric[["largest_eigenvalue"]].assign(
        {key: (grid.dims, field) for key, field in fields.items()}
    )
    found = {
        "phases": list(_phases(phases.label, free_energy["gradient"].to_numpy(), embedding, t, grid)),
        "boundaries": list(_boundaries(phases, lines)),
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


def refined_phases(
    phases: PhaseMap, height: Float[np.ndarray, "na nb"], embedding: Float[np.ndarray, "na nb d"]
) -> PhaseMap:
    """Phases with the nodes near boundaries given to that of the nearest embedding, see ``nearest_labels``."""
    label = nearest_labels(phases.label, embedding)
    return replace(phases, label=label, ridge=ridge_strength(label, height))


def _lines(
    phases: PhaseMap,
    height: Float[np.ndarray, "*nodes"],
    embedding: Float[np.ndarray, "na nb d"] | None,
    grid: Grid,
) -> tuple[list[BoundaryLine], list[TriplePoint]]:
    """Boundaries and where they meet: on a line points; finer than the grid where embeddings of nodes are given."""
    if len(grid.shape) == 1:
        return boundary_points(phases.label, height, grid), []
    if embedding is not None:
        return refined_boundaries(phases.label, embedding, grid)
    return boundary_lines(phases.label, grid), triple_points(phases.label, grid)


def _boundaries(phases: PhaseMap, lines: Sequence[BoundaryLine]) -> Iterator[dict[str, Any]]:
    """Each line with the strength of its boundary, at the lowest place and the median, and that over noise's.

    On a line boundaries are points, with the width of their ridge.
    """
    strengths = boundary_strengths(phases)
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
