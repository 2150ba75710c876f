"""Solve curves again with more segments where they need them, and nowhere else.

A segment is halved where the residual of the geodesic equation at one of its ends is above its tolerance, or where the
solver's few nodes misjudge its energy. Neighbours differ by a factor of two in width at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hessgeo.geodesics.candidates import Options
from hessgeo.geodesics.curves import Curves, hermite_pieces, measure_pieces
from hessgeo.geodesics.mesh import Mesh
from hessgeo.geodesics.newton import Descent, descend
from hessgeo.geodesics.residual import mesh_residual
from hessgeo.geodesics.result import RESIDUAL_TOLERANCE, Geodesics
from hessgeo.geodesics.segments import CurveState, energy
from hessgeo.metrics.base import Box, Metric

_MOST = 20_000  # segments of one curve
_STEPS = 30  # Newton steps each time; a curve nearly solved takes two or three
_ROUNDING = 1e-8  # of a length, relative: what a finer curve may be longer by
_MISSED = 1e-5  # of a curve's energy: what the solver's nodes may miss of it in one segment
_FINER = 4  # nodes more by which that is seen


@dataclass(frozen=True)
class _Fine:
    """Curves on a mesh of their own.

    Attributes:
        mesh: of the curves.
        points, velocity: of each curve, ``dx / ds``.
        base: points that the curve had before any segment was halved.
        rough: segments to halve next.
    """

    mesh: Mesh
    points: Float[Tensor, "p d"]
    velocity: Float[Tensor, "p d"]
    base: Bool[Tensor, "p"]
    rough: Bool[Tensor, "s"]

    @property
    def tangents(self) -> Float[Tensor, "s 2 d"]:
        """Derivatives at both ends of every segment, by its own parameter."""
        ends = torch.stack([self.velocity[self.mesh.first], self.velocity[self.mesh.first + 1]], dim=1)
        return self.mesh.width[:, None, None] * ends

    def kept(self, curves: Bool[Tensor, "m"]) -> _Fine:
        """Some of the curves."""
        mesh, segments, points = self.mesh.kept(curves)
        return _Fine(
            mesh, self.points[points], self.velocity[points], self.base[points], self.rough[segments]
        )


def adapted(paths: Geodesics, levels: int, options: Options) -> Geodesics:
    """Halve segments of curves that are not certified for want of them, up to so many times.

    What counts is the length as measured: a curve is kept if it is no longer than the one before.
    """
    rows = torch.nonzero(_wanting(paths))[:, 0]
    if levels == 0 or len(rows) == 0:
        return paths
    metric, fine = paths.metric, _Fine(*_started(paths, rows))
    fine = replace(fine, rough=_rough(metric, fine, options)[0])
    for _ in range(levels):
        some = fine.mesh.total(fine.rough.to(fine.points)) > 0
        some &= fine.mesh.segments <= _MOST
        if not bool(some.any()):
            break
        rows, fine = rows[some], _halved(fine.kept(some))
        steps = min(options.max_iterations, _STEPS)
        solver: dict[str, Any] = {"box": options.box, "nodes": options.nodes, "tolerance": options.tolerance}
        state = CurveState(fine.points, fine.tangents)
        found = descend(metric, fine.mesh, state, max_iterations=steps, **solver)
        fine = replace(fine, points=found.points, velocity=found.velocity)
        rough, residual, held = _rough(metric, fine, options)
        fine = replace(fine, rough=rough)
        pieces = hermite_pieces(fine.points, fine.tangents, fine.mesh)
        measured = measure_pieces(pieces, fine.mesh, metric)
        better = measured.length <= (1 + _ROUNDING) * paths.length[rows]
        paths = _kept(
            paths, rows, better, fine, pieces, found, (measured.length, measured.error, residual, held)
        )
        if not bool(better.any()):
            break
        rows, fine = rows[better], fine.kept(better)
    return paths


def _wanting(paths: Geodesics) -> Bool[Tensor, "m"]:
    # What does not converge on segments that do not resolve the metric may do so on those that do.
    return (~paths.converged | (paths.residual > RESIDUAL_TOLERANCE) | ~paths.measured) & ~paths.failed


def _started(paths: Geodesics, rows: Int[Tensor, "k"]) -> tuple[Mesh, Tensor, Tensor, Tensor, Tensor]:
    points, n = paths.points[rows], paths.points.shape[1]
    mesh = Mesh.even(len(rows), n - 1, points)
    velocity = ((n - 1) * paths.tangents[rows]).flatten(0, 1)
    base = torch.ones(len(rows) * n, dtype=torch.bool, device=points.device)
    return mesh, points.flatten(0, 1), velocity, base, torch.zeros_like(mesh.curve, dtype=torch.bool)


def _rough(
    metric: Metric, fine: _Fine, options: Options
) -> tuple[Bool[Tensor, "s"], Float[Tensor, "m"], Int[Tensor, "m"]]:
    """Segments to halve; the largest residual of each curve; and how many of its points the box holds."""
    mesh = fine.mesh
    residual = mesh_residual(metric, mesh, fine.points, fine.velocity)
    held = _held(mesh, fine.points, options.box)
    residual = residual.masked_fill(_beside(mesh, held), 0.0)
    state = CurveState(fine.points, fine.tangents)
    coarse, finer = (energy(metric, mesh, state, options.nodes + more) for more in (0, _FINER))
    missed = (coarse - finer).abs() > _MISSED * mesh.total(finer)[mesh.curve]
    above = residual > RESIDUAL_TOLERANCE
    rough = above[mesh.first] | above[mesh.first + 1] | missed
    largest = residual.new_zeros(mesh.count).scatter_reduce(0, mesh.of_point, residual, "amax")
    counts = torch.bincount(mesh.of_point[held], minlength=mesh.count)
    return rough, largest, counts


def _held(mesh: Mesh, points: Float[Tensor, "p d"], box: Box | None) -> Bool[Tensor, "p"]:
    if box is None:
        return torch.zeros_like(mesh.edge)
    low, high = points.new_tensor(box).T
    return ((points <= low) | (points >= high)).any(dim=-1) & ~mesh.edge


def _beside(mesh: Mesh, held: Bool[Tensor, "p"]) -> Bool[Tensor, "p"]:
    """Points whose second difference reads one that is held: two neighbours on either side, of the same curve."""
    found = held.clone()
    for k in (1, 2):
        same = mesh.of_point[k:] == mesh.of_point[:-k]
        found[k:] |= held[:-k] & same
        found[:-k] |= held[k:] & same
    return found


def _halved(fine: _Fine) -> _Fine:
    """The same curves, their rough segments in halves, and those whose neighbours would be four times finer."""
    mesh, rough = fine.mesh, fine.rough
    same = mesh.curve[1:] == mesh.curve[:-1]
    while True:
        width = torch.where(rough, mesh.width / 2, mesh.width)
        wide = torch.zeros_like(rough)
        wide[1:] |= same & (width[1:] > 3 * width[:-1])
        wide[:-1] |= same & (width[:-1] > 3 * width[1:])
        if not bool((wide & ~rough).any()):
            break
        rough = rough | wide
    count = 1 + rough.long()
    finer = Mesh(mesh.curve.repeat_interleave(count), width.repeat_interleave(count), mesh.count)
    own = torch.ones_like(mesh.edge, dtype=torch.long)
    own[mesh.first] = count  # a segment's second half starts behind its first point
    old = own.cumsum(0) - own
    new = old[mesh.first[rough]] + 1
    (x0, x1), (v0, v1) = ((f[mesh.first], f[mesh.first + 1]) for f in (fine.points, fine.velocity))
    w = mesh.width[:, None]
    middle = ((x0 + x1) / 2 + w * (v0 - v1) / 8)[rough]
    slope = (1.5 * (x1 - x0) / w - (v0 + v1) / 4)[rough]
    points, velocity = (f.new_empty(len(finer.of_point), f.shape[1]) for f in (fine.points, fine.velocity))
    base = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    points[old], velocity[old], base[old] = fine.points, fine.velocity, fine.base
    points[new], velocity[new] = middle, slope
    return _Fine(finer, points, velocity, base, torch.zeros_like(finer.curve, dtype=torch.bool))


def _kept(
    paths: Geodesics,
    rows: Int[Tensor, "k"],
    better: Bool[Tensor, "k"],
    fine: _Fine,
    pieces: Float[Tensor, "s power d"],
    found: Descent,
    numbers: tuple[Tensor, Tensor, Tensor, Tensor],
) -> Geodesics:
    """The paths with the finer curves where these are better."""
    n, (length, error, residual, held) = paths.points.shape[1], numbers
    shape = (len(rows), n)
    values = {
        "points": fine.points[fine.base].unflatten(0, shape),
        "tangents": fine.velocity[fine.base].unflatten(0, shape) / (n - 1),
        "length": length,
        "length_error": error,
        "energy": found.energy,
        "converged": found.converged,
        "decrement": found.decrement,
        "minimal": found.minimal,
        "iterations": paths.iterations[rows] + found.iterations,
        "residual": residual,
        "held": held,
        "segments": fine.mesh.segments,
    }
    values = {
        name: getattr(paths, name).index_copy(0, rows[better], new[better]) for name, new in values.items()
    }
    every = pieces.split(fine.mesh.segments.tolist())
    places = torch.nonzero(better)[:, 0].tolist()
    refined = tuple((rows[k : k + 1], Curves(every[k][None])) for k in places)
    known = tuple(part for part in paths.refined if not bool(torch.isin(part[0], rows[better]).all()))
    return replace(paths, **values, refined=(*known, *refined))
