"""The mean of a potential over the cell around each point: what a grid can tell of a potential sharper than a cell."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.free_energies.log_partition import LogPartition

_POINTS = 3  # of Gauss and Legendre along each axis of a cell


@dataclass(frozen=True)
class CellMean:
    """A potential averaged over a box about each point, its derivatives likewise: convex where the potential is.

    At a node beside a kink that is narrower than a cell the Hessian itself is next to nothing, or huge; its mean over
    the cell is what crosses the cell.

    Attributes:
        potential: convex by its form.
        spacing: sides of the cell, in parameter units.
    """

    potential: LogPartition
    spacing: tuple[float, ...]

    def value(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """``F(t)`` in nats per ``N``."""
        return self._mean("value", t)

    def gradient(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """``grad F(t)``."""
        return self._mean("gradient", t)

    def hessian(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis"]:
        """``grad^2 F(t)``."""
        return self._mean("hessian", t)

    def third(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis axis"]:
        """Third derivatives."""
        return self._mean("third", t)

    def _mean(self, derivative: str, t: Tensor) -> Tensor:
        places, weights = np.polynomial.legendre.leggauss(_POINTS)
        half, total = t.new_tensor(self.spacing) / 2, 0.0
        for chosen in product(range(_POINTS), repeat=len(self.spacing)):
            share = float(np.prod(weights[list(chosen)] / 2))
            shift = half * t.new_tensor(places[list(chosen)])
            total = total + share * getattr(self.potential, derivative)(t + shift)
        return torch.as_tensor(total)
