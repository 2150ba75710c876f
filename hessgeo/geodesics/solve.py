"""Shortest paths between pairs of points under any metric of the plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from hessgeo.geodesics.candidates import (
    Options,
    best_start,
    measured_again,
    no_longer_than,
    short_pairs,
    solve_from,
)
from hessgeo.geodesics.graphs import GridGraph, grid_graph
from hessgeo.geodesics.refinement import certified, refine
from hessgeo.geodesics.result import RESIDUAL_TOLERANCE, Geodesics, join
from hessgeo.grids import Grid
from hessgeo.metrics.base import Box, Metric, as_metric, check_symmetric

__all__ = ["RESIDUAL_TOLERANCE", "Geodesics", "geodesics"]

_COARSE = 24  # segments of the curves on which starts compete; the winner alone is solved at full resolution
_EDGES = 1e-3  # of the lengths of edges of a grid that starts are taken from
_MARGIN = 0.25  # of the grid around the pairs, where no box is given, as a share of their extent


def geodesics(
    metric: Metric | Callable[[Tensor], Tensor],
    starts: Float[Tensor, "m 2"],
    ends: Float[Tensor, "m 2"],
    *,
    points: int = 90,
    box: Box | Literal["metric"] | None = "metric",
    grid_starts: bool = True,
    grid_nodes: int = 48,
    neighbours: int = 16,
    tolerance: float = 1e-14,
    max_iterations: int = 100,
    doublings: int = 0,
    batch_size: int = 1024,
    progress: bool = False,
) -> Geodesics:
    """Shortest paths between pairs of points, many at once.

    Minimises the energy ``integral <x', g(x) x'> ds`` of piecewise cubics, gradient and Hessian of ``g`` included, by
    Newton's method with a block-tridiagonal Hessian. Each pair starts from the straight line and from a shortest path
    on a grid; both are solved at low resolution, the shorter is solved in full. For a smooth metric length and points
    are exact to sixth order in the step.

        paths = geodesics(metric, starts, ends)
        paths.length, paths.certified, paths.equidistant(10)

    # PAPER: Lobashev et al. (2025) take 5,000 Adam steps at a rate of 0.01 on 90 points with the gradient through ``g``
    # detached, which does not end at a minimum of the energy (see ``reference.adam_geodesics``).

    Args:
        metric: a ``Metric``, or any function ``(*batch, 2) -> (*batch, 2, 2)`` of torch, positive definite, with two
            derivatives that are continuous (else ``metrics.gridded.smooth_metric``).
        starts: first points; their device is that of the work, which is done in float64.
        ends: last points.
        points: of each curve, ends included.
        box: that curves stay in; by default the metric's own, None for the whole plane.
        grid_starts: whether to start from a shortest path on a grid, too.
        grid_nodes: of that grid along each side.
        neighbours: of each of its nodes: 8, 16 or 32.
        tolerance: Newton decrement relative to the energy to stop at; ``1e-14`` leaves the curve within about ``1e-7``
            of the minimum before the last step, which is taken.
        max_iterations: of Newton's method at each resolution.
        doublings: of the segments, at most, of converged curves whose residual is above ``RESIDUAL_TOLERANCE``, as
            where the metric changes within a segment. Others are left as they are.
        batch_size: curves solved at once; changes no result beyond rounding.
        progress: show a bar.

    Raises:
        ValueError: on points that are not pairs, not finite or outside the box, or fewer than three points a curve; if
            the metric is not finite or not positive definite along a curve found.
    """
    metric = as_metric(metric)
    box = metric.box if box == "metric" else box
    starts, ends = _checked(starts, ends, box, points)
    if len(starts) == 0:
        raise ValueError("there is no pair of points to join")
    with torch.no_grad():
        share = torch.linspace(0, 1, 9).to(starts)[:, None]
        check_symmetric(metric, starts[:, None] + share * (ends - starts)[:, None])
        graph = _graph(metric, starts, ends, box, grid_nodes, neighbours) if grid_starts else None
        options = Options(box, tolerance, max_iterations)
        parts = []
        batches = range(0, len(starts), batch_size)
        for k in tqdm(batches, desc="geodesics", disable=not progress):
            batch = slice(k, k + batch_size)
            paths = _solve(metric, starts[batch], ends[batch], points, graph, options)
            parts.append(refine(paths, doublings, batch_size, options))
    paths = join(parts)
    if bool(paths.failed.all()):
        raise ValueError(paths.reasons[0])
    return paths


def _checked(starts: Tensor, ends: Tensor, box: Box | None, points: int) -> tuple[Tensor, Tensor]:
    starts, ends = torch.as_tensor(starts), torch.as_tensor(ends)
    if starts.shape != ends.shape or starts.ndim != 2 or starts.shape[1] != 2:
        raise ValueError(
            f"starts and ends have shapes {tuple(starts.shape)}, {tuple(ends.shape)}, must both be (m, 2)"
        )
    if points < 3:
        raise ValueError(f"points is {points}, must be at least 3")
    for name, values in (("starts", starts), ("ends", ends)):
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{name} hold a value that is not finite")
        low, high = values.new_tensor(box if box is not None else ((-torch.inf, torch.inf),) * 2).T
        if bool(((values < low) | (values > high)).any()):
            raise ValueError(f"{name} hold a point outside the box {box}")
    return starts.double(), ends.double()


def _graph(
    metric: Metric, starts: Tensor, ends: Tensor, box: Box | None, nodes: int, neighbours: int
) -> GridGraph:
    if box is None:
        both = torch.cat([starts, ends])
        low, high = both.amin(dim=0), both.amax(dim=0)
        # Paths may bend out of the rectangle of the pairs, also where that is a line.
        margin = _MARGIN * torch.maximum(high - low, (high - low).amax()).clamp(min=1e-6)
        low, high = low - margin, high + margin
        box = ((float(low[0]), float(high[0])), (float(low[1]), float(high[1])))
    return grid_graph(
        metric, Grid(box, (nodes, nodes)), neighbours=neighbours, tolerance=_EDGES, device=starts.device
    )


def _solve(
    metric: Metric, starts: Tensor, ends: Tensor, points: int, graph: GridGraph | None, options: Options
) -> Geodesics:
    coarse = min(points, _COARSE + 1)
    found, best = best_start(metric, starts, ends, coarse, graph, options)
    found = solve_from(metric, found, points, options) if points > coarse else measured_again(metric, found)
    found = no_longer_than(metric, best, found, options)
    return certified(metric, short_pairs(metric, starts, ends, found), options.box)
