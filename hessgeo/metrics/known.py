"""Metrics whose distances and geodesics are known in closed form: oracles for tests, examples for users."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.metrics.base import Metric


class KnownMetric(Metric):
    """A metric with its closed forms."""

    @abstractmethod
    def distance(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"]
    ) -> Float[Tensor, "*batch"]:
        """Length of the shortest path."""

    @abstractmethod
    def geodesic(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n 2"]:
        """Points of the shortest path at the shares ``s`` in [0, 1] of its length."""


class ConstantMetric(KnownMetric):
    """A metric that is the same everywhere: Euclid's by default, or the Hessian of a quadratic potential.

    Args:
        matrix: symmetric positive definite; the identity by default.

    Raises:
        ValueError: if the matrix is not positive definite.
    """

    def __init__(self, matrix: Float[Tensor, "2 2"] | None = None) -> None:
        self.matrix = torch.eye(2, dtype=torch.float64) if matrix is None else matrix
        if not bool((torch.linalg.eigvalsh(self.matrix) > 0).all()):
            raise ValueError(f"matrix {self.matrix.tolist()} is not positive definite")

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """See ``Metric``."""
        return self.matrix.to(t) + 0 * t[..., None]

    def distance(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"]
    ) -> Float[Tensor, "*batch"]:
        """``sqrt(d' G d)``."""
        step = end - start
        return torch.einsum("...i,ij,...j->...", step, self.matrix.to(step), step).sqrt()

    def geodesic(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n 2"]:
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


class HalfPlaneMetric(KnownMetric):
    """Poincare's half-plane, ``ds^2 = (dx^2 + dy^2) / y^2`` with ``y > 0``: Gauss curvature -1."""

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """See ``Metric``."""
        return t[..., 1, None, None] ** -2 * torch.eye(2, dtype=t.dtype, device=t.device)

    def distance(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"]
    ) -> Float[Tensor, "*batch"]:
        """``2 arsinh(|p - q| / (2 sqrt(y_p y_q)))``."""
        return 2 * torch.asinh((start - end).norm(dim=-1) / (2 * (start[..., 1] * end[..., 1]).sqrt()))

    def geodesic(
        self, start: Float[Tensor, "*batch 2"], end: Float[Tensor, "*batch 2"], s: Float[Tensor, "n"]
    ) -> Float[Tensor, "*batch n 2"]:
        """The half-circle or vertical line: on the hyperboloid, where ``1 / y`` and ``x / y`` are coordinates."""
        length = self.distance(start, end)[..., None]
        first, second = ((share * length).sinh() / length.sinh() for share in (1 - s, s))
        p, q = start[..., None, :], end[..., None, :]
        inverse = first / p[..., 1] + second / q[..., 1]
        return torch.stack(
            [(first * p[..., 0] / p[..., 1] + second * q[..., 0] / q[..., 1]) / inverse, 1 / inverse], dim=-1
        )


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


def _angle(u: Float[Tensor, "*batch 3"], v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    # atan2 keeps all digits of small angles and of those near pi, arccos does not.
    return torch.atan2(torch.linalg.cross(u, v).norm(dim=-1), (u * v).sum(-1))


def _great_circle(
    u: Float[Tensor, "*batch 3"], v: Float[Tensor, "*batch 3"], s: Float[Tensor, "n"]
) -> Float[Tensor, "*batch n 3"]:
    angle = _angle(u, v)[..., None, None]
    first, second = (((share * angle).sin() / angle.sin()) for share in (1 - s[:, None], s[:, None]))
    return first * u[..., None, :] + second * v[..., None, :]
