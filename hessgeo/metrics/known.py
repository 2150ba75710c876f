"""Metrics whose distances and geodesics are known in closed form: oracles for tests, examples for users."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.metrics.base import Metric


class KnownMetric(Metric):
    """A metric with its closed forms."""

    @abstractmethod
    def distance(
        self, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"]
    ) -> Float[Tensor, "*batch"]:
        """Length of the shortest path."""

    @abstractmethod
    def geodesic(
        self, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n d"]:
        """Points of the shortest path at the shares ``s`` in [0, 1] of its length."""


class ConstantMetric(KnownMetric):
    """A metric that is the same everywhere: Euclid's by default, or the Hessian of a quadratic potential.

    Args:
        matrix: symmetric positive definite; the identity of the plane by default.

    Raises:
        ValueError: if the matrix is not positive definite.
    """

    def __init__(self, matrix: Float[Tensor, "d d"] | None = None) -> None:
        self.matrix = torch.eye(2, dtype=torch.float64) if matrix is None else matrix
        if not bool((torch.linalg.eigvalsh(self.matrix) > 0).all()):
            raise ValueError(f"matrix {self.matrix.tolist()} is not positive definite")

    def __call__(self, t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """See ``Metric``."""
        return self.matrix.to(t) + 0 * t[..., None]

    def distance(
        self, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"]
    ) -> Float[Tensor, "*batch"]:
        """``sqrt(d' G d)``."""
        step = end - start
        return torch.einsum("...i,ij,...j->...", step, self.matrix.to(step), step).sqrt()

    def geodesic(
        self, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n d"]:
        """The straight line."""
        return torch.lerp(start[..., None, :], end[..., None, :], s[:, None])


class SphereMetric(KnownMetric):
    """The sphere in colatitude and longitude, ``ds^2 = R^2 (d theta^2 + sin^2 theta d phi^2)``, ``0 < theta < pi``."""

    def __init__(self, radius: float = 1.0) -> None:
        self.radius = radius

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """See ``Metric``."""
        return self.radius**2 * torch.diag_embed(
            torch.stack([torch.ones_like(t[..., 0]), t[..., 0].sin() ** 2], dim=-1)
        )

    def distance(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"]
    ) -> Float[Tensor, "*batch"]:
        """Along the great circle."""
        return self.radius * _angle(_on_sphere(start), _on_sphere(end))

    def geodesic(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n 2"]:
        """The great circle, longitudes within pi of that of the start."""
        u = _great_circle(_on_sphere(start), _on_sphere(end), s)
        theta = torch.atan2(u[..., :2].norm(dim=-1), u[..., 2])
        turn = torch.atan2(u[..., 1], u[..., 0]) - start[..., None, 1]
        turn = torch.remainder(turn + math.pi, 2 * math.pi) - math.pi
        return torch.stack([theta, start[..., None, 1] + turn], dim=-1)


class HalfSpaceMetric(KnownMetric):
    """Poincare's half-space of any dimension, ``ds^2 = |dt|^2 / y^2``, ``y > 0`` the last coordinate: curvature -1."""

    def __call__(self, t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """See ``Metric``."""
        return t[..., -1, None, None] ** -2 * torch.eye(t.shape[-1], dtype=t.dtype, device=t.device)

    def distance(
        self, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"]
    ) -> Float[Tensor, "*batch"]:
        """``2 arsinh(|p - q| / (2 sqrt(y_p y_q)))``."""
        return 2 * torch.asinh((start - end).norm(dim=-1) / (2 * (start[..., -1] * end[..., -1]).sqrt()))

    def geodesic(
        self, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n d"]:
        """The half-circle or vertical line: on the hyperboloid, where ``1 / y`` and ``x / y`` are coordinates."""
        length = self.distance(start, end)[..., None]
        first, second = ((share * length).sinh() / length.sinh() for share in (1 - s, s))
        p, q = start[..., None, :], end[..., None, :]
        inverse = (first / p[..., -1] + second / q[..., -1])[..., None]
        aside = first[..., None] * p[..., :-1] / p[..., -1:] + second[..., None] * q[..., :-1] / q[..., -1:]
        return torch.cat([aside / inverse, 1 / inverse], dim=-1)


class HalfPlaneMetric(HalfSpaceMetric):
    """Poincare's half-plane, ``ds^2 = (dx^2 + dy^2) / y^2`` with ``y > 0``: Gauss curvature -1."""


class StereographicMetric(KnownMetric):
    """The unit sphere of any dimension but one point, ``ds^2 = 4 |dt|^2 / (1 + |t|^2)^2``: curvature 1."""

    def __call__(self, t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """See ``Metric``."""
        scale = 2 / (1 + (t * t).sum(-1))
        return (scale * scale)[..., None, None] * torch.eye(t.shape[-1], dtype=t.dtype, device=t.device)

    def distance(
        self, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"]
    ) -> Float[Tensor, "*batch"]:
        """Along the great circle, also where that passes the point at infinity."""
        return _angle(_from_plane(start), _from_plane(end))

    def geodesic(
        self, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n d"]:
        """The great circle."""
        u = _great_circle(_from_plane(start), _from_plane(end), s)
        return u[..., :-1] / (1 - u[..., -1:])


class ProductMetric(KnownMetric):
    """Several metrics side by side, of coordinates that follow one another.

    Args:
        factors: each with its number of coordinates.
    """

    def __init__(self, factors: Sequence[tuple[KnownMetric, int]]) -> None:
        self.factors, self._sizes = [metric for metric, _ in factors], [size for _, size in factors]

    def __call__(self, t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """See ``Metric``."""
        blocks, before, d = [], 0, t.shape[-1]
        for metric, part in zip(self.factors, t.split(self._sizes, dim=-1), strict=True):
            g = metric(part)
            after = before + g.shape[-1]
            blocks.append(torch.nn.functional.pad(g, (before, d - after, before, d - after)))
            before = after
        return torch.stack(blocks).sum(dim=0)

    def distance(
        self, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"]
    ) -> Float[Tensor, "*batch"]:
        """The root of the sum of squares."""
        parts = zip(
            self.factors, start.split(self._sizes, dim=-1), end.split(self._sizes, dim=-1), strict=True
        )
        return torch.stack([metric.distance(p, q) for metric, p, q in parts]).norm(dim=0)

    def geodesic(
        self, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n d"]:
        """The geodesics of the factors, gone through together."""
        parts = zip(
            self.factors, start.split(self._sizes, dim=-1), end.split(self._sizes, dim=-1), strict=True
        )
        return torch.cat([metric.geodesic(p, q, s) for metric, p, q in parts], dim=-1)


class NormalMetric(KnownMetric):
    """Fisher metric of the normal laws in mean and deviation, ``ds^2 = (d mu^2 + 2 d sigma^2) / sigma^2``."""

    def __init__(self) -> None:
        self._plane = HalfPlaneMetric()

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """See ``Metric``."""
        return t[..., 1, None, None] ** -2 * torch.diag(t.new_tensor([1.0, 2.0]))

    def distance(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"]
    ) -> Float[Tensor, "*batch"]:
        """``sqrt 2`` times that of the half-plane at ``(mu / sqrt 2, sigma)``."""
        scale = start.new_tensor([math.sqrt(0.5), 1.0])
        return math.sqrt(2) * self._plane.distance(start * scale, end * scale)

    def geodesic(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n 2"]:
        """The half-ellipse or vertical line."""
        scale = start.new_tensor([math.sqrt(0.5), 1.0])
        return self._plane.geodesic(start * scale, end * scale, s) / scale


class PoissonMetric(KnownMetric):
    """Fisher metric of two Poisson laws in natural parameters: the Hessian of ``exp a + exp b``, which is flat."""

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """See ``Metric``."""
        return torch.diag_embed(t.exp())

    def distance(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"]
    ) -> Float[Tensor, "*batch"]:
        """Euclid's in ``2 exp(t / 2)``."""
        return 2 * ((end / 2).exp() - (start / 2).exp()).norm(dim=-1)

    def geodesic(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n 2"]:
        """A straight line in ``exp(t / 2)``."""
        return (
            2 * torch.lerp((start / 2).exp()[..., None, :], (end / 2).exp()[..., None, :], s[:, None]).log()
        )


class CategoricalMetric(KnownMetric):
    """Fisher metric of three categories in natural parameters: the Hessian of ``log(1 + exp a + exp b)``.

    A sphere of radius 2 (Gauss curvature 1/4) in the roots of the probabilities.
    """

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """See ``Metric``."""
        p = _probabilities(t)[..., :2]
        return torch.diag_embed(p) - p[..., :, None] * p[..., None, :]

    def distance(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"]
    ) -> Float[Tensor, "*batch"]:
        """``2 arccos sum_i sqrt(p_i q_i)``."""
        return 2 * _angle(_probabilities(start).sqrt(), _probabilities(end).sqrt())

    def geodesic(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n 2"]:
        """The great circle."""
        u = _great_circle(_probabilities(start).sqrt(), _probabilities(end).sqrt(), s)
        return 2 * (u[..., :2] / u[..., 2:]).log()


def _probabilities(t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 3"]:
    return torch.softmax(torch.cat([t, torch.zeros_like(t[..., :1])], dim=-1), dim=-1)


def _on_sphere(t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 3"]:
    theta, phi = t.unbind(-1)
    return torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], dim=-1)


def _from_plane(t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d+1"]:
    """The point of the unit sphere that is seen from its pole at ``t``."""
    square = (t * t).sum(-1, keepdim=True)
    return torch.cat([2 * t, square - 1], dim=-1) / (1 + square)


def _angle(u: Float[Tensor, "*batch d"], v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    # atan2 keeps all digits of small angles and of those near pi, arccos does not.
    return 2 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))


def _great_circle(
    u: Float[Tensor, "*batch d"], v: Float[Tensor, "*batch d"], s: Float[Tensor, "n"]
) -> Float[Tensor, "*batch n d"]:
    angle = _angle(u, v)[..., None, None]
    first, second = (((share * angle).sin() / angle.sin()) for share in (1 - s[:, None], s[:, None]))
    return first * u[..., None, :] + second * v[..., None, :]
