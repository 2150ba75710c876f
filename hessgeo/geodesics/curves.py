"""Curves in any number of dimensions: length, energy, equidistant points and turning, in any metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.geodesics.mesh import Mesh
from hessgeo.metrics.base import Metric, as_metric
from hessgeo.numerics.quadrature import BLOCK, MEASURED, TOLERANCE, Integrals, gauss_legendre, integrate

MetricLike = Metric | Callable[[Tensor], Tensor]


CELLS = 160  # of a whole curve, at least, each of 15 nodes, before any is halved
_ROUNDING = 1e-12  # of a squared length or a determinant below zero that is none
_INVERSE = 8  # nodes of the length from the start of a cell to a place in it


@dataclass(frozen=True)
class Lengths:
    """Lengths of curves, measured to a stated error, and places along them.

    Attributes:
        length: of each curve; NaN where the metric is negative or not finite on it.
        error: estimate of its absolute error, from above.
        cells: that the lengths are sums over.
    """

    length: Float[Tensor, "m"]
    error: Float[Tensor, "m"]
    cells: Integrals


@dataclass(frozen=True)
class Curves:
    """Curves of piecewise polynomials, over ``s`` in [0, 1], all segments equally long in ``s``.

    Attributes:
        coefficients: of the powers ``r^0 ... r^p`` of the place ``r`` in [0, 1] within each segment.
    """

    coefficients: Float[Tensor, "m segment power d"]

    @classmethod
    def polyline(cls, points: Float[Tensor, "m n d"]) -> Curves:
        """Straight between the points.

        Raises:
            ValueError: if there are fewer than two.
        """
        if points.ndim != 3 or points.shape[1] < 2:
            raise ValueError(f"curves have shape {tuple(points.shape)}, must be (m, n, d) with n at least 2")
        return cls(torch.stack([points[:, :-1], points.diff(dim=1)], dim=2))

    @classmethod
    def hermite(cls, points: Float[Tensor, "m n d"], tangents: Float[Tensor, "m n d"]) -> Curves:
        """Cubic between the points, continuous with its first derivative.

        Args:
            points: ends of the segments.
            tangents: derivatives there, per segment: ``dx / ds / (n - 1)``.
        """
        step, first, last = points.diff(dim=1), tangents[:, :-1], tangents[:, 1:]
        powers = [points[:, :-1], first, 3 * step - 2 * first - last, first + last - 2 * step]
        return cls(torch.stack(powers, dim=2))

    @property
    def segments(self) -> int:
        """Number of segments of each curve."""
        return self.coefficients.shape[1]

    def at(self, s: Float[Tensor, "*m k"]) -> Float[Tensor, "m k d"]:
        """Points at ``s``, the same of all curves or ``(m, k)``."""
        return self._evaluate(*self._place(s), derivative=0)

    def velocity(self, s: Float[Tensor, "*m k"]) -> Float[Tensor, "m k d"]:
        """``dx / ds``."""
        return self.segments * self._evaluate(*self._place(s), derivative=1)

    def energy(self, metric: MetricLike, *, nodes: int = 4) -> Float[Tensor, "m"]:
        """``integral <x', g(x) x'> ds``: the squared length if the speed is constant, else more.

        Args:
            metric: positive semi-definite along the curves.
            nodes: of Gauss-Legendre quadrature in each segment; 1 is the midpoint rule.
        """
        speed, weights = self._speed_squared(metric, nodes)
        return self.segments * (speed * weights).sum(dim=(1, 2))

    def measure(
        self,
        metric: MetricLike,
        *,
        tolerance: float = TOLERANCE,
        cells: int = CELLS,
        definite: bool = False,
    ) -> Lengths:
        """``integral sqrt(<x', g(x) x'>) ds`` by adaptive quadrature, see ``quadrature.integrate``.

        A wall of the metric is found if one of the first nodes sees it: there are at least ``15 cells`` on a curve, so
        that what is narrower than about 1/1000 of it, in ``s``, may stay unseen.

        Args:
            metric: positive semi-definite along the curves.
            tolerance: of each length, relative.
            cells: of a whole curve to start with, at least.
            definite: whether a metric that is negative in any direction counts as none, or along the curve only.
        """
        mesh = Mesh.even(len(self.coefficients), self.segments, self.coefficients)
        pieces = self.coefficients.flatten(0, 1)
        return measure_pieces(pieces, mesh, metric, tolerance=tolerance, cells=cells, definite=definite)

    def length(
        self, metric: MetricLike, *, tolerance: float = TOLERANCE, strict: bool = True
    ) -> Float[Tensor, "m"]:
        """``integral sqrt(<x', g(x) x'>) ds``, measured as by ``measure``.

        Args:
            metric: positive semi-definite along the curves.
            tolerance: of each length, relative.
            strict: whether to refuse a curve along which the metric is negative or not finite, or call it infinite.

        Raises:
            ValueError: if ``strict`` and there is such a curve, or one whose length is not found to the tolerance.
        """
        found = self.measure(metric, tolerance=tolerance)
        if strict:
            _check_measured(found)
        return found.length.nan_to_num(torch.inf, torch.inf)

    def quick_length(self, metric: MetricLike, *, nodes: int) -> Float[Tensor, "m"]:
        """The length by so many fixed nodes in each segment, NaN where the metric is negative at one."""
        squared, weights = self._speed_squared(metric, nodes)
        return (squared.sqrt() * weights).sum(dim=(1, 2))

    def equidistant(
        self, metric: MetricLike, count: int, *, measured: Lengths | None = None
    ) -> Float[Tensor, "m count"]:
        """Places ``s`` of ``count`` points, ends included, between which the length along the curve is the same.

        Args:
            metric: positive semi-definite along the curves.
            count: of points.
            measured: what ``measure`` gave for the metric, if it has been asked already.

        Raises:
            ValueError: if ``count`` is below two, or the metric is negative or not finite along a curve.
        """
        if count < 2:
            raise ValueError(f"count is {count}; a curve has two ends")
        if measured is None:
            measured = self.measure(metric)
        if bool(measured.length.isnan().any()):
            raise ValueError("the metric is negative or not finite along a curve: repair it first")
        cells, pieces, metric = measured.cells, self.coefficients.flatten(0, 1), as_metric(metric)
        m, whole = len(self.coefficients), torch.where(measured.length > 0, measured.length, 1.0)
        curve = cells.piece // self.segments
        share = cells.part / whole[curve]
        ends = torch.cumsum(share, dim=0)
        last = torch.bincount(curve, minlength=m).cumsum(0)
        before = torch.cat([ends.new_zeros(1), ends])[torch.cat([last.new_zeros(1), last])]  # of whole curves
        wanted = torch.linspace(0, 1, count, dtype=ends.dtype, device=ends.device)[1:-1].expand(m, -1)
        target = before[:-1, None] + wanted * before.diff()[:, None]
        cell = torch.searchsorted(ends, target.contiguous())
        cell = torch.minimum(
            torch.maximum(cell, last[:, None] - last.diff(prepend=last.new_zeros(1))[:, None]),
            last[:, None] - 1,
        )
        missing = (target - (ends[cell] - share[cell])) * whole[:, None]
        u = _inverse(
            metric, pieces[cells.piece[cell]], cells.start[cell], cells.width[cell], cells.part[cell], missing
        )
        r = cells.start[cell] + u * cells.width[cell]
        s = ((cells.piece[cell] % self.segments) + r) / self.segments
        edge = s.new_zeros(m, 1)
        return torch.cat([edge, s.clamp(0, 1), edge + 1], dim=1)

    def _place(self, s: Tensor) -> tuple[Tensor, Tensor]:
        place = (s * self.segments).expand(len(self.coefficients), -1)
        segment = place.floor().long().clamp(0, self.segments - 1)
        return segment, place - segment

    def _evaluate(self, segment: Tensor, r: Tensor, *, derivative: int) -> Float[Tensor, "m k d"]:
        rows = torch.arange(len(segment), device=segment.device)[:, None]
        return _horner(self.coefficients[rows, segment], r, derivative)

    def _speed_squared(self, metric: MetricLike, nodes: int) -> tuple[Tensor, Tensor]:
        """``<dx/dr, g dx/dr>`` at the quadrature nodes of every segment, and their weights."""
        r, weights = (v.to(self.coefficients) for v in gauss_legendre(nodes))
        pieces = self.coefficients[:, :, None]
        position, velocity = _horner(pieces, r, 0), _horner(pieces, r, 1)
        g = as_metric(metric)(position)
        return torch.einsum("...i,...ij,...j->...", velocity, g, velocity), weights


def hermite_pieces(
    points: Float[Tensor, "p d"], tangents: Float[Tensor, "s 2 d"], mesh: Mesh
) -> Float[Tensor, "s 4 d"]:
    """Coefficients of the powers of the cubics between the points of curves of any mesh."""
    first, step = points[mesh.first], points[mesh.first + 1] - points[mesh.first]
    before, after = tangents.unbind(1)
    return torch.stack([first, before, 3 * step - 2 * before - after, before + after - 2 * step], dim=1)


def measure_pieces(
    pieces: Float[Tensor, "s power d"],
    mesh: Mesh,
    metric: MetricLike,
    *,
    tolerance: float = TOLERANCE,
    cells: int = CELLS,
    definite: bool = True,
) -> Lengths:
    """Lengths of curves of any mesh, see ``Curves.measure``."""
    metric = as_metric(metric)

    def rate(piece: Tensor, r: Tensor) -> Tensor:
        own = pieces[piece][:, None]
        return _speed(metric, _horner(own, r, 0), _horner(own, r, 1), definite)

    found = integrate(
        rate,
        mesh.curve,
        mesh.count,
        cells=-(-cells // int(mesh.segments.min())),
        tolerance=tolerance,
        block=max(15, 4 * BLOCK // max(4, pieces.shape[-1] ** 2)),
        like=pieces,
    )
    return Lengths(found.value, found.error, found)


def subdivided(points: Float[Tensor, "m n d"], step: float | Sequence[float]) -> Float[Tensor, "m k d"]:
    """The same polylines with vertices added, so that no segment is longer than ``step``.

    Quadrature along a segment sees no more of the metric than its nodes: what a long segment passes over between them
    is missing from its length.

    Args:
        points: vertices.
        step: longest distance of neighbours, the scale on which the metric changes; or one for each axis, such as the
            spacing of a grid, in which distances then count.

    Raises:
        ValueError: if ``step`` is not positive.
    """
    steps = points.new_tensor(step)
    if not bool((steps > 0).all()):
        raise ValueError(f"step is {step}, must be positive")
    apart = points.diff(dim=1)
    lengths = (apart / steps).norm(dim=-1)
    reached = torch.nn.functional.pad(lengths.cumsum(dim=1), (1, 0))
    count = max(1, math.ceil(float(reached[:, -1].max())))
    places = torch.linspace(0, 1, count + 1, dtype=points.dtype, device=points.device)[1:-1]
    added = places * reached[:, -1:]
    segment = torch.searchsorted(reached[:, 1:].contiguous(), added).clamp(max=points.shape[1] - 2)
    whole = lengths.gather(1, segment)
    share = torch.where(
        whole > 0, (added - reached.gather(1, segment)) / torch.where(whole > 0, whole, 1.0), 0.0
    )
    rows = torch.arange(len(points), device=points.device)[:, None]
    between = points[rows, segment] + share[..., None] * apart[rows, segment]
    order = torch.cat([reached, added], dim=1).argsort(dim=1, stable=True)
    return torch.cat([points, between], dim=1)[rows, order]


def length(
    points: Float[Tensor, "m n d"],
    metric: MetricLike,
    *,
    tolerance: float = TOLERANCE,
    nodes: int | None = None,
) -> Float[Tensor, "m"]:
    """Length of polylines, ``sum_k integral sqrt(<d_k, g d_k>)``, by adaptive quadrature.

    Args:
        points: of each curve.
        metric: positive semi-definite along the curves.
        tolerance: of each length, relative.
        nodes: of Gauss-Legendre quadrature in each segment instead, where what lies between them is known.

    Raises:
        ValueError: if a curve has fewer than two points, the metric is negative along one, or the tolerance is not met.
    """
    curves = Curves.polyline(points)
    if nodes is None:
        return curves.length(metric, tolerance=tolerance)
    return curves.quick_length(metric, nodes=nodes)


def turning_angles(points: Float[Tensor, "m n d"]) -> Float[Tensor, "m n-2"]:
    """Angle in [0, pi] between neighbouring segments, in the Euclidean space of the parameters.

    A segment without length has no direction: the angles beside it are zero.
    """
    steps = points.diff(dim=1)
    before, after = steps[:, :-1], steps[:, 1:]
    along = (before * after).sum(-1)
    if points.shape[-1] == 2:
        cross = (before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]).abs()
    else:
        square = before.square().sum(-1, keepdim=True)
        across = after - before * (along[..., None] / torch.where(square > 0, square, 1.0))
        cross = across.norm(dim=-1) * square[..., 0].sqrt()
    return torch.atan2(cross, along)


def curvature(points: Float[Tensor, "m n d"]) -> Float[Tensor, "m"]:
    """Mean turning angle per unit of Euclidean length, ``sum_k angle_k / sum_k |d_k|``: radians per unit of ``t``.

    For a smooth curve its absolute curvature, averaged over the length, with an error of second order in the step.
    Zero for a curve without length.

    Raises:
        ValueError: if a curve has fewer than three points.
    """
    if points.shape[1] < 3:
        raise ValueError(f"curves of {points.shape[1]} points do not turn; at least 3")
    whole = points.diff(dim=1).norm(dim=-1).sum(dim=1)
    return torch.where(whole > 0, turning_angles(points).sum(dim=1) / torch.where(whole > 0, whole, 1.0), 0.0)


def _horner(
    coefficients: Float[Tensor, "*batch power d"], r: Float[Tensor, "*batch"], derivative: int
) -> Tensor:
    powers = coefficients.shape[-2]
    factors = [p if derivative else 1 for p in range(derivative, powers)]
    value = torch.zeros_like(coefficients[..., 0, :] * r[..., None])
    for p, factor in reversed(list(zip(range(derivative, powers), factors, strict=True))):
        value = value * r[..., None] + factor * coefficients[..., p, :]
    return value


def _speed(metric: Metric, position: Tensor, velocity: Tensor, definite: bool) -> Tensor:
    """``sqrt(<v, g v>)``; NaN where the metric is negative along ``v``, or in any direction if it must be definite."""
    g = metric(position)
    if g.shape[-1] != 2:
        terms = velocity[..., :, None] * g * velocity[..., None, :]
        squared = terms.sum(dim=(-2, -1))
        broken = squared < -_ROUNDING * terms.abs().sum(dim=(-2, -1))
        if definite:
            broken |= torch.linalg.cholesky_ex(g)[1] != 0
        return squared.clamp(min=0).sqrt().masked_fill(broken, torch.nan)
    aa, ab, bb = g[..., 0, 0], g[..., 0, 1], g[..., 1, 1]
    a, b = velocity[..., 0], velocity[..., 1]
    straight, crossed = aa * a * a + bb * b * b, 2 * ab * a * b
    squared = straight + crossed
    broken = squared < -_ROUNDING * (straight.abs() + crossed.abs())
    if definite:
        broken |= ab.abs() > (1 + _ROUNDING) * aa.sqrt() * bb.sqrt()
        broken |= torch.minimum(aa, bb) < 0
    return squared.clamp(min=0).sqrt().masked_fill(broken, torch.nan)


def _inverse(
    metric: Metric, pieces: Tensor, start: Tensor, width: Tensor, part: Tensor, missing: Tensor
) -> Float[Tensor, "m k"]:
    """The share of a cell up to which the length is ``missing``: Newton's method inside a shrinking bracket."""
    nodes, weights = (v.to(start) for v in gauss_legendre(_INVERSE))
    u = torch.where(part > 0, missing / torch.where(part > 0, part, 1.0), 0.0).clamp(0, 1)
    low, high = torch.zeros_like(u), torch.ones_like(u)
    for _ in range(30):
        r = start[..., None] + (width * u)[..., None] * nodes
        speed = _speed(
            metric, _horner(pieces[..., None, :, :], r, 0), _horner(pieces[..., None, :, :], r, 1), False
        )
        excess = width * u * (speed @ weights) - missing
        if bool((excess.abs() <= 1e-10 * part).all()):
            break
        low, high = torch.where(excess < 0, u, low), torch.where(excess > 0, u, high)
        r = start + width * u
        rate = width * _speed(metric, _horner(pieces, r, 0), _horner(pieces, r, 1), False)
        newton = u - excess / torch.where(rate > 0, rate, 1.0)
        inside = (newton >= low) & (newton <= high)
        u = torch.where(excess == 0, u, torch.where(inside, newton, (low + high) / 2))
    return u


def _check_measured(found: Lengths) -> None:
    if bool(found.length.isnan().any()):
        raise ValueError("the metric is negative or not finite along a curve: repair it first")
    missed = found.error > MEASURED * found.length
    if bool(missed.any()):
        worst = float((found.error / found.length)[missed].max())
        raise ValueError(
            f"the lengths of {int(missed.sum())} of {len(missed)} curves are known to {worst:.1e} of themselves only, "
            f"must be {MEASURED:g}: the metric is singular or broken along them"
        )
