"""Shortest paths between pairs of points under any metric of the plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from hessgeo.geodesics.curves import Curves, gauss_legendre
from hessgeo.geodesics.grid_paths import GridGraph, grid_graph, grid_paths
from hessgeo.geodesics.newton import Minimum, minimise
from hessgeo.geodesics.residual import geodesic_residual
from hessgeo.grids import Grid
from hessgeo.metrics.base import Box, Metric, as_metric

PointsAndTangents = tuple[Tensor, Tensor]

RESIDUAL_TOLERANCE = 1e-2  # rad over its length: what a certified curve may miss the geodesic equation by

_COARSE = 24  # segments of the curves on which starts compete; the winner alone is solved at full resolution
_MARGIN = 0.25  # of the grid around the pairs, where no box is given, as a share of their extent
_QUADRATURE = 3  # Gauss-Legendre nodes a segment: enough for the sixth order of the curves
_CHECK = 8  # nodes a segment of the length that is reported and compared with the straight line's
_SINGULAR = 1e-12  # share of the squared trace below which a negative determinant is a rounding error
_MISJUDGED = 1e-8  # of a length, relative: what quadrature may miss where the metric changes within a segment
_REFINING = 20  # Newton steps of a curve each time its segments are doubled
_SAME_VALLEY = 2.0  # grid steps within which a grid path and a solved curve lie in the same valley


@dataclass(frozen=True)
class Geodesics:
    """Shortest paths found, with what certifies each.

    Attributes:
        points: of each curve, ends included; the metric distance between neighbours is the same up to the curve's own
            error (a minimum of the energy has constant speed).
        tangents: derivatives at the points, per segment (``dx / ds / (n - 1)``): with the points a cubic Hermite
            spline.
        length: of that spline, or of the refined one, by quadrature: of a curve that exists, so never less than the
            distance; never more than that of the straight line.
        energy: ``integral <x', g x'> ds``, the squared length up to the unevenness of the speed.
        converged: whether Newton's method reached its tolerance: the curve is the best of its number of segments, which
            may be too few.
        iterations: Newton steps, over all resolutions.
        residual: of the geodesic equation, ``max_k L |D_s x'| / |x'|^2`` over the points: how far the tangent turns, in
            radians over the whole length, relative to one that is parallel. Points that the box holds, and their
            neighbours, are left out.
        minimal: whether the second variation is positive definite, so that no nearby curve is shorter (Jacobi).
        from_grid: whether the start from the shortest path on the grid won over the straight line at low resolution.
        held: number of points that the box holds on its edge; a curve that has some is a shortest path within the box.
        segments: that each curve was solved with; a multiple of ``points - 1`` where it was refined.
        refined: rows, and the curves of these rows in all their segments, of which ``points`` keeps the ends of every
            second, fourth, and so on; a later entry stands for an earlier one of the same row.
    """

    points: Float[Tensor, "m n 2"]
    tangents: Float[Tensor, "m n 2"]
    length: Float[Tensor, "m"]
    energy: Float[Tensor, "m"]
    converged: Bool[Tensor, "m"]
    iterations: Int[Tensor, "m"]
    residual: Float[Tensor, "m"]
    minimal: Bool[Tensor, "m"]
    from_grid: Bool[Tensor, "m"]
    held: Int[Tensor, "m"]
    segments: Int[Tensor, "m"]
    metric: Metric
    refined: tuple[tuple[Int[Tensor, "k"], Curves], ...] = ()

    def __len__(self) -> int:
        """Number of curves."""
        return len(self.points)

    @property
    def certified(self) -> Bool[Tensor, "m"]:
        """Whether a curve is a geodesic and no nearby one is shorter, each to its tolerance.

        It converged, is minimal, and its residual is at most ``RESIDUAL_TOLERANCE``. That no curve through another
        valley is shorter is not certified.
        """
        return self.converged & self.minimal & (self.residual <= RESIDUAL_TOLERANCE)

    @property
    def curves(self) -> Curves:
        """The curves between the points, too; for those that were refined see ``refined``."""
        return Curves.hermite(self.points, self.tangents)

    def equidistant(self, count: int) -> Float[Tensor, "m count 2"]:
        """``count`` points along each curve, ends included, equidistant in the metric, and in its box."""
        points = self.points.new_empty(len(self), count, 2)
        every = torch.arange(len(self), device=points.device)
        for rows, curves in ((every, self.curves), *self.refined):
            points[rows] = curves.at(curves.equidistant(self.metric, count))
        # Between points that the box holds a curve may bulge out of it.
        return points if self.metric.box is None else points.clamp(*points.new_tensor(self.metric.box).T)


# What a curve has of its own.
_OF_CURVES = [field.name for field in fields(Geodesics) if field.name not in ("metric", "refined")]


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
        graph = _graph(metric, starts, ends, box, grid_nodes, neighbours) if grid_starts else None
        options = {"box": box, "nodes": _QUADRATURE, "tolerance": tolerance, "max_iterations": max_iterations}
        parts = []
        batches = range(0, len(starts), batch_size)
        for k in tqdm(batches, desc="geodesics", disable=not progress):
            batch = slice(k, k + batch_size)
            paths = _solve(metric, starts[batch], ends[batch], points, graph, options)
            parts.append(_refine(paths, doublings, batch_size, options))
    return _join(parts)


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
    return grid_graph(metric, Grid(box, (nodes, nodes)), neighbours=neighbours, device=starts.device)


def _solve(
    metric: Metric,
    starts: Tensor,
    ends: Tensor,
    points: int,
    graph: GridGraph | None,
    options: dict[str, Any],
) -> Geodesics:
    coarse = min(points, _COARSE + 1)
    found = minimise(metric, *_line(metric, starts, ends, coarse), **options)
    from_grid = torch.zeros(len(starts), dtype=torch.bool, device=starts.device)
    if graph is not None:
        found, from_grid = _compete(metric, graph, found, options)
    if points > coarse:
        fine = minimise(metric, *_resample(found.points, found.tangents, points), **options)
        found = replace(fine, iterations=fine.iterations + found.iterations)
    found, length = _no_longer_than_lines(metric, found, options)
    return _certified(metric, found, length, from_grid, options["box"])


def _no_longer_than_lines(
    metric: Metric, found: Minimum, options: dict[str, Any]
) -> tuple[Minimum, Float[Tensor, "m"]]:
    """The curves with their lengths; where points are too few for the metric, the straight line may be shorter.

    Then Newton starts from that line; where this does not help either, the line itself stands, not converged.
    """
    starts, ends, points = found.points[:, 0], found.points[:, -1], found.points.shape[1]
    straight = _line(metric, starts, ends, points)
    limit = Curves.hermite(*straight).length(metric, nodes=_CHECK, strict=False)
    length = _length(metric, found, _CHECK)
    astray = length > (1 + 1e-12) * limit
    if bool(astray.any()):
        again = minimise(metric, *(part[astray] for part in straight), **options)
        found = found.replaced(astray, replace(again, iterations=again.iterations + found.iterations[astray]))
        length[astray] = _length(metric, again, _CHECK)
        worse = length > (1 + 1e-12) * limit
        given_up = replace(
            found.rows(torch.nonzero(worse)[:, 0]),
            points=straight[0][worse],
            tangents=straight[1][worse],
            converged=torch.zeros(int(worse.sum()), dtype=torch.bool, device=worse.device),
        )
        found, length = found.replaced(worse, given_up), torch.where(worse, limit, length)
    return found, length


def _compete(
    metric: Metric, graph: GridGraph, found: Minimum, options: dict[str, Any]
) -> tuple[Minimum, Bool[Tensor, "m"]]:
    """Solve from shortest paths on the grid where they go another way than the curves found; keep the shorter."""
    ends = (found.points[:, end].cpu().numpy() for end in (0, -1))
    route = torch.from_numpy(grid_paths(graph, *ends, count=found.points.shape[1])).to(found.points)
    steps = (route - found.points) / route.new_tensor(graph.grid.spacing)
    other = (steps.norm(dim=-1).amax(dim=1) > _SAME_VALLEY) | ~found.converged
    from_grid = torch.zeros_like(other)
    if bool(other.any()):
        rival = minimise(metric, *_with_tangents(route[other]), **options)
        # A tie goes to the straight line.
        shorter = _length(metric, rival) < (1 - 1e-9) * _length(metric, found)[other]
        from_grid[other] = shorter
        won = rival.rows(torch.nonzero(shorter)[:, 0])
        found = replace(
            found, iterations=found.iterations.index_add(0, torch.nonzero(other)[:, 0], rival.iterations)
        )
        iterations = found.iterations
        found = replace(found.replaced(from_grid, won), iterations=iterations)
    return found, from_grid


def _certified(
    metric: Metric,
    found: Minimum,
    length: Float[Tensor, "m"],
    from_grid: Bool[Tensor, "m"],
    box: Box | None,
) -> Geodesics:
    if not bool(torch.isfinite(length).all()):
        raise ValueError("the metric is negative or not finite along a curve: repair it first")
    _check_definite(metric, found)
    residual = geodesic_residual(metric, found.points, found.tangents)
    held = torch.zeros_like(found.points[..., 0], dtype=torch.bool)
    if box is not None:
        low, high = found.points.new_tensor(box).T
        held = ((found.points <= low) | (found.points >= high)).any(dim=-1)
        held[:, [0, -1]] = False
        residual = residual.masked_fill(held[:, :-2] | held[:, 1:-1] | held[:, 2:], 0.0)
    return Geodesics(
        points=found.points,
        tangents=found.tangents,
        length=length,
        energy=found.energy,
        converged=found.converged,
        iterations=found.iterations,
        residual=residual.amax(dim=1),
        minimal=found.minimal,
        from_grid=from_grid,
        held=held.sum(dim=1),
        segments=torch.full_like(found.iterations, found.points.shape[1] - 1),
        metric=metric,
    )


def _refine(paths: Geodesics, doublings: int, batch_size: int, options: dict[str, Any]) -> Geodesics:
    """Solve curves whose residual alone is above its tolerance again with twice the segments, up to so many times."""
    rows, rough = torch.arange(len(paths), device=paths.points.device), paths
    for doubling in range(1, doublings + 1):
        above = torch.nonzero(rough.converged & (rough.residual > RESIDUAL_TOLERANCE))[:, 0]
        if len(above) == 0:
            break
        # A batch holds as many segments as before.
        parts = [
            _doubled(_rows(rough, some), options) for some in above.split(max(1, batch_size >> doubling))
        ]
        fine = _join(parts)
        better = torch.nonzero(fine.length <= (1 + _MISJUDGED) * rough.length[above])[:, 0]
        rows, rough = rows[above[better]], _rows(fine, better)
        every, values = 2**doubling, {name: getattr(rough, name) for name in _OF_CURVES}
        values |= {"points": rough.points[:, ::every], "tangents": every * rough.tangents[:, ::every]}
        values = {name: getattr(paths, name).index_copy(0, rows, new) for name, new in values.items()}
        paths = replace(paths, **values, refined=(*paths.refined, (rows, rough.curves)))
    return paths


def _doubled(paths: Geodesics, options: dict[str, Any]) -> Geodesics:
    """The curves solved with twice the segments, from where they are."""
    finer = _resample(paths.points, paths.tangents, 2 * paths.points.shape[1] - 1)
    # A curve nearly solved takes two steps or three; one that takes many more is in no shape to be certified.
    limit = min(options["max_iterations"], _REFINING)
    found = minimise(paths.metric, *finer, **{**options, "max_iterations": limit})
    found = replace(found, iterations=found.iterations + paths.iterations)
    return _certified(
        paths.metric, found, _length(paths.metric, found, _CHECK), paths.from_grid, options["box"]
    )


def _rows(paths: Geodesics, index: Int[Tensor, "k"]) -> Geodesics:
    return replace(paths, **{name: getattr(paths, name)[index] for name in _OF_CURVES}, refined=())


def _check_definite(metric: Metric, found: Minimum) -> None:
    """Refuse curves along which squared lengths are positive but those of other directions are not."""
    curves = Curves.hermite(found.points, found.tangents)
    places = (
        torch.arange(curves.segments)[:, None] + gauss_legendre(_QUADRATURE)[0]
    ).flatten() / curves.segments
    g = metric(curves.at(places.to(found.points)))
    determinant, trace = torch.linalg.det(g), g.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    # A metric of lower rank has no shortest path of its own, but is no error: its curves do not converge.
    broken = ((determinant < -_SINGULAR * trace**2) | (trace < 0)).any(dim=1)
    if bool(broken.any()):
        raise ValueError(
            f"the metric is not positive definite along {int(broken.sum())} of {len(broken)} curves: repair it first"
        )


def _line(metric: Metric, starts: Tensor, ends: Tensor, points: int) -> PointsAndTangents:
    """The straight line at constant speed in the metric."""
    share = torch.linspace(0, 1, points, dtype=starts.dtype, device=starts.device)
    direction = (ends - starts)[:, None]
    line = Curves.polyline(starts[:, None] + share[:, None] * direction)
    place = starts[:, None] + line.equidistant(metric, points, nodes=_QUADRATURE)[..., None] * direction
    place[:, -1] = ends
    speed = torch.einsum(
        "mni,mnij,mnj->mn", direction.expand_as(place), metric(place), direction.expand_as(place)
    )
    speed = speed.clamp(min=0).sqrt()
    whole = line.length(metric, nodes=_QUADRATURE)[:, None]
    rate = torch.where(speed > 0, whole / torch.where(speed > 0, speed, 1.0), 0.0) / (points - 1)
    return place, rate[..., None] * direction


def _with_tangents(points: Float[Tensor, "m n 2"]) -> PointsAndTangents:
    inner = (points[:, 2:] - points[:, :-2]) / 2
    return points, torch.cat(
        [points[:, 1:2] - points[:, :1], inner, points[:, -1:] - points[:, -2:-1]], dim=1
    )


def _resample(
    points: Float[Tensor, "m n 2"], tangents: Float[Tensor, "m n 2"], count: int
) -> PointsAndTangents:
    """``count`` points at even steps of the parameter of the curves through points and tangents."""
    curves = Curves.hermite(points, tangents)
    s = torch.linspace(0, 1, count, dtype=points.dtype, device=points.device)
    place = curves.at(s)
    place[:, 0], place[:, -1] = points[:, 0], points[:, -1]
    return place, curves.velocity(s) / (count - 1)


def _length(metric: Metric, found: Minimum, nodes: int = _QUADRATURE) -> Float[Tensor, "m"]:
    return Curves.hermite(found.points, found.tangents).length(metric, nodes=nodes, strict=False)


def _join(parts: list[Geodesics]) -> Geodesics:
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in _OF_CURVES}
    refined, before = [], 0
    for part in parts:
        refined += [(rows + before, curves) for rows, curves in part.refined]
        before += len(part)
    return Geodesics(**joined, metric=parts[0].metric, refined=tuple(refined))
