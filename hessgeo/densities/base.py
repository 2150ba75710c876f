"""A probability density that can be evaluated, its score, and the metric that it defines."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.metrics.conformal import DensityMetric, gradient, quantile_constants


class Density(ABC):
    """A density on a Euclidean space, known point by point; it need not be normalised.

    Attributes:
        dimension: of the space.
    """

    dimension: int

    @abstractmethod
    def log_prob(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """``log p(x)`` in nats, differentiable in ``x``."""

    def score(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """``grad log p(x)``, by reverse differentiation of ``log_prob`` unless a density knows better."""
        return gradient(self.log_prob, x)

    def metric(self, *, log_p0: float, log_lam: float) -> DensityMetric:
        """The metric that the density alone defines, see ``DensityMetric``."""
        return DensityMetric(self.log_prob, log_p0=log_p0, log_lam=log_lam, score=self.score)

    def metric_of(self, data: Float[Tensor, "n d"], *, quantile: float) -> DensityMetric:
        """The same with ``lam`` at a quantile of ``p`` over data, and ``p0`` at its median."""
        with torch.no_grad():
            log_p = self.log_prob(data).cpu().numpy()
        log_p0, log_lam = quantile_constants(log_p, quantile)
        return self.metric(log_p0=log_p0, log_lam=log_lam)
