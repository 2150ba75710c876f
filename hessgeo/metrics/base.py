"""A Riemannian metric on the parameter plane."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor


class Metric(ABC):
    """A map from points of the plane to symmetric 2 x 2 matrices."""

    @abstractmethod
    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """The metric tensor at each point, in the units of ``t`` to the power -2."""
