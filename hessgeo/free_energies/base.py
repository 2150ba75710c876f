"""The free energy of a system and its derivatives, whatever represents it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor


class FreeEnergy(ABC):
    """A fitted log-partition function ``F(t)`` per unit of the resolution number ``N``.

    Its gauge: only ``F`` modulo an affine function of ``t`` is determined by a posterior.

    Attributes:
        resolution: the ``N`` it was fitted at (the posterior is ``softmax N(<t, grad F(t')> - F(t))``, Eq. 21).
        certificate: numbers that certify the fit (decrement, iterations, dispersion, ...).
    """

    resolution: float
    certificate: dict[str, float | int | bool | str]

    @abstractmethod
    def value(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """``F(t)`` in nats per ``N``."""

    @abstractmethod
    def gradient(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """``grad F(t)``."""

    @abstractmethod
    def hessian(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """``grad^2 F(t)``, the Fisher metric per ``N`` (Eq. 24)."""

    @abstractmethod
    def third(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2 2"]:
        """Third derivatives of ``F``, symmetric in all three indices."""
