"""The smoothness prior of the spline fit: how much of it the scatter of the data asks for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from hessgeo.free_energies.convex import ConvexProblem, Reduction
from hessgeo.numerics.factor import cholesky

_LEAST_NOISE = 1e-12  # dispersion of a posterior computed in double precision and otherwise free of noise
_WEIGHT_RANGE = (1e-13, 1e2)  # of the penalty's weight, relative to the balance of the two traces


@dataclass(frozen=True)
class SmoothnessPrior:
    """The smoothness prior, the gauge it leaves free, and the scatter that sets its weight."""

    penalty: Float[Tensor, "size size"]
    gauge: Float[Tensor, "size 3"]
    scatter: Float[Tensor, "source 2"]

    @classmethod
    def of(cls, problem: ConvexProblem) -> SmoothnessPrior:
        """The prior on the coefficients of a problem."""
        basis, like = problem.basis, problem.mean
        scatter = local_scatter(problem.source.cpu().numpy(), problem.mean.cpu().numpy())
        return cls(basis.third_difference_penalty().to(like), basis.affine.to(like), scatter.to(like))

    def factor(self, hessian: Float[Tensor, "size size"], weight: float) -> Float[Tensor, "size size"]:
        """Cholesky factor of ``H + lambda S`` with the gauge directions, along which both vanish, pinned.

        Directions that neither sees but by rounding are made firm: a step is none the worse for it.
        """
        stiffness = hessian + weight * self.penalty
        diagonal = stiffness.diagonal().mean()
        stiffness += diagonal * (self.gauge @ self.gauge.T)
        return cholesky(stiffness, "spline fit", firm=(1e-14, 1e-12, 1e-10))

    def degrees(self, inverse: Float[Tensor, "size size"], weight: float) -> float:
        """Effective degrees of freedom of the fit, ``tr((H + lambda S)^-1 H)`` without the gauge."""
        return float(len(self.penalty) - 3 - weight * (inverse * self.penalty).sum())

    def likeliest_weight(
        self,
        reduction: Reduction,
        mean: Float[Tensor, "source 2"],
        c: Float[Tensor, "size"],
        *,
        weight: float,
        scale: float,
    ) -> float:
        """The ``lambda`` of highest marginal likelihood, with the loss expanded about ``c``, the fit at ``weight``.

        In the basis that makes ``H`` the identity and ``S`` diagonal, ``d``, with the free optimum at ``z``,

            -2 log p(lambda) = sum_k z_k^2 lambda d_k / (1 + lambda d_k) / phi + log(1 + 1 / (lambda d_k)).
        """

        def noise(stiff: Float[Tensor, "direction"]) -> float:
            # What the fit can follow was no noise, however neighbours differ: the residual bounds it from above.
            residual = reduction.misfit(mean, float((1 / (1 + weight * stiff)).sum()) + 3)
            return max(min(reduction.noise(self.scatter), residual), _LEAST_NOISE)

        # Directions the data do not see at all get the least weight there is, so that H can be factored.
        factor = self.factor(reduction.hessian, _WEIGHT_RANGE[0] * scale)
        return _likeliest(factor, self.penalty, c, reduction.gradient, noise, scale)


def evidence_weight(
    information: Float[Tensor, "size size"],
    penalty: Float[Tensor, "size size"],
    c: Float[Tensor, "size"],
    gradient: Float[Tensor, "size"],
) -> float:
    """The ``lambda`` of highest marginal likelihood where the noise is known, of a loss expanded about ``c``.

    Args:
        information: second derivative of the loss at ``c``.
        penalty: ``S``, free in the quadratics.
        c: coefficients near the fit.
        gradient: of the loss without the penalty.
    """
    scale = float(information.trace() / penalty.trace())
    stiffness = information + _WEIGHT_RANGE[0] * scale * penalty
    diagonal = stiffness.diagonal().mean()
    # The constant, which nothing determines, is pinned.
    stiffness = stiffness + diagonal / len(stiffness)
    stiffness.diagonal().add_(1e-13 * diagonal)
    return _likeliest(cholesky(stiffness, "smoothness"), penalty, c, gradient, lambda _: 1.0, scale)


def _likeliest(
    factor: Float[Tensor, "size size"],
    penalty: Float[Tensor, "size size"],
    c: Float[Tensor, "size"],
    gradient: Float[Tensor, "size"],
    noise: Callable[[Float[Tensor, "direction"]], float],
    scale: float,
) -> float:
    """The weight of highest evidence, see ``SmoothnessPrior.likeliest_weight``; ``noise`` is a function of ``d``."""
    half = torch.linalg.solve_triangular(factor, penalty, upper=False)
    whitened = torch.linalg.solve_triangular(factor, half.T, upper=False)
    d, vectors = torch.linalg.eigh((whitened + whitened.T) / 2)
    pull = torch.linalg.solve_triangular(factor, gradient[:, None], upper=False)[:, 0]
    # The first six are the quadratics, which S leaves free.
    stiff = d[6:].clamp(min=torch.finfo(d.dtype).tiny)
    z = (vectors.T @ (factor.T @ c - pull))[6:]
    dispersion = noise(stiff)
    low, high = (math.log(bound * scale) for bound in _WEIGHT_RANGE)
    trial = torch.linspace(low, high, 1201, dtype=d.dtype, device=d.device).exp()
    shrink = trial[:, None] * stiff
    cost = (z**2 * shrink / (1 + shrink)).sum(1) / dispersion + torch.log1p(1 / shrink).sum(1)
    return float(trial[cost.argmin()])


def local_scatter(t: Float[np.ndarray, "n 2"], mean: Float[np.ndarray, "n 2"]) -> Float[Tensor, "n 2"]:
    """What a quadratic through the 16 nearest sources does not explain of each mean, scaled to the variance of one.

    Fewer than 32 sources have no neighbourhood to speak of: the scatter is then that of the means themselves. ``t`` in
    box units.
    """
    if len(t) < 32:
        return torch.from_numpy(mean - mean.mean(axis=0))
    neighbours = nearest_others(t, 16)
    offset = t[neighbours] - t[:, None]
    offset /= np.maximum(np.abs(offset).max(axis=(1, 2), keepdims=True), np.finfo(float).tiny)
    x, y = offset[..., 0], offset[..., 1]
    design = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    # The quadratic's value at the source is a weighted sum of its neighbours' means, with these weights.
    weights = np.linalg.pinv(design)[:, 0]
    predicted = np.einsum("ik,ikd->id", weights, mean[neighbours])
    return torch.from_numpy((mean - predicted) / np.sqrt(1 + (weights**2).sum(axis=1))[:, None])


def nearest_others(t: Float[np.ndarray, "n 2"], count: int) -> Int[np.ndarray, "n count"]:
    """The points nearest to each; of those equally near, as on a grid, the first: rounding does not choose.

    Raises:
        ValueError: if there are not more than ``count`` points.
    """
    if len(t) <= count:
        raise ValueError(f"{len(t)} points have no {count} nearest others")
    distance, near = cKDTree(t).query(t, k=min(2 * count, len(t) - 1) + 1)
    rank = np.rint(1e4 * distance / np.maximum(distance[:, count], np.finfo(float).tiny)[:, None])
    rank[near == np.arange(len(t))[:, None]] = -1  # the point itself, which of twins need not come first
    order = np.lexsort((near, rank), axis=1)
    return np.take_along_axis(near, order[:, 1 : count + 1], axis=1)
