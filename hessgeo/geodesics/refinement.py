"""Certify curves, and solve again with more segments those that the metric asks for."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from hessgeo.geodesics.adaptation import adapted
from hessgeo.geodesics.candidates import Candidates, Options, constant_speed, shortest, solve_from
from hessgeo.geodesics.curves import Curves
from hessgeo.geodesics.residual import geodesic_residual
from hessgeo.geodesics.result import OF_CURVES, Geodesics, join
from hessgeo.metrics.base import Metric

_REFINING = 20  # Newton steps of a misjudged curve whose segments are doubled, from where it is
_RESCUING = 30  # of one that the solver misjudged, which may be far from its minimum
_RESCUES = 3  # doublings of such a curve, whatever was asked for
_RESCUE_NODES = 6  # of the solver's quadrature in each of its segments
_ROUNDING = 1e-8  # of a length, relative: what a finer curve may be longer by
_SHARED = (
    "points", "tangents", "length", "energy", "converged", "decrement", "minimal", "iterations", "from_grid",
)  # fmt: skip


def certified(metric: Metric, found: Candidates, options: Options) -> Geodesics:
    """The curves with their residuals, and what failed."""
    failed = ~torch.isfinite(found.length)
    residual = geodesic_residual(metric, found.points, found.tangents).nan_to_num(torch.inf)
    # Differences of points that rounding hides hold nothing else.
    residual = torch.where(found.bend[:, None].isnan(), residual, found.bend[:, None])
    held = torch.zeros_like(found.points[..., 0], dtype=torch.bool)
    if options.box is not None:
        low, high = found.points.new_tensor(options.box).T
        held = ((found.points <= low) | (found.points >= high)).any(dim=-1)
        held[:, [0, -1]] = False
        # The second difference at a point reads two neighbours on either side.
        beside = torch.nn.functional.pad(held, (1, 1)).unfold(1, 5, 1).any(dim=-1)
        residual = residual.masked_fill(beside, 0.0)
    return Geodesics(
        points=found.points,
        tangents=found.tangents,
        length=found.length.masked_fill(failed, torch.nan),
        length_error=found.error.masked_fill(failed, torch.nan),
        energy=found.energy.masked_fill(failed, torch.nan),
        converged=found.converged & ~failed,
        decrement=found.decrement,
        iterations=found.iterations,
        residual=residual.amax(dim=1).masked_fill(failed, torch.inf),
        minimal=found.minimal & ~failed,
        from_grid=found.from_grid,
        held=held.sum(dim=1),
        segments=torch.full_like(found.iterations, found.points.shape[1] - 1),
        distance=torch.full_like(found.length, torch.nan),
        distance_error=torch.full_like(found.length, torch.nan),
        metric=metric,
        tolerance=options.tolerance,
        failures=_failures(metric, found, failed),
    )


def _failures(metric: Metric, found: Candidates, failed: Bool[Tensor, "m"]) -> dict[int, str]:
    rows = torch.nonzero(failed)[:, 0]
    if len(rows) == 0:
        return {}
    along = Curves(found.curves.coefficients[rows]).length(metric, strict=False)
    count = f"{len(rows)} of {len(failed)} curves: repair it first"
    words = ("the metric is negative or not finite along", "the metric is not positive definite along")
    return {
        row: f"{words[int(ok)]} {count}"
        for row, ok in zip(rows.tolist(), torch.isfinite(along).tolist(), strict=True)
    }


def refine(paths: Geodesics, doublings: int, batch_size: int, options: Options) -> Geodesics:
    """Solve curves again with more segments, where they ask for it.

    Segments are halved so many times where the residual is above its tolerance or the solver misjudges them, see
    ``adaptation``. What is misjudged then is, asked for or not, solved with twice the segments again and again, from
    the shortest curve known, gone through at constant speed. What counts is the length as measured: a curve is kept if
    it is no longer than the one before.
    """
    paths = adapted(paths, doublings, options)
    rows = torch.nonzero(~paths.measured & ~paths.failed)[:, 0]
    if len(rows) == 0:
        return paths
    rough = paths.rows(rows)
    for doubling in range(1, _RESCUES + 1):
        # A batch holds as many segments as before.
        parts = [
            _doubled(rough.rows(some), options)
            for some in torch.arange(len(rows)).to(rows).split(max(1, batch_size >> doubling))
        ]
        rough = join(parts)
        known = paths.length[rows]
        better = torch.nonzero(rough.length <= (1 + _ROUNDING) * known)[:, 0]
        fine, every = rough.rows(better), 2**doubling
        values = {name: getattr(fine, name) for name in OF_CURVES}
        values |= {"points": fine.points[:, ::every], "tangents": every * fine.tangents[:, ::every]}
        values = {name: getattr(paths, name).index_copy(0, rows[better], new) for name, new in values.items()}
        paths = replace(paths, **values, refined=(*paths.refined, (rows[better], fine.curves)))
        # A curve that two doublings in a row make no shorter is as short as it gets.
        fell = (rough.length < (1 - _ROUNDING) * known) | (doubling < 2)
        going = torch.nonzero(~rough.measured & ~rough.failed & fell)[:, 0]
        rows, rough = rows[going], rough.rows(going)
        if len(rows) == 0:
            break
    return paths


def _doubled(paths: Geodesics, options: Options) -> Geodesics:
    """The curves solved with twice the segments."""
    metric, count = paths.metric, 2 * paths.points.shape[1] - 1
    shared = {name: getattr(paths, name) for name in _SHARED}
    start = Candidates(error=paths.length_error, bend=torch.full_like(paths.length, torch.nan), **shared)
    # A curve nearly solved takes two steps or three; one that takes many more is in no shape to be certified.
    quick = replace(options, max_iterations=min(options.max_iterations, _REFINING))
    found = solve_from(metric, start, count, quick)
    rows = torch.nonzero(~paths.measured)[:, 0]
    if len(rows):
        even = constant_speed(metric, paths.rows(rows).curves, count)
        even = replace(even, from_grid=start.from_grid[rows], iterations=start.iterations[rows])
        slow = replace(options, nodes=_RESCUE_NODES, max_iterations=min(options.max_iterations, _RESCUING))
        found = found.replaced(~paths.measured, shortest(even, solve_from(metric, even, count, slow)))
    return certified(metric, found, options)
