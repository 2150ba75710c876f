"""The free energy of a study: on its nodes as it was fitted, between them by its potential."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import xarray as xr

from hessgeo.free_energies.approximation import between_nodes
from hessgeo.free_energies.base import FreeEnergy as Fitted
from hessgeo.free_energies.cell_mean import CellMean
from hessgeo.free_energies.log_partition import LogPartition
from hessgeo.free_energies.spline import SplineFreeEnergy
from hessgeo.numerics.bsplines import SplineBasis
from hessgeo.study.drawing import draw
from hessgeo.study.functions import places
from hessgeo.study.parts import Parts
from hessgeo.study.shown import Shown, box, judged

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class FreeEnergy(Shown, Fitted):
    """A fitted ``F(t)``, nats per ``N``; only ``F`` modulo an affine function of ``t`` is determined.

    ``value``, ``gradient``, ``hessian`` and ``third`` take points of the box as an array, a list or a tensor, and give
    the same kind back, lists as arrays; of what is no such point they say so (``ValueError``).

    Args:
        parts: of the study.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts, self.grid, self._dataset = parts, parts.grid, parts.free_energy
        self.resolution, self.certificate = parts.resolution, parts.certificate

    @cached_property
    def _potential(self) -> SplineFreeEnergy | CellMean:
        if "state_slope" in self._dataset:
            names = ("state_slope", "state_height", "state_units")
            fields = {name: self._dataset[name].to_numpy() for name in names}
            return CellMean(LogPartition.of_fields(self.grid.frame, fields), self.grid.spacing)
        if "coefficients" not in self._dataset:
            raise ValueError(
                "of an MLP, and of learned coordinates, the nodes alone are kept: see to_xarray()"
            )
        coefficients = torch.from_numpy(self._dataset["coefficients"].to_numpy())
        basis = SplineBasis.over(self.grid.extent, (coefficients.shape[0], coefficients.shape[1]))
        unknown = torch.full((1, 1), torch.nan, dtype=torch.float64)
        return SplineFreeEnergy(
            basis, coefficients, unknown, resolution=self.resolution, certificate=self.certificate
        )

    @cached_property
    def _missed(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What values and gradients at the nodes have beyond the potential: at kinks, of the dual fit."""
        nodes = torch.from_numpy(self.grid.points)
        found = self._potential.value(nodes), self._potential.gradient(nodes)
        kept = (torch.from_numpy(self._dataset[name].to_numpy()) for name in ("free_energy", "gradient"))
        value, gradient = (there - part.reshape(there.shape) for there, part in zip(kept, found, strict=True))
        return value, gradient

    def value(self, t: Any) -> Any:
        """``F(t)`` at points ``(*batch, 2)``, nats per ``N``."""
        points = self._tensor(t)
        missed = between_nodes(self.grid.frame, self._missed[0], points)
        return _like(t, self._potential.value(points) + missed)

    def gradient(self, t: Any) -> Any:
        """``grad F(t)``."""
        points = self._tensor(t)
        missed = between_nodes(self.grid.frame, self._missed[1], points)
        return _like(t, self._potential.gradient(points) + missed)

    def hessian(self, t: Any) -> Any:
        """``grad^2 F(t)``, the Fisher metric per ``N`` as it was fitted, positive definite or not."""
        return _like(t, self._potential.hessian(self._tensor(t)))

    def third(self, t: Any) -> Any:
        """Third derivatives."""
        return _like(t, self._potential.third(self._tensor(t)))

    def _tensor(self, t: Any) -> torch.Tensor:
        points = places(t, self.grid.extent)
        return t.double() if isinstance(t, torch.Tensor) else torch.from_numpy(points)

    @property
    def facts(self) -> dict[str, str]:
        """See ``Shown``."""
        facts = {"free energy": f"on {box(self.grid)}", "N": f"{self.resolution:.4g}"}
        if "mean_divergence" in self.certificate:
            facts["KL of the fit"] = f"{self.certificate['mean_divergence']:.3g} nats"
        if "explained_divergence" in self.certificate:
            facts["by noise"] = f"{self.certificate['explained_divergence']:.3g} nats"
        if "state_slope" in self._dataset:
            facts["states"] = str(self._dataset.sizes["state"])
        if "coefficients" in self._dataset:
            facts["splines"] = " x ".join(map(str, self._dataset["coefficients"].shape))
        return {**facts, "verdict": judged(self.verdict)}

    def draw(self) -> tuple[Figure, pd.DataFrame]:
        """``F`` without its affine part, as a surface and as contours."""
        return draw(self.parts, "free_energy")

    def to_xarray(self) -> xr.Dataset:
        """On dims ``(a, b)``: ``free_energy``, ``gradient``, ``fisher_metric``, ``third``, and their errors."""
        return self._dataset.copy()


def _like(t: Any, found: torch.Tensor) -> Any:
    return found if isinstance(t, torch.Tensor) else found.numpy()
