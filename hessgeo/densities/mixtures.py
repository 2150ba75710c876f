"""Densities in closed form: mixtures of Gaussians, kernel estimates, and twists of them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from hessgeo.densities.base import Density

# Entries of the matrix of distances that is held at once, 32 MiB in double precision.
BLOCK = 2**22


class GaussianMixture(Density):
    """``p(x) = sum_k w_k N(x; mu_k, Sigma_k)``.

    Args:
        weights: of the components, positive; scaled to sum to one.
        means: their centres.
        covariances: symmetric and positive definite.

    Raises:
        ValueError: on shapes that do not fit, a weight that is not positive, or a covariance that is not
            positive definite.
    """

    def __init__(
        self,
        weights: Float[Tensor, "k"],
        means: Float[Tensor, "k d"],
        covariances: Float[Tensor, "k d d"],
    ) -> None:
        k, self.dimension = means.shape
        if weights.shape != (k,) or covariances.shape != (k, self.dimension, self.dimension):
            raise ValueError(
                f"{tuple(weights.shape)} weights, {tuple(means.shape)} means and {tuple(covariances.shape)} "
                "covariances do not fit, must be (k), (k, d) and (k, d, d)"
            )
        if not (weights > 0).all():
            raise ValueError(f"the smallest weight is {weights.min().item():g}, must be positive")
        factors, failed = torch.linalg.cholesky_ex(covariances)
        if failed.any():
            raise ValueError(f"covariance {int(failed.nonzero()[0, 0])} is not positive definite")
        self.weights, self.means, self.factors = weights / weights.sum(), means, factors

    def log_prob(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """See ``Density``."""
        # One triangular system a component: (d, batch) columns, whitened.
        columns = (x.reshape(-1, 1, self.dimension) - self.means).permute(1, 2, 0)
        white = torch.linalg.solve_triangular(self.factors, columns, upper=False)
        scale = self.factors.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        constant = self.weights.log() - scale - self.dimension / 2 * math.log(2 * math.pi)
        terms = constant[:, None] - white.square().sum(dim=1) / 2
        return torch.logsumexp(terms, dim=0).reshape(x.shape[:-1])

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """Independent draws."""
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        normal = torch.randn((n, self.dimension), generator=generator, dtype=self.means.dtype)
        return self.means[component] + (self.factors[component] @ normal[..., None])[..., 0]


class IsotropicMixture(Density):
    """``p(x) = sum_k w_k N(x; c_k, h^2 I)`` with one width for many centres: a kernel estimate, a noisy curve.

    Evaluated in blocks of at most ``BLOCK`` distances.

    Args:
        centres: of the components.
        width: ``h``, in units of ``x``.
        weights: positive, scaled to sum to one; equal ones unless given.

    Raises:
        ValueError: on a width that is not positive, or weights that are not positive or do not fit.
    """

    def __init__(
        self, centres: Float[Tensor, "k d"], width: float, weights: Float[Tensor, "k"] | None = None
    ) -> None:
        if not 0 < width < math.inf:
            raise ValueError(f"width is {width}, must be positive")
        weights = torch.ones(len(centres), dtype=centres.dtype) if weights is None else weights
        if weights.shape != centres.shape[:1] or not (weights > 0).all():
            raise ValueError(f"weights must be {len(centres)} positive numbers")
        self.dimension = centres.shape[1]
        self.centres, self.width, self.weights = centres, float(width), weights / weights.sum()

    def _terms(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        constant = -self.dimension * (math.log(self.width) + math.log(2 * math.pi) / 2)
        return constant + self.weights.log() - _squares(x, self.centres) / (2 * self.width**2)

    def _blocks(self, x: Float[Tensor, "*batch d"]) -> tuple[Tensor, ...]:
        return x.reshape(-1, self.dimension).split(max(1, BLOCK // len(self.centres)))

    def log_prob(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """See ``Density``."""
        parts = [torch.logsumexp(self._terms(block), dim=1) for block in self._blocks(x)]
        return torch.cat(parts).reshape(x.shape[:-1])

    def score(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """``sum_k r_k(x) (c_k - x) / h^2`` with the responsibilities ``r_k``."""
        parts = [
            (torch.softmax(self._terms(block), dim=1) @ self.centres - block) / self.width**2
            for block in self._blocks(x.detach())
        ]
        return torch.cat(parts).reshape(x.shape)

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """Independent draws."""
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        normal = torch.randn((n, self.dimension), generator=generator, dtype=self.centres.dtype)
        return self.centres[component] + self.width * normal


def _squares(x: Float[Tensor, "n d"], y: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
    """Squared distances, from differences: those from products lose the digits of near points."""
    if unpack_dual(x).tangent is None:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    # torch cannot differentiate its own, faster function forward, as metrics are.
    return (x[:, None] - y).square().sum(dim=-1)


class TwistedDensity(Density):
    """A density of the plane, each circle about the origin turned by an angle ``rate * radius``.

    ``p(x) = q(R(-rate |x|) x)``. A turn that depends on the radius alone keeps areas, so ``p`` is normalised
    where ``q`` is.

    Args:
        base: ``q``, a density of the plane.
        rate: radians a unit of radius.
    """

    dimension = 2

    def __init__(self, base: Density, rate: float) -> None:
        if base.dimension != 2:
            raise ValueError(f"the density has dimension {base.dimension}, must have 2 to be twisted")
        self.base, self.rate = base, rate

    def log_prob(self, x: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """See ``Density``."""
        return self.base.log_prob(twist(x, -self.rate))


def twist(x: Float[Tensor, "*batch 2"], rate: float) -> Float[Tensor, "*batch 2"]:
    """Turn each point about the origin by ``rate`` times its radius, anticlockwise, in radians."""
    # The square root alone has no derivative at the origin.
    angle = rate * (x.square().sum(dim=-1) + 1e-300).sqrt()
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack([cosine * x[..., 0] - sine * x[..., 1], sine * x[..., 0] + cosine * x[..., 1]], dim=-1)


def kernel_density(points: Float[Tensor, "n d"], *, bandwidth: float | None = None) -> IsotropicMixture:
    """Kernel estimate of a density with one Gaussian of equal width at each point.

    Args:
        points: the data.
        bandwidth: the width; None for the one of ``likeliest_bandwidth``.
    """
    return IsotropicMixture(points, likeliest_bandwidth(points) if bandwidth is None else bandwidth)


def likeliest_bandwidth(points: Float[Tensor, "n d"]) -> float:
    """The width that makes each point most probable under the kernel estimate of all others.

    Maximises the leave-one-out log-likelihood ``sum_i log 1/(n - 1) sum_{j != i} N(x_i; x_j, h^2 I)`` over
    widths within a factor 100 of the mean distance to the nearest neighbour, so it follows the data where a
    rule of thumb, made for one normal distribution, would smear clusters together.

    Raises:
        ValueError: on fewer than three points, or points that all lie in one place.
    """
    n, d = points.shape
    if n < 3:
        raise ValueError(f"{n} points do not determine a bandwidth: at least 3 are needed")
    squared = _squares(points, points)
    squared.fill_diagonal_(math.inf)
    nearest = squared.min(dim=1).values.sqrt().mean().item()
    if nearest == 0:
        raise ValueError("every point has another in the same place: no bandwidth can be told")

    def loss(log_width: float) -> float:
        terms = torch.logsumexp(-squared / (2 * math.exp(2 * log_width)), dim=1)
        return -(terms.mean().item() - d * log_width)

    bounds = (math.log(nearest) - math.log(100), math.log(nearest) + math.log(100))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3}).x)
