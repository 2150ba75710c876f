"""What the solver returns: shortest paths found, with what certifies each."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from math import isinf, isnan
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hessgeo.geodesics.curves import Curves
from hessgeo.metrics.base import Metric
from hessgeo.numerics.quadrature import MEASURED

RESIDUAL_TOLERANCE = 1e-2  # rad over its length: what a certified curve may miss the geodesic equation by
JUDGED = 1e-3  # of a length: what the solver's own quadrature may miss of it on a certified curve
TOLD = 0.1  # of a length: what the distance over a grid may be wrong by on a certified curve


@dataclass(frozen=True)
class Geodesics:
    """Shortest paths found, with what certifies each.

    Attributes:
        points: of each curve, ends included; the metric distance between neighbours is the same up to the curve's own
            error (a minimum of the energy has constant speed).
        tangents: derivatives at the points, per segment (``dx / ds / (n - 1)``): with the points a cubic Hermite
            spline.
        length: of that spline, or of the refined one, by adaptive quadrature with nodes of its own: of a curve that
            exists, so not less than the distance, and not more than that of the straight line; NaN for a pair that
            failed.
        length_error: estimate of its absolute error, from above.
        energy: ``integral <x', g x'> ds`` as the solver sees it, with few nodes a segment: the squared length up to the
            unevenness of the speed, and what these nodes miss.
        converged: whether Newton's method reached its tolerance: the curve is the best of its number of segments, which
            may be too few.
        decrement: last one of Newton's method, relative to the energy, which converged at ``tolerance``; NaN of a curve
            that was known before, and that the method made no shorter.
        iterations: Newton steps, over all resolutions.
        residual: of the geodesic equation, ``max_k L |D_s x'| / |x'|^2`` over the points: how far the tangent turns, in
            radians over the whole length, relative to one that is parallel. Points that the box holds are left out, as
            are those whose difference reads one: two neighbours on either side.
        minimal: whether the second variation is positive definite, so that no nearby curve is shorter (Jacobi).
        from_grid: whether the start from the shortest path on the grid won over the straight line at low resolution.
        held: number of points that the box holds on its edge; a curve that has some is a shortest path within the box.
        segments: that each curve was solved with; more than ``points - 1`` where it was refined.
        refined: rows, and the curves of these rows in all their segments, of which ``points`` keeps the ends of those
            that they had before; a later entry stands for an earlier one of the same row.
        distance: between the ends over a grid, of the shortest way through any of its valleys (``eikonal.Valleys``):
            an estimate. NaN where none was made (``valleys`` of ``solve.geodesics``), infinite where no way leads.
        distance_error: of it, as two grids tell, and what the finer one misses of this curve's own length.
        metric: in which they are.
        tolerance: of the decrement.
        failures: why pairs failed, by their rows.
    """

    points: Float[Tensor, "m n d"]
    tangents: Float[Tensor, "m n d"]
    length: Float[Tensor, "m"]
    length_error: Float[Tensor, "m"]
    energy: Float[Tensor, "m"]
    converged: Bool[Tensor, "m"]
    decrement: Float[Tensor, "m"]
    iterations: Int[Tensor, "m"]
    residual: Float[Tensor, "m"]
    minimal: Bool[Tensor, "m"]
    from_grid: Bool[Tensor, "m"]
    held: Int[Tensor, "m"]
    segments: Int[Tensor, "m"]
    distance: Float[Tensor, "m"]
    distance_error: Float[Tensor, "m"]
    metric: Metric
    tolerance: float
    refined: tuple[tuple[Int[Tensor, "k"], Curves], ...] = ()
    failures: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of curves."""
        return len(self.points)

    @property
    def failed(self) -> Bool[Tensor, "m"]:
        """Pairs without a curve along which the metric is positive definite; ``failures`` says why."""
        return self.length.isnan()

    @property
    def measured(self) -> Bool[Tensor, "m"]:
        """Whether a length is known to ``MEASURED`` of itself, and the solver saw the metric that it measures.

        Where nodes of the solver's quadrature pass over a wall, its energy is not the squared length: the curve may be
        far from the shortest one, however well it converged.
        """
        missed = (self.energy.clamp(min=0).sqrt() - self.length).abs()
        return (self.length_error <= MEASURED * self.length) & (missed <= JUDGED * self.length)

    @property
    def undercut(self) -> Bool[Tensor, "m"]:
        """Whether the distance over the grid is shorter than the curve by more than its error."""
        return self.length > self.distance + self.distance_error

    @property
    def vague(self) -> Bool[Tensor, "m"]:
        """Whether the error of the distance over the grid is above ``TOLD`` of the length, too much to certify by."""
        return self.distance_error > TOLD * self.length

    @property
    def certified(self) -> Bool[Tensor, "m"]:
        """Whether a curve is a geodesic, its length is measured, and no other is shorter, each to its tolerance.

        It converged, is minimal, its residual is at most ``RESIDUAL_TOLERANCE``, it is ``measured``, and neither
        ``undercut`` nor ``vague``: no valley of the metric as the nodes of a grid have it is shorter by more than
        ``distance_error``, which is at most ``TOLD`` of the length.
        Not certified is that none is shorter by less, nor that there is none too narrow for the grid, nor what is too
        narrow for the quadrature to see (see ``Curves.measure``). Where there is no ``distance``, other valleys were
        not judged.
        """
        return (
            self.converged
            & self.minimal
            & (self.residual <= RESIDUAL_TOLERANCE)
            & self.measured
            & ~self.undercut
            & ~self.vague
        )

    def reasons(self) -> list[str | None]:
        """Of each curve why it is not ``certified``, in words; None of one that is."""
        certified = self.certified.tolist()
        return [None if certified[row] else self._reason(row) for row in range(len(self))]

    def _reason(self, row: int) -> str:
        if row in self.failures:
            return self.failures[row]
        length, error, residual, decrement = (
            float(values[row]) for values in (self.length, self.length_error, self.residual, self.decrement)
        )
        missed = abs(max(float(self.energy[row]), 0.0) ** 0.5 - length)
        stands = f"Newton's decrement is {decrement:.1e} of the energy, above {self.tolerance:.1e}"
        judged = (
            (bool(self.converged[row]), "Newton's method made it no shorter" if isnan(decrement) else stands),
            (bool(self.minimal[row]), "a direction lowers the energy: it is no minimum"),
            (
                residual <= RESIDUAL_TOLERANCE,
                f"the residual of the geodesic equation is {residual:.2g} rad, allowed {RESIDUAL_TOLERANCE:g}",
            ),
            (error <= MEASURED * length, f"its length {length:.6g} is known to {error:.1e} only"),
            (missed <= JUDGED * length, f"the solver misjudges its length {length:.6g} by {missed:.1e}"),
            (not bool(self.undercut[row]), self._shorter(row)),
            (not bool(self.vague[row]), self._untold(row)),
        )
        return "; ".join(words for good, words in judged if not good)

    def _shorter(self, row: int) -> str:
        distance, error = float(self.distance[row]), float(self.distance_error[row])
        return f"over the grid the distance is {distance:.6g}, known to {error:.1e}: another valley may be shorter"

    def _untold(self, row: int) -> str:
        if isinf(float(self.distance[row])):
            return (
                "over the grid no way leads from end to end: whether another valley is shorter is not known"
            )
        share = float(self.distance_error[row] / self.length[row])
        return (
            f"over the grid the distance is known to {share:.0%} of its length, allowed {TOLD:.0%}:"
            " whether another valley is shorter is not known"
        )

    @property
    def curves(self) -> Curves:
        """The curves between the points, too; for those that were refined see ``refined``."""
        return Curves.hermite(self.points, self.tangents)

    def equidistant(self, count: int) -> Float[Tensor, "m count d"]:
        """``count`` points along each curve, ends included, equidistant in the metric, and in its box.

        NaN for pairs that failed.
        """
        points = self.points.new_full((len(self), count, 2), torch.nan)
        every = torch.arange(len(self), device=points.device)
        for rows, curves in ((every, self.curves), *self.refined):
            kept = ~self.failed[rows]
            some = Curves(curves.coefficients[kept])
            if bool(kept.any()):
                points[rows[kept]] = some.at(some.equidistant(self.metric, count))
        # Between points that the box holds a curve may bulge out of it.
        return points if self.metric.box is None else points.clamp(*points.new_tensor(self.metric.box).T)

    def rows(self, index: Int[Tensor, "k"]) -> Geodesics:
        """Some of the curves, without their refinement."""
        failures = {k: self.failures[row] for k, row in enumerate(index.tolist()) if row in self.failures}
        picked = {name: getattr(self, name)[index] for name in OF_CURVES}
        return replace(self, **picked, refined=(), failures=failures)

    def among(self, count: int, refused: dict[int, str]) -> Geodesics:
        """The curves in their order among ``count`` pairs, of which those ``refused`` failed for these reasons."""
        kept = [row for row in range(count) if row not in refused]
        rows = torch.tensor(kept, device=self.points.device)
        values: dict[str, Any] = {}
        for name in OF_CURVES:
            own = getattr(self, name)
            values[name] = own.new_full(
                (count, *own.shape[1:]), torch.nan if own.is_floating_point() else 0
            ).index_copy(0, rows, own)
        refined = tuple((rows[some], curves) for some, curves in self.refined)
        failures = refused | {kept[row]: words for row, words in self.failures.items()}
        return replace(self, **values, refined=refined, failures=failures)


# What a curve has of its own.
OF_CURVES = [
    one.name for one in fields(Geodesics) if one.name not in ("metric", "tolerance", "refined", "failures")
]


def join(parts: list[Geodesics]) -> Geodesics:
    """Batches one after another."""
    joined: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in OF_CURVES}
    refined, before = [], 0
    failures: dict[int, str] = {}
    for part in parts:
        refined += [(rows + before, curves) for rows, curves in part.refined]
        failures |= {row + before: words for row, words in part.failures.items()}
        before += len(part)
    return replace(parts[0], **joined, refined=tuple(refined), failures=failures)
