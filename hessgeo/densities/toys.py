"""Sets of points in the plane whose density is known: moons, circles, spirals, blobs and a pinwheel."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hessgeo.densities.base import Density
from hessgeo.densities.mixtures import GaussianMixture, IsotropicMixture, TwistedDensity, twist
from hessgeo.numerics.quadrature import gauss_legendre

HORSESHOE_ENDS = ((-1.0, 0.0), (1.0, 0.0))
HORSESHOE_BOX = ((-2.0, 2.0), (-1.2, 2.2))  # beyond it there is nothing
UNIFORM_BOX = ((-1.6, 1.6), (-0.6, 1.4))  # holds every shortest path between the ends with room to spare

Curve = Callable[[Float[Tensor, "n"]], Float[Tensor, "n 2"]]


@dataclass(frozen=True)
class ToySet:
    """Points with the cluster each was drawn from.

    Attributes:
        points: in the plane.
        labels: the cluster of each point, from 0.
        density: what they were drawn from.
    """

    points: Float[Tensor, "n 2"]
    labels: Int[np.ndarray, "n"]
    density: Density

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return int(self.labels.max()) + 1


def _noisy_curves(
    curves: Sequence[Curve], lengths: Sequence[float], *, noise: float, n: int, seed: int
) -> ToySet:
    """Points of curves ``c(s)``, ``s`` uniform on [0, 1], with Gaussian noise.

    Their density ``int_0^1 N(x; c(s), noise^2 I) ds`` is a mixture at Gauss-Legendre nodes: 2.5 nodes a width
    of the noise leave a relative error below 1e-14 where the density is largest.
    """
    if not 0 < noise < math.inf:
        raise ValueError(f"noise is {noise}, must be positive")
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % len(curves)
    s = torch.rand(n, generator=generator, dtype=torch.float64)
    points = torch.empty((n, 2), dtype=torch.float64)
    centres, weights = [], []
    for k, (curve, length) in enumerate(zip(curves, lengths, strict=True)):
        points[labels == k] = curve(s[labels == k])
        nodes, weight = gauss_legendre(math.ceil(2.5 * length / noise) + 8)
        centres.append(curve(nodes))
        weights.append(weight)
    points += noise * torch.randn((n, 2), generator=generator, dtype=torch.float64)
    return ToySet(points, labels.numpy(), IsotropicMixture(torch.cat(centres), noise, torch.cat(weights)))


def _arc(centre: tuple[float, float], radius: float, start: float, stop: float) -> Curve:
    def curve(s: Float[Tensor, "n"]) -> Float[Tensor, "n 2"]:
        angle = start + (stop - start) * s
        return torch.tensor(centre, dtype=s.dtype) + radius * torch.stack([angle.cos(), angle.sin()], dim=-1)

    return curve


def moons(n: int, seed: int, *, noise: float = 0.08) -> ToySet:
    """Two interleaved half circles of radius 1."""
    upper, lower = _arc((0.0, 0.0), 1.0, 0.0, math.pi), _arc((1.0, 0.5), 1.0, math.pi, 2 * math.pi)
    return _noisy_curves([upper, lower], [math.pi, math.pi], noise=noise, n=n, seed=seed)


def circles(n: int, seed: int, *, noise: float = 0.08) -> ToySet:
    """Two circles about the origin, of radius 1 and 1/2."""
    rings = [_arc((0.0, 0.0), radius, 0.0, 2 * math.pi) for radius in (1.0, 0.5)]
    return _noisy_curves(rings, [2 * math.pi, math.pi], noise=noise, n=n, seed=seed)


def spirals(n: int, seed: int, *, noise: float = 0.06) -> ToySet:
    """Two Archimedean arms of one and a quarter turns each, from radius 0.2 to 1.6."""
    inner, outer, turn = 0.2, 1.6, 2.5 * math.pi

    def arm(offset: float) -> Curve:
        def curve(s: Float[Tensor, "n"]) -> Float[Tensor, "n 2"]:
            # Far from the centre a length goes as the square of the radius: equal steps of s, nearly equal lengths.
            radius = (inner**2 + (outer**2 - inner**2) * s).sqrt()
            angle = offset + turn * (radius - inner) / (outer - inner)
            return radius[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1)

        return curve

    # The arms are 7.4 long; the quadrature needs no less.
    return _noisy_curves([arm(0.0), arm(math.pi)], [7.5, 7.5], noise=noise, n=n, seed=seed)


def blobs(n: int, seed: int, *, noise: float = 0.25) -> ToySet:
    """Three normal clouds of different shape at the corners of a triangle; ``noise`` is their mean width."""
    means = torch.tensor([[-1.0, -0.6], [1.0, -0.6], [0.0, 1.1]], dtype=torch.float64)
    shapes = torch.tensor(
        [[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.3], [0.3, 0.9]], [[1.6, 0.0], [0.0, 0.5]]], dtype=torch.float64
    )
    return _labelled(means, noise**2 * shapes, n=n, seed=seed)


def pinwheel(n: int, seed: int, *, noise: float = 0.3, rate: float = 1.1) -> ToySet:
    """Five petals, each a normal cloud drawn out along its radius, twisted into a wheel.

    Args:
        n: number of points.
        seed: of the draws.
        noise: width of a petal along its radius; a quarter of it across.
        rate: twist in radians a unit of radius.
    """
    angles = 2 * math.pi * torch.arange(5, dtype=torch.float64) / 5
    along = torch.stack([angles.cos(), angles.sin()], dim=-1)
    across = torch.stack([-angles.sin(), angles.cos()], dim=-1)
    outer = along[:, :, None] * along[:, None, :] + across[:, :, None] * across[:, None, :] / 16
    flat = _labelled(along, noise**2 * outer, n=n, seed=seed)
    return ToySet(twist(flat.points, rate), flat.labels, TwistedDensity(flat.density, rate))


def _labelled(
    means: Float[Tensor, "k 2"], covariances: Float[Tensor, "k 2 2"], *, n: int, seed: int
) -> ToySet:
    """As many points, up to one, from each component of a Gaussian mixture with equal weights."""
    weights = torch.full((len(means),), 1 / len(means), dtype=torch.float64)
    density = GaussianMixture(weights, means, covariances)
    labels = torch.arange(n) % len(means)
    normal = torch.randn((n, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    points = means[labels] + (density.factors[labels] @ normal[..., None])[..., 0]
    return ToySet(points, labels.numpy(), density)


def horseshoe(*, width: float = 0.35) -> IsotropicMixture:
    """Seven normal clouds along a half circle of radius 1 about the origin, from (1, 0) over the top to (-1, 0).

    Between its ends lie two roads, the short one through a valley of the density and the long one along its ridge.
    """
    angle = torch.linspace(0, math.pi, 7, dtype=torch.float64)
    return IsotropicMixture(torch.stack([angle.cos(), angle.sin()], dim=-1), width)


TOYS: Mapping[str, Callable[[int, int], ToySet]] = {
    "moons": moons,
    "circles": circles,
    "spirals": spirals,
    "blobs": blobs,
    "pinwheel": pinwheel,
}
