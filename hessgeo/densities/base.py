"""A probability density that can be evaluated, and its score."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor


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
        with torch.enable_grad():
            point = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.log_prob(point).sum(), point)
        return gradient
