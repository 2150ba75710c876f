"""Curves that compete for a pair: the straight line, a path on a grid, and what Newton's method makes of them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import reduce

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hessgeo.geodesics.curves import CELLS, Curves, Lengths
from hessgeo.geodesics.graphs import GridGraph, grid_paths
from hessgeo.geodesics.newton import minimise
from hessgeo.metrics.base import Box, Metric
from hessgeo.metrics.curvature import christoffel

_QUADRATURE = 3  # Gauss-Legendre nodes a segment: enough for the sixth order of the curves
_FEW = 48  # cells of the lengths by which starts are compared
_SAME_VALLEY = 2.0  # grid steps within which a grid path and a solved curve lie in the same valley
_JUDGED = 1e-2  # of a length: what the solver may miss of it on a curve that is worth going on from
_NEAR = 1e-5  # of the coordinates: pairs closer than that are hidden by rounding
_BULGE = 1e-9  # of a box: what is not outside
_STRAIGHT = 1e-6  # residual of a straight line that is as good as a geodesic


@dataclass(frozen=True)
class Options:
    """Of Newton's method, see ``newton.minimise``."""

    box: Box | None
    tolerance: float
    max_iterations: int
    nodes: int = _QUADRATURE


@dataclass(frozen=True)
class Candidates:
    """A curve for each pair, with what the solver and the quadrature know of it.

    Attributes:
        points, tangents: of a cubic Hermite spline.
        length, error: as measured; infinite where the metric is broken along the curve.
        energy: as the solver sees it.
        converged, decrement, minimal, iterations: see ``newton.Minimum``; a curve that was not solved has no decrement,
            NaN.
        from_grid: whether it was started from a path on the grid.
        bend: residual of a straight line whose points rounding hides; NaN of all other curves.
    """

    points: Float[Tensor, "m n d"]
    tangents: Float[Tensor, "m n d"]
    length: Float[Tensor, "m"]
    error: Float[Tensor, "m"]
    energy: Float[Tensor, "m"]
    converged: Bool[Tensor, "m"]
    decrement: Float[Tensor, "m"]
    minimal: Bool[Tensor, "m"]
    iterations: Int[Tensor, "m"]
    from_grid: Bool[Tensor, "m"]
    bend: Float[Tensor, "m"]

    @property
    def curves(self) -> Curves:
        """The splines."""
        return Curves.hermite(self.points, self.tangents)

    @property
    def judged(self) -> Bool[Tensor, "m"]:
        """Whether the solver's own quadrature gives the length that was measured."""
        return (self.energy.sqrt() - self.length).abs() <= _JUDGED * self.length

    def rows(self, index: Int[Tensor, "k"]) -> Candidates:
        """Some of the curves."""
        return Candidates(*(getattr(self, one.name)[index] for one in fields(self)))

    def replaced(self, index: Bool[Tensor, "m"], other: Candidates) -> Candidates:
        """All curves, those where ``index`` is true being the ones of ``other``, which holds no more."""
        parts = [getattr(self, one.name).clone() for one in fields(self)]
        for part, one in zip(parts, fields(self), strict=True):
            part[index] = getattr(other, one.name)
        return Candidates(*parts)


def best_start(
    metric: Metric,
    starts: Tensor,
    ends: Tensor,
    count: int,
    graph: GridGraph | None,
    options: Options,
    ways: Float[Tensor, "m count 2"] | None = None,
) -> tuple[Candidates, Candidates]:
    """Solve from the straight lines and, where one goes another way, from the shorter of two paths on the grid.

    Those along the edges of the graph, and ``ways`` of a front over it.

    Returns:
        The shortest solved curves; and the shortest of all, solved or not: where the points are too few for the metric,
        the start may be shorter than what Newton's method made of it.
    """
    line = constant_speed(metric, Curves.polyline(torch.stack([starts, ends], dim=1)), count, cells=_FEW)
    found = solve_from(metric, line, count, options, cells=_FEW)
    best = shortest(line, _within(found, options.box))
    if graph is None:
        return found, best
    route = torch.from_numpy(grid_paths(graph, starts.cpu().numpy(), ends.cpu().numpy(), count=count)).to(
        starts
    )
    routes = [route] if ways is None else [route, ways]
    off = [((one - found.points) / one.new_tensor(graph.grid.spacing)).norm(dim=-1) for one in routes]
    other = (torch.stack(off).amax(dim=(0, 2)) > _SAME_VALLEY) | ~found.converged | ~found.judged
    rows = torch.nonzero(other)[:, 0]
    if len(rows):
        start = reduce(
            shortest,
            (constant_speed(metric, Curves.polyline(one[rows]), count, cells=_FEW) for one in routes),
        )
        start = replace(start, from_grid=torch.ones_like(start.from_grid))
        rival = solve_from(metric, start, count, options, cells=_FEW)
        iterations = found.iterations.index_add(0, rows, rival.iterations)
        # A tie goes to the straight line.
        mine = found.rows(rows)
        won = (rival.length < (1 - 1e-9) * mine.length) | ((rival.length <= mine.length) & ~mine.converged)
        found = found.replaced(_among(rows[won], other), rival.rows(torch.nonzero(won)[:, 0]))
        best = best.replaced(other, shortest(best.rows(rows), _within(shortest(start, rival), options.box)))
        found, best = replace(found, iterations=iterations), replace(best, iterations=iterations)
    return found, best


