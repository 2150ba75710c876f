"""Curves in the plane: length, energy, equidistant points and turning, in any metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.metrics.base import Metric, as_metric

MetricLike = Metric | Callable[[Tensor], Tensor]
Gradient = Callable[[Tensor], Tensor]


@cache
def gauss_legendre(nodes: int) -> tuple[Float[Tensor, "q"], Float[Tensor, "q"]]:
    """Nodes and weights on [0, 1], exact to polynomials of degree ``2 nodes - 1``."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return torch.from_numpy((x + 1) / 2), torch.from_numpy(w / 2)


@dataclass(frozen=True)
class Curves:
    """Curves of piecewise polynomials, over ``s`` in [0, 1], all segments equally long in ``s``.

    Attributes:
        coefficients: of the powers ``r^0 ... r^p`` of the place ``r`` in [0, 1] within each segment.
    """

    coefficients: Float[Tensor, "m segment power 2"]

    @classmethod
    def polyline(cls, points: Float[Tensor, "m n 2"]) -> Curves:
        """Straight between the points.

        Raises:
            ValueError: if there are fewer than two.
        """
        if points.ndim != 3 or points.shape[1] < 2 or points.shape[2] != 2:
            raise ValueError(f"curves have shape {tuple(points.shape)}, must be (m, n, 2) with n at least 2")
        return cls(torch.stack([points[:, :-1], points.diff(dim=1)], dim=2))

    @classmethod
    def hermite(cls, points: Float[Tensor, "m n 2"], tangents: Float[Tensor, "m n 2"]) -> Curves:
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

    def at(self, s: Float[Tensor, "*m k"]) -> Float[Tensor, "m k 2"]:
        """Points at ``s``, the same of all curves or ``(m, k)``."""
        return self._evaluate(*self._place(s), derivative=0)

    def velocity(self, s: Float[Tensor, "*m k"]) -> Float[Tensor, "m k 2"]:
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

    def length(self, metric: MetricLike, *, nodes: int = 8, strict: bool = True) -> Float[Tensor, "m"]:
        """``integral sqrt(<x', g(x) x'>) ds``.

        Args:
            metric: positive semi-definite along the curves.
            nodes: of Gauss-Legendre quadrature in each segment.
            strict: whether to refuse a curve along which the metric is negative or not finite, or call it infinite.

        Raises:
            ValueError: if ``strict`` and there is such a curve.
        """
        squared, weights = self._speed_squared(metric, nodes)
        if not strict:
            squared = torch.where(squared >= 0, squared, torch.inf)  # what is not a number is not
        return (_root(squared) * weights).sum(dim=(1, 2))

    def equidistant(self, metric: MetricLike, count: int, *, nodes: int = 8) -> Float[Tensor, "m count"]:
        """Places ``s`` of ``count`` points, ends included, between which the length along the curve is the same.

        Raises:
            ValueError: if ``count`` is below two.
        """
        if count < 2:
            raise ValueError(f"count is {count}; a curve has two ends")
        ends = torch.cumsum(self._segment_lengths(metric, nodes), dim=1)
        reached = torch.cat([torch.zeros_like(ends[:, :1]), ends], dim=1)
        target = torch.linspace(0, 1, count, dtype=ends.dtype, device=ends.device) * reached[:, -1:]
        segment = torch.searchsorted(ends, target.contiguous()).clamp(max=self.segments - 1)
        missing = target - reached.gather(1, segment)
        whole = ends.diff(dim=1, prepend=torch.zeros_like(ends[:, :1])).gather(1, segment)
        r = torch.where(whole > 0, missing / torch.where(whole > 0, whole, 1.0), torch.zeros_like(whole))
        low, high = torch.zeros_like(r), torch.ones_like(r)
        for _ in range(30):  # Newton on the length within the segment, kept inside a shrinking bracket
            excess = self._partial_length(metric, segment, r, nodes) - missing
            low, high = torch.where(excess < 0, r, low), torch.where(excess > 0, r, high)
            speed = self._segment_speed(metric, segment, r)
            newton = r - excess / torch.where(speed > 0, speed, 1.0)
            inside = (newton >= low) & (newton <= high)
            r = torch.where(excess == 0, r, torch.where(inside, newton, (low + high) / 2))
            if bool((excess.abs() <= 1e-10 * reached[:, -1:]).all()):
                break
        return ((segment + r) / self.segments).clamp(0, 1)

    def _place(self, s: Tensor) -> tuple[Tensor, Tensor]:
        place = (s * self.segments).expand(len(self.coefficients), -1)
        segment = place.floor().long().clamp(0, self.segments - 1)
        return segment, place - segment

    def _evaluate(self, segment: Tensor, r: Tensor, *, derivative: int) -> Float[Tensor, "m k 2"]:
        rows = torch.arange(len(segment), device=segment.device)[:, None]
        return _horner(self.coefficients[rows, segment], r, derivative)

    def _speed_squared(self, metric: MetricLike, nodes: int) -> tuple[Tensor, Tensor]:
        """``<dx/dr, g dx/dr>`` at the quadrature nodes of every segment, and their weights."""
        r, weights = (v.to(self.coefficients) for v in gauss_legendre(nodes))
        pieces = self.coefficients[:, :, None]
        position, velocity = _horner(pieces, r, 0), _horner(pieces, r, 1)
        return _squared_norm(metric, position, velocity), weights

    def _segment_lengths(self, metric: MetricLike, nodes: int) -> Float[Tensor, "m segment"]:
        squared, weights = self._speed_squared(metric, nodes)
        return (_root(squared) * weights).sum(dim=2)

    def _segment_speed(self, metric: MetricLike, segment: Tensor, r: Tensor) -> Float[Tensor, "m k"]:
        position = self._evaluate(segment, r, derivative=0)
        return _root(_squared_norm(metric, position, self._evaluate(segment, r, derivative=1)))

    def _partial_length(
        self, metric: MetricLike, segment: Tensor, r: Tensor, nodes: int
    ) -> Float[Tensor, "m k"]:
        """Length from the start of a segment to ``r``."""
        places, weights = (v.to(r) for v in gauss_legendre(nodes))
        spread = (r[..., None] * places).flatten(1)
        speed = self._segment_speed(metric, segment.repeat_interleave(nodes, dim=1), spread)
        return r * (speed.unflatten(1, (-1, nodes)) * weights).sum(-1)


