"""The Fisher metric as the Hessian of a free energy."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from hessgeo.free_energies.base import FreeEnergy
from hessgeo.metrics.base import Metric


class HessianMetric(Metric):
    """``g(t) = grad^2 F(t)`` (Eqs. 8 and 24), per unit of the resolution number ``N``.

    It need not be positive definite where the fit is poor: see ``diagnostics.positive_definite``.
    """

    def __init__(self, free_energy: FreeEnergy) -> None:
        self.free_energy = free_energy

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """The Hessian at each point."""
        return self.free_energy.hessian(t)