def _within(found: Candidates, box: Box | None) -> Candidates:
    """The curves; those that leave the box between their points, where ways may be shorter, infinitely long."""
    if box is None:
        return found
    low, high = found.points.new_tensor(box).T
    places = found.curves.at(torch.linspace(0, 1, 4 * found.points.shape[1] + 1).to(found.points))
    room = _BULGE * (high - low)
    outside = ((places < low - room) | (places > high + room)).any(dim=-1).any(dim=-1)
    return replace(found, length=found.length.masked_fill(outside, torch.inf))


def _among(rows: Tensor, like: Bool[Tensor, "m"]) -> Bool[Tensor, "m"]:
    return torch.zeros_like(like).index_fill(0, rows, True)


def shortest(first: Candidates, second: Candidates) -> Candidates:
    """Of each pair the shorter curve as measured; the second one if both are as long as one another."""
    better = second.length <= (1 + 1e-9) * first.length
    return first.replaced(better, second.rows(torch.nonzero(better)[:, 0]))


def solve_from(
    metric: Metric, start: Candidates, count: int, options: Options, *, cells: int | None = None
) -> Candidates:
    """What Newton's method makes of curves with ``count`` points, and its length.

    A curve whose length the solver's quadrature knows keeps its own parameter; others are gone through at constant
    speed, as measured, so that there are segments where the metric changes.
    """
    points, tangents = start.points, start.tangents
    if points.shape[1] != count:
        points, tangents = resample(points, tangents, count)
        uneven = torch.nonzero(~start.judged & torch.isfinite(start.length))[:, 0]
        if len(uneven):
            even = constant_speed(metric, start.rows(uneven).curves, count)
            points[uneven], tangents[uneven] = even.points, even.tangents
    solver = {one.name: getattr(options, one.name) for one in fields(options)}
    solved = minimise(metric, points, tangents, **solver)
    found = Curves.hermite(solved.points, solved.tangents)
    lengths = (
        found.measure(metric, definite=True)
        if cells is None
        else found.measure(metric, definite=True, cells=cells, tolerance=1e-6)
    )
    return Candidates(
        points=solved.points,
        tangents=solved.tangents,
        energy=solved.energy,
        converged=solved.converged,
        decrement=solved.decrement,
        minimal=solved.minimal,
        iterations=solved.iterations + start.iterations,
        from_grid=start.from_grid,
        bend=start.bend,
        **_told(lengths),
    )


def measured_again(metric: Metric, found: Candidates) -> Candidates:
    """The same curves, their lengths to the tolerance of what is reported."""
    return replace(found, **_told(found.curves.measure(metric, definite=True)))