def subdivided(points: Float[Tensor, "m n 2"], step: float) -> Float[Tensor, "m k 2"]:
    """The same polylines with vertices added, so that no segment is longer than ``step``.

    Quadrature along a segment sees no more of the metric than its nodes: what a long segment passes over between them
    is missing from its length.

    Args:
        points: vertices.
        step: longest distance of neighbours in the plane; the scale on which the metric changes.

    Raises:
        ValueError: if ``step`` is not positive.
    """
    if not step > 0:
        raise ValueError(f"step is {step}, must be positive")
    apart = points.diff(dim=1)
    lengths = apart.norm(dim=-1)
    reached = torch.nn.functional.pad(lengths.cumsum(dim=1), (1, 0))
    count = max(1, math.ceil(float(reached[:, -1].max()) / step))
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


def length(points: Float[Tensor, "m n 2"], metric: MetricLike, *, nodes: int = 8) -> Float[Tensor, "m"]:
    """Length of polylines, ``sum_k integral sqrt(<d_k, g d_k>)``, by ``nodes`` Gauss-Legendre nodes a segment.

    Raises:
        ValueError: if a curve has fewer than two points, or the metric is negative along one.
    """
    return Curves.polyline(points).length(metric, nodes=nodes)


def energy(points: Float[Tensor, "m n 2"], metric: MetricLike, *, nodes: int = 1) -> Float[Tensor, "m"]:
    """Energy of polylines, ``(n - 1) sum_k <d_k, g d_k>``; at the midpoints of segments, or by quadrature.

    At the minimum, where the speed is constant, the squared length.

    Raises:
        ValueError: if a curve has fewer than two points.
    """
    return Curves.polyline(points).energy(metric, nodes=nodes)


def symmetrised_kl_energy(points: Float[Tensor, "m n 2"], gradient: Gradient) -> Float[Tensor, "m"]:
    """Energy of polylines in a Hessian metric, from the gradient of its potential alone.

    For ``g = grad^2 F`` the sum of symmetrised KL divergences between neighbours,
    ``(n - 1) sum_k <t_{k+1} - t_k, grad F(t_{k+1}) - grad F(t_k)>``, is the energy of the polyline exactly, the metric
    averaged over each segment: no Hessian is needed, and no quadrature.

    Args:
        points: of each curve in parameter units, endpoints included.
        gradient: ``t -> grad F(t)``, the same leading shape; ``F`` must be convex on the curve.

    Returns:
        Energy of each curve, in nats. Non-negative if ``F`` is convex.

    Raises:
        ValueError: if a curve has fewer than two points.
    """
    steps = Curves.polyline(points).coefficients[:, :, 1]
    return steps.shape[1] * (steps * gradient(points).diff(dim=1)).sum(dim=(1, 2))


def equidistant(points: Float[Tensor, "m n 2"], metric: MetricLike, count: int) -> Float[Tensor, "m count 2"]:
    """``count`` points along polylines, the ends included, with the same length of curve between neighbours.

    Raises:
        ValueError: if ``count`` is below two, or the metric is negative along a curve.
    """
    curves = Curves.polyline(points)
    return curves.at(curves.equidistant(metric, count))


def turning_angles(points: Float[Tensor, "m n 2"]) -> Float[Tensor, "m n-2"]:
    """Angle in [0, pi] between neighbouring segments, in the Euclidean plane of the parameters.

    A segment without length has no direction: the angles beside it are zero.
    """
    steps = points.diff(dim=1)
    before, after = steps[:, :-1], steps[:, 1:]
    cross = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
    return torch.atan2(cross.abs(), (before * after).sum(-1))


def curvature(points: Float[Tensor, "m n 2"]) -> Float[Tensor, "m"]:
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
    coefficients: Float[Tensor, "*batch power 2"], r: Float[Tensor, "*batch"], derivative: int
) -> Tensor:
    powers = coefficients.shape[-2]
    factors = [p if derivative else 1 for p in range(derivative, powers)]
    value = torch.zeros_like(coefficients[..., 0, :] * r[..., None])
    for p, factor in reversed(list(zip(range(derivative, powers), factors, strict=True))):
        value = value * r[..., None] + factor * coefficients[..., p, :]
    return value


def _squared_norm(metric: MetricLike, position: Tensor, velocity: Tensor) -> Tensor:
    return torch.einsum("...i,...ij,...j->...", velocity, as_metric(metric)(position), velocity)


def _root(squared: Tensor) -> Tensor:
    # A rounding below zero is a zero; more means that there is no length.
    if not bool(
        (squared >= -1e-12 * squared.abs().amax(dim=tuple(range(1, squared.ndim)), keepdim=True)).all()
    ):
        raise ValueError("the metric is negative or not finite along a curve: repair it first")
    return squared.clamp(min=0).sqrt()
