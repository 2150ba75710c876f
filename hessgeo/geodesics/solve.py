"""Shortest paths between pairs of points under any metric, in any number of dimensions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
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
from hessgeo.geodesics.eikonal import Estimate, Valleys
from hessgeo.geodesics.frames import far_frame, least_tolerance, out_of
from hessgeo.geodesics.graphs import GridGraph, start_graph
from hessgeo.geodesics.refinement import certified, refine
from hessgeo.geodesics.result import RESIDUAL_TOLERANCE, Geodesics, join
from hessgeo.grids import Grid
from hessgeo.metrics.base import Box, Metric, as_metric, asymmetries
from hessgeo.metrics.framed import in_frame

__all__ = ["RESIDUAL_TOLERANCE", "Geodesics", "geodesics"]

MOST_POINTS = 1_000_000  # of a path; memory grows with them

_COARSE = 24  # segments of the curves on which starts compete; the winner alone is solved at full resolution
_LEAST = 1e-6  # of the grid around pairs that are points, as a share of their coordinates
_NEAR, _FEW_STEPS = 1e-9, 20  # decrement and Newton steps of those
_STEPS = 30  # of Newton in full, of what more segments may still help
_SEEN = (
    4  # points of a curve, to a node along a side of the grid, that its length over the grid is taken from
)
_HALVINGS = 2  # of the steps of the grid, where the distance over it is shorter than a curve, or too vague
_MARGIN = 0.25  # of the grid around the pairs, where no box is given, as a share of their extent


def geodesics(
    metric: Metric | Callable[[Tensor], Tensor],
    starts: Float[Tensor, "m d"],
    ends: Float[Tensor, "m d"],
    *,
    points: int = 90,
    box: Box | Literal["metric"] | None = "metric",
    grid_starts: bool = True,
    valleys: bool = False,
    grid_nodes: int = 48,
    neighbours: int = 16,
    tolerance: float = 1e-14,
    max_iterations: int = 100,
    doublings: int = 8,
    batch_size: int = 1024,
    progress: bool = False,
) -> Geodesics:
    """Shortest paths between pairs of points, many at once.

    Minimises the energy ``integral <x', g(x) x'> ds`` of piecewise cubics, gradient and Hessian of ``g`` included, by
    Newton's method with a block-tridiagonal Hessian. Each pair starts from the straight line and, in the plane, from a
    shortest path on a grid; both are solved at low resolution, the shorter is solved in full. In other dimensions the
    straight line is the only start: the curve is a minimum among its neighbours, and nothing was tried beyond them.
    For a smooth metric length and points are exact to sixth order in the step.

        paths = geodesics(metric, starts, ends)
        paths.length, paths.certified, paths.equidistant(10)

    # PAPER: Lobashev et al. (2025) take 5,000 Adam steps at a rate of 0.01 on 90 points with the gradient through ``g``
    # detached, which does not end at a minimum of the energy (see ``reference.adam_geodesics``).

    Args:
        metric: a ``Metric``, or any function ``(*batch, d) -> (*batch, d, d)`` of torch, positive definite, with two
            derivatives that are continuous (else ``metrics.gridded.smooth_metric``).
        starts: first points; their device is that of the work, which is done in float64.
        ends: last points.
        points: of each curve, ends included.
        box: that curves stay in; by default the metric's own, None for the whole space.
        grid_starts: whether to start from a shortest path on a grid, too, in the plane.
        valleys: whether to hold the curves against the distance over the grid through whatever valley
            (``Geodesics.undercut``), and to start from its ways, too; in the plane, some 10 ms for each start.
        grid_nodes: of that grid along each side.
        neighbours: of each of its nodes: 8, 16 or 32.
        tolerance: Newton decrement relative to the energy to stop at; ``1e-14`` leaves the curve within about ``1e-7``
            of the minimum before the last step, which is taken.
        max_iterations: of Newton's method at each resolution.
        doublings: of the segments, at most, of converged curves whose residual is above ``RESIDUAL_TOLERANCE``, as
            where the metric changes within a segment: of those segments alone that it is above at, see ``adaptation``.
        batch_size: curves solved at once; changes no result beyond rounding.
        progress: show a bar.

    Raises:
        ValueError: on points that are not pairs, a box of another dimension, or fewer than three points a curve. If all
            pairs fail, the first one's reason: an end that is not finite or outside the box, a metric that is not
            symmetric, not finite or not positive definite on the way. A pair that fails beside others is one of
            ``Geodesics.failures``.
    """
    metric = as_metric(metric)
    box = metric.box if box == "metric" else box
    starts, ends = _checked(starts, ends, points)
    if box is not None and len(box) != starts.shape[1]:
        raise ValueError(f"box has {len(box)} intervals, points have {starts.shape[1]} coordinates")
    refused = _refusals(metric, starts, ends, box)
    if len(refused) == len(starts):
        raise ValueError(refused[0])
    if (frame := far_frame(box, starts, ends)) is not None:
        paths = geodesics(
            in_frame(metric, frame), frame.into(starts), frame.into(ends), points=points,
            box=None if box is None else frame.of_box(box), grid_starts=grid_starts, valleys=valleys,
            grid_nodes=grid_nodes, neighbours=neighbours, tolerance=max(tolerance, least_tolerance(metric, frame)),
            max_iterations=max_iterations, doublings=doublings, batch_size=batch_size, progress=progress,
        )  # fmt: skip
        return out_of(paths, frame, metric, refused)
    with torch.no_grad():
        count = len(starts)
        kept = [row for row in range(count) if row not in refused]
        starts, ends = starts[kept], ends[kept]
        grid = _grid(metric, starts, ends, box, grid_nodes) if starts.shape[1] == 2 else None
        graph = (
            start_graph(metric, grid, neighbours=neighbours, device=starts.device)
            if grid is not None and grid_starts
            else None
        )
        media = Valleys.of(metric, grid) if grid is not None and valleys else None
        options = Options(box, tolerance, max_iterations)
        parts = []
        batches = range(0, len(starts), batch_size)
        for k in tqdm(batches, desc="geodesics", disable=not progress):
            batch = slice(k, k + batch_size)
            few = min(points, _COARSE + 1)
            estimate = (
                None if media is None else media.between(*_arrays(starts[batch], ends[batch]), count=few)
            )
            ways = None if estimate is None else torch.from_numpy(estimate.paths).to(starts)
            full = replace(options, max_iterations=min(max_iterations, _STEPS)) if doublings else options
            paths = _solve(metric, starts[batch], ends[batch], points, graph, full, ways)
            paths = refine(paths, doublings, batch_size, options)
            if media is not None and estimate is not None:
                paths = _held_against(paths, estimate, media, starts[batch], ends[batch])
            parts.append(paths)
    paths = join(parts)
    if refused:
        paths = paths.among(count, refused)
    if bool(paths.failed.all()):
        raise ValueError(paths.failures[0])
    return paths


def _checked(starts: Tensor, ends: Tensor, points: int) -> tuple[Tensor, Tensor]:
    starts, ends = torch.as_tensor(starts), torch.as_tensor(ends)
    if starts.shape != ends.shape or starts.ndim != 2 or starts.shape[1] < 1:
        raise ValueError(
            f"starts and ends have shapes {tuple(starts.shape)}, {tuple(ends.shape)}, must both be (m, d)"
        )
    if not 3 <= points <= MOST_POINTS:
        raise ValueError(f"points is {points}, must be from 3 to {MOST_POINTS}")
    if len(starts) == 0:
        raise ValueError("there is no pair of points to join")
    return starts.double(), ends.double()


def _refusals(metric: Metric, starts: Tensor, ends: Tensor, box: Box | None) -> dict[int, str]:
    """Pairs that are not worth a try, by their rows, and why."""
    refused: dict[int, str] = {}
    low, high = starts.new_tensor(box if box is not None else ((-torch.inf, torch.inf),) * starts.shape[1]).T
    for name, values in (("end", ends), ("start", starts)):
        outside = ((values < low) | (values > high)).any(dim=1)
        refused |= dict.fromkeys(
            torch.nonzero(outside)[:, 0].tolist(), f"its {name} lies outside the box {box}"
        )
        unknown = ~torch.isfinite(values).all(dim=1)
        refused |= dict.fromkeys(torch.nonzero(unknown)[:, 0].tolist(), f"its {name} is not finite")
    kept = [row for row in range(len(starts)) if row not in refused]
    share = torch.linspace(0, 1, 9).to(starts)[:, None]
    lines = starts[kept, None] + share * (ends - starts)[kept, None]
    return (
        refused | {kept[row]: words for row, words in asymmetries(metric, lines).items()} if kept else refused
    )


def _grid(metric: Metric, starts: Tensor, ends: Tensor, box: Box | None, nodes: int) -> Grid:
    if box is None:
        both = torch.cat([starts, ends])
        low, high = both.amin(dim=0), both.amax(dim=0)
        # Paths may bend out of the rectangle of the pairs, also where that is a line: by as much along both axes, as
        # the metric measures them at the pairs, whatever their units.
        size = metric(both).diagonal(dim1=-2, dim2=-1)
        size = torch.where((size > 0) & torch.isfinite(size), size, 1.0)
        scale = size.sqrt().log().median(dim=0).values.exp()
        largest = torch.maximum(low.abs(), high.abs())
        margin = _MARGIN * torch.maximum(high - low, ((high - low) * scale).amax() / scale)
        margin = torch.maximum(margin, _LEAST * torch.where(largest > 0, largest, 1.0))
        low, high = low - margin, high + margin
        box = ((float(low[0]), float(high[0])), (float(low[1]), float(high[1])))
    return Grid(box, (nodes, nodes))


def _solve(
    metric: Metric,
    starts: Tensor,
    ends: Tensor,
    points: int,
    graph: GridGraph | None,
    options: Options,
    ways: Tensor | None,
) -> Geodesics:
    coarse = min(points, _COARSE + 1)
    # What is solved in full afterwards need only be near its minimum before.
    steps = min(options.max_iterations, _FEW_STEPS)
    rough = replace(options, tolerance=max(options.tolerance, _NEAR), max_iterations=steps)
    found, best = best_start(metric, starts, ends, coarse, graph, rough if points > coarse else options, ways)
    found = solve_from(metric, found, points, options) if points > coarse else measured_again(metric, found)
    found = no_longer_than(metric, best, found, options)
    return certified(metric, short_pairs(metric, starts, ends, found), options)


def _held_against(
    paths: Geodesics, estimate: Estimate, valleys: Valleys, starts: Tensor, ends: Tensor
) -> Geodesics:
    """The curves with the distances over the grid; where these are shorter or too vague, over finer grids."""
    rows = torch.arange(len(paths), device=paths.length.device)
    for halving in range(_HALVINGS + 1):
        if halving:
            rows = torch.nonzero(paths.undercut | paths.vague)[:, 0]
            if len(rows) == 0:
                break
            valleys = valleys.halved
            estimate = valleys.between(*_arrays(starts[rows], ends[rows]), count=3)
        some = paths.rows(rows)
        s = torch.linspace(0, 1, _SEEN * max(valleys.fine.grid.shape)).to(some.length)
        seen = torch.from_numpy(valleys.fine.along(some.curves.at(s).cpu().numpy())).to(some.length)
        # A grid that does not see all of a curve's length may miss as much of the way it offers instead.
        missed = (some.length - seen).clamp(min=0.0)
        distance, error = (
            torch.from_numpy(part).to(some.length) for part in (estimate.distance, estimate.error)
        )
        paths = replace(
            paths,
            distance=paths.distance.index_copy(0, rows, distance),
            distance_error=paths.distance_error.index_copy(0, rows, error + missed),
        )
    return paths


def _arrays(*points: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(one.cpu().numpy() for one in points)