def constant_speed(metric: Metric, curves: Curves, count: int, *, cells: int = CELLS) -> Candidates:
    """``count`` points on curves at equal distances in the metric, with tangents; even in ``s`` where it is broken."""
    measured = curves.measure(metric, definite=True, cells=cells)
    whole = torch.isfinite(measured.length)
    s = torch.linspace(0, 1, count, dtype=curves.coefficients.dtype, device=whole.device).repeat(
        len(whole), 1
    )
    rows = torch.nonzero(whole)[:, 0]
    if len(rows):
        some = Curves(curves.coefficients[rows])
        s[rows] = some.equidistant(metric, count, measured=None if len(rows) < len(whole) else measured)
    points, direction = curves.at(s), curves.velocity(s)
    ends = curves.coefficients[:, -1].sum(dim=1)
    points[:, 0], points[:, -1] = curves.coefficients[:, 0, 0], ends
    speed = torch.einsum("mni,mnij,mnj->mn", direction, metric(points), direction).clamp(min=0).sqrt()
    even = (speed > 0) & whole[:, None]
    rate = torch.where(even, measured.length[:, None] / torch.where(even, speed, 1.0), 1.0) / (count - 1)
    tangents, no = rate[..., None] * direction, torch.zeros_like(whole)
    return Candidates(
        points=points,
        tangents=tangents,
        energy=Curves.hermite(points, tangents).energy(metric, nodes=_QUADRATURE),
        converged=no,
        decrement=torch.full_like(measured.length, torch.nan),
        minimal=no,
        iterations=torch.zeros(len(no), dtype=torch.long, device=no.device),
        from_grid=no,
        bend=torch.full_like(measured.length, torch.nan),
        **_told(measured),
    )


def resample(
    points: Float[Tensor, "m n d"], tangents: Float[Tensor, "m n d"], count: int
) -> tuple[Tensor, Tensor]:
    """``count`` points at even steps of the parameter of the curves through points and tangents."""
    curves = Curves.hermite(points, tangents)
    s = torch.linspace(0, 1, count, dtype=points.dtype, device=points.device)
    place = curves.at(s)
    place[:, 0], place[:, -1] = points[:, 0], points[:, -1]
    return place, curves.velocity(s) / (count - 1)


def no_longer_than(metric: Metric, best: Candidates, found: Candidates, options: Options) -> Candidates:
    """The curves found, or those known before where they are shorter: these stand as not converged."""
    astray = found.length > (1 + 1e-9) * best.length
    rows = torch.nonzero(astray)[:, 0]
    if len(rows) == 0:
        return found
    count, kept = found.points.shape[1], best.rows(rows)
    even = constant_speed(metric, kept.curves, count)
    again = solve_from(metric, even, count, options)
    again = replace(again, iterations=again.iterations + kept.iterations, from_grid=kept.from_grid)
    stands = replace(even, iterations=again.iterations, from_grid=kept.from_grid)
    return found.replaced(astray, shortest(shortest(found.rows(rows), stands), again))


def short_pairs(metric: Metric, starts: Tensor, ends: Tensor, found: Candidates) -> Candidates:
    """Straight lines for pairs so close that rounding hides all else, where the metric does not change on the way."""
    step = ends - starts
    size = torch.maximum(starts.abs(), ends.abs()).amax(dim=1)
    rows = torch.nonzero(step.abs().amax(dim=1) <= _NEAR * size)[:, 0]
    if len(rows) == 0:
        return found
    share = torch.linspace(0, 1, found.points.shape[1]).to(starts)
    points = starts[rows, None] + share[:, None] * step[rows, None]
    points[:, -1] = ends[rows]
    some = points[:, :: max(1, points.shape[1] // 4)]
    v = step[rows, None].expand_as(some)
    turn = torch.einsum("...kij,...i,...j->...k", christoffel(metric, some), v, v)
    bend, length = (
        torch.einsum("...i,...ij,...j->...", x, metric(some), x).clamp(min=0).sqrt() for x in (turn, v)
    )
    bend = torch.where(length > 0, bend / torch.where(length > 0, length, 1.0), 0.0).amax(dim=1)
    straight = (bend <= _STRAIGHT) & torch.isfinite(length).all(dim=1)
    rows, points, bend = rows[straight], points[straight], bend[straight]
    if len(rows) == 0:
        return found
    line = Curves.polyline(torch.stack([starts[rows], ends[rows]], dim=1)).measure(metric, definite=True)
    yes = torch.ones_like(bend, dtype=torch.bool)
    lines = replace(
        found.rows(rows),
        points=points,
        tangents=(step[rows] / (points.shape[1] - 1))[:, None].expand_as(points).contiguous(),
        energy=line.length**2,
        converged=yes,
        decrement=torch.zeros_like(bend),
        minimal=yes,
        bend=bend,
        **_told(line),
    )
    return found.replaced(_among(rows, torch.zeros_like(found.converged)), lines)


def _told(lengths: Lengths) -> dict[str, Tensor]:
    """Lengths and errors; infinite where the metric is broken along a curve."""
    return {
        "length": lengths.length.nan_to_num(torch.inf, torch.inf),
        "error": lengths.error.nan_to_num(torch.inf, torch.inf),
    }
