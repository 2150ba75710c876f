"""The smoothness prior of the spline fit: how much of it the scatter of the data asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from hessgeo.free_energies.convex import ConvexProblem, Reduction
from hessgeo.numerics.bsplines import derivatives
from hessgeo.numerics.factor import cholesky
from hessgeo.numerics.penalised import Penalised, evidence_weight

_NEIGHBOURS = {2: 16, 4: 36}  # of a polynomial of each degree: more than it has coefficients
_AT_ONCE = 2**12  # sources with the polynomials about them: tens of MB
_LEAST_NOISE = 1e-12  # dispersion of a posterior computed in double precision and otherwise free of noise


@dataclass(frozen=True)
class SmoothnessPrior:
    """The smoothness prior, the gauge it leaves free, and the scatter that sets its weight."""

    penalty: Float[Tensor, "size size"]
    gauge: Float[Tensor, "size part"]
    scatter: Float[Tensor, "source axis"]

    @classmethod
    def of(cls, problem: ConvexProblem) -> SmoothnessPrior:
        """The prior on the coefficients of a problem."""
        basis, like = problem.basis, problem.mean
        scatter = local_scatter(problem.source.cpu().numpy(), problem.mean.cpu().numpy())
        return cls(basis.third_difference_penalty().to(like), basis.affine.to(like), scatter.to(like))

    def factor(self, stiffness: Float[Tensor, "size size"]) -> Float[Tensor, "size size"]:
        """Cholesky factor of ``H + lambda S`` with the gauge directions, along which both vanish, pinned.

        Directions that neither sees but by rounding are made firm: a step is none the worse for it.
        """
        pinned = stiffness + stiffness.diagonal().mean() * (self.gauge @ self.gauge.T)
        return cholesky(pinned, "spline fit", firm=(1e-14, 1e-12, 1e-10))

    def degrees(self, inverse: Float[Tensor, "size size"], weight: float) -> float:
        """Effective degrees of freedom of the fit, ``tr((H + lambda S)^-1 H)`` without the gauge."""
        return float(len(self.penalty) - self.gauge.shape[1] - weight * (inverse * self.penalty).sum())

    def likeliest_weight(self, fit: Penalised[Reduction], scale: float) -> float:
        """The weight of highest evidence, see ``evidence_weight``, by the fit at another weight."""

        def noise(stiff: Float[Tensor, "direction"]) -> float:
            # What the fit can follow was no noise, however neighbours differ: the residual bounds it from above.
            residual = fit.data.misfit(float((1 / (1 + fit.weight * stiff)).sum()) + self.gauge.shape[1])
            return max(min(fit.data.noise(self.scatter), residual), _LEAST_NOISE)

        free = fit.data.problem.basis.quadratics
        return evidence_weight(fit.data, self.penalty, self.factor, free=free, scale=scale, noise=noise)


def local_scatter(
    t: Float[np.ndarray, "n axis"], mean: Float[np.ndarray, "n axis"], degree: int = 2
) -> Float[Tensor, "n axis"]:
    """What a polynomial through the nearest sources does not explain of each mean, scaled to the variance of one.

    A quadratic through 16 or a quartic through 36. Sources less than twice as many have no neighbourhood to speak of:
    the scatter is then that of the means themselves. ``t`` in box units.
    """
    count = _NEIGHBOURS[degree]
    if len(t) < 2 * count:
        return torch.from_numpy(mean - mean.mean(axis=0))
    neighbours, scatter = nearest_others(t, count), np.empty_like(mean)
    for start in range(0, len(t), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        near = neighbours[rows]
        weights = _weights_of_value(t[near] - t[rows, None], degree)
        predicted = np.einsum("ik,ikd->id", weights, mean[near])
        scatter[rows] = (mean[rows] - predicted) / np.sqrt(1 + (weights**2).sum(axis=1))[:, None]
    return torch.from_numpy(scatter)


def _weights_of_value(
    offset: Float[np.ndarray, "source near axis"], degree: int
) -> Float[np.ndarray, "source near"]:
    """Weights with which values at offsets from a source add up to that of their polynomial at the source."""
    offset = offset / np.maximum(np.abs(offset).max(axis=(1, 2), keepdims=True), np.finfo(float).tiny)
    powers = [one for total in range(degree + 1) for one in derivatives(total, offset.shape[2])]
    design = np.stack([np.prod(offset ** np.array(one), axis=-1) for one in powers], axis=-1)
    return np.linalg.pinv(design)[:, 0]


def nearest_others(t: Float[np.ndarray, "n axis"], count: int) -> Int[np.ndarray, "n count"]:
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
