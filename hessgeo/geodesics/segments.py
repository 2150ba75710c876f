"""The energy of cubic segments to second order, in their ends and the tangents there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hessgeo.geodesics.mesh import Mesh
from hessgeo.metrics.base import Metric
from hessgeo.numerics.quadrature import gauss_legendre


@dataclass(frozen=True)
class CurveState:
    """Unknowns: points, and the tangents of every segment at its two ends (per segment, ``dx / dr``)."""

    points: Float[Tensor, "p d"]
    tangents: Float[Tensor, "s 2 d"]

    def of_segments(self, mesh: Mesh) -> Float[Tensor, "s 4 d"]:
        """``(x0, m0, x1, m1)`` of every segment."""
        first, last = self.points[mesh.first], self.points[mesh.first + 1]
        return torch.stack([first, self.tangents[:, 0], last, self.tangents[:, 1]], dim=1)


@dataclass(frozen=True)
class Expansion:
    """The energy of every segment in its own unknowns, to second order.

    Attributes:
        mesh: of the curves.
        state: where it is expanded.
        energy: ``integral <x', g x'> ds`` of each curve.
        gradient, hessian: of each segment.
        metric: at the nodes of its quadrature.
    """

    mesh: Mesh
    state: CurveState
    energy: Float[Tensor, "m"]
    gradient: Float[Tensor, "s 4*d"]
    hessian: Float[Tensor, "s 4*d 4*d"]
    metric: Float[Tensor, "s q d d"]

    @property
    def base(self) -> Float[Tensor, "s 4*d 4*d"]:
        """The part of the Hessian that ignores how the metric changes, positive semi-definite.

        The Sobolev inner product of variations, which damps.
        """
        to_ends = _elements(self.metric.shape[1])[3].to(self.metric)
        d = self.metric.shape[-1]
        local = torch.nn.functional.pad(2 * self.metric, (d, 0, d, 0))
        return _to_ends(local, to_ends) / self.mesh.width[:, None, None]

    def kept(self, curves: Bool[Tensor, "m"]) -> Expansion:
        """Some of the curves."""
        if bool(curves.all()):
            return self
        mesh, segments, points = self.mesh.kept(curves)
        state = CurveState(self.state.points[points], self.state.tangents[segments])
        parts = (values[segments] for values in (self.gradient, self.hessian, self.metric))
        return Expansion(mesh, state, self.energy[curves], *parts)

    def replaced(self, curves: Bool[Tensor, "m"], other: Expansion) -> Expansion:
        """The curves of ``other``, which holds all, where ``curves`` is true."""
        if bool(curves.all()):
            return other
        segments, points = curves[self.mesh.curve], curves[self.mesh.of_point]

        def chosen(where: Tensor, new: Tensor, mine: Tensor) -> Tensor:
            return torch.where(where.reshape(-1, *[1] * (mine.ndim - 1)), new, mine)

        state = CurveState(
            chosen(points, other.state.points, self.state.points),
            chosen(segments, other.state.tangents, self.state.tangents),
        )
        names = ("gradient", "hessian", "metric")
        parts = (chosen(segments, getattr(other, name), getattr(self, name)) for name in names)
        return Expansion(self.mesh, state, chosen(curves, other.energy, self.energy), *parts)


def energy(metric: Metric, mesh: Mesh, state: CurveState, nodes: int) -> Float[Tensor, "s"]:
    """``integral <x', g x'> ds`` of every segment, by Gauss-Legendre quadrature."""
    weights, position, velocity, _ = (v.to(state.points) for v in _elements(nodes))
    unknowns = state.of_segments(mesh)
    x, v = position @ unknowns, velocity @ unknowns
    return (((metric(x) @ v[..., None])[..., 0] * v).sum(-1) @ weights) / mesh.width


def expand(metric: Metric, mesh: Mesh, state: CurveState, nodes: int) -> Expansion:
    """The energy of every segment to second order, by quadrature with so many nodes in each."""
    weights, position, velocity, to_ends = (v.to(state.points) for v in _elements(nodes))
    unknowns = state.of_segments(mesh)
    x, v = position @ unknowns, velocity @ unknowns  # s q d
    g, along, bend = metric.speed_jet(x, v)
    lowered = (g @ v[..., None])[..., 0]
    in_x = (v[..., None, :] @ along)[..., 0, :]
    scale = (weights / mesh.width[:, None])[..., None]
    whole = mesh.total(((v * lowered) * scale).sum(dim=(1, 2)))
    gradient = position.mT @ (scale * in_x) + 2 * velocity.mT @ (scale * lowered)
    # Hessian of <v, g(x) v> in (x, v), then in the unknowns of the segment.
    local = torch.cat([torch.cat([bend, 2 * along.mT], -1), torch.cat([2 * along, 2 * g], -1)], -2)
    hessian = _to_ends(local, to_ends) / mesh.width[:, None, None]
    return Expansion(mesh, state, whole, gradient.flatten(1), hessian, g)


@cache
def _elements(nodes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Quadrature weights, the shape functions ``(q, 4)`` of (x0, m0, x1, m1) at the nodes, their derivatives, a map.

    The map takes local Hessians, flattened over (q, x or v, x or v), to the unknowns, flattened over (4, 4).
    """
    r, weights = gauss_legendre(nodes)
    position = torch.stack(
        [1 - 3 * r**2 + 2 * r**3, r - 2 * r**2 + r**3, 3 * r**2 - 2 * r**3, r**3 - r**2], dim=1
    )
    velocity = torch.stack(
        [6 * r**2 - 6 * r, 1 - 4 * r + 3 * r**2, 6 * r - 6 * r**2, 3 * r**2 - 2 * r], dim=1
    )
    both = torch.stack([position, velocity], dim=1)  # q, x or v, end
    return weights, position, velocity, torch.einsum("q,qae,qbf->qabef", weights, both, both).reshape(-1, 16)


def _to_ends(local: Float[Tensor, "s q 2*d 2*d"], to_ends: Tensor) -> Float[Tensor, "s 4*d 4*d"]:
    s, q, d = local.shape[0], local.shape[1], local.shape[-1] // 2
    # (q, a, k, b, l) -> (k, l, q, a, b)
    ordered = local.reshape(s, q, 2, d, 2, d).permute(0, 3, 5, 1, 2, 4).reshape(s, d * d, -1)
    ends = (ordered @ to_ends).reshape(s, d, d, 4, 4)
    return ends.permute(0, 3, 1, 4, 2).reshape(s, 4 * d, 4 * d)
