"""The free energy of a system and its derivatives, whatever represents it: what a fit gives, and what it may read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from hessgeo.free_energies.response import slopes_at_nodes
from hessgeo.grids import Grid
from hessgeo.posteriors.base import Posterior

Certificate = dict[str, float | int | bool | str]

# Of a dataset: the method that gives each field, and its dims after those of the grid.
_FIELDS = {
    "free_energy": ("value", ()),
    "gradient": ("gradient", ("i",)),
    "fisher_metric": ("hessian", ("i", "j")),
    "third": ("third", ("i", "j", "k")),
}


class FreeEnergy(ABC):
    """A fitted log-partition function ``F(t)`` per unit of the resolution number ``N``.

    Its gauge: only ``F`` modulo an affine function of ``t`` is determined by a posterior.

    Attributes:
        resolution: the ``N`` it was fitted at (the posterior is ``softmax N(<t, grad F(t')> - F(t))``, Eq. 21).
        certificate: numbers that certify the fit. Every fit has ``converged``; one that knows how far from its
            optimum it ended has ``iterations`` and ``decrement``, in nats over all samples; one that knows whether its
            data determine what it says has ``resolved`` and, in words, ``verdict``.
        knows_errors: whether it has error bars; else they are NaN.
    """

    resolution: float
    certificate: Certificate
    knows_errors = False

    @abstractmethod
    def value(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """``F(t)`` in nats per ``N``."""

    @abstractmethod
    def gradient(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """``grad F(t)``."""

    @abstractmethod
    def hessian(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis"]:
        """``grad^2 F(t)``, the Fisher metric per ``N`` (Eq. 24)."""

    @abstractmethod
    def third(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis axis"]:
        """Third derivatives of ``F``, symmetric in all three indices."""

    def value_error(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """Standard error of ``F(t)``, in the gauge of ``value``."""
        return torch.full_like(t[..., 0], torch.nan)

    def gradient_error(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """Standard errors of the gradient, in the gauge of ``gradient``."""
        return torch.full_like(t, torch.nan)

    def hessian_error(
        self, t: Float[Tensor, "*batch axis"], jacobian: Float[Tensor, "*batch axis axis"] | None = None
    ) -> Float[Tensor, "*batch axis axis"]:
        """Standard errors of the metric's entries; free of any gauge.

        Args:
            t: where.
            jacobian: ``[i, j] = d t_i / d u_j``; the errors are then those of ``J' g J``, the metric in ``u``.
        """
        return torch.full_like(t[..., None].expand(*t.shape, t.shape[-1]), torch.nan)

    @property
    def verdict(self) -> str:
        """What keeps the fit from being trusted, in words, or ``resolved``."""
        reasons = [] if self.certificate["converged"] else ["the fit has not converged"]
        if not self.certificate.get("potential_converged", True):
            reasons.append("the potential between the nodes has not converged")
        if not self.certificate.get("resolved", True):
            reasons.append(str(self.certificate["verdict"]))
        return "; ".join(reasons) or "resolved"


@dataclass(frozen=True)
class FitData:
    """What a fit to a posterior may read, see ``fits.FITS``.

    Attributes:
        posterior: moments of every source.
        grid: the nodes that carry the fitted posterior, unless the data posterior has its own.
        rows: sources -> their whole rows, over the nodes of ``posterior.carrier(grid)``.
        seed: of what is random in the fit.
        device: where to fit.
        progress: show a bar.
    """

    posterior: Posterior
    grid: Grid
    rows: Callable[[Int[np.ndarray, "s"]], Float[np.ndarray, "s node"]]
    seed: int = 0
    device: str = "cpu"
    progress: bool = False


def free_energy_dataset(free_energy: FreeEnergy, grid: Grid, *, attributes: Mapping[str, Any]) -> xr.Dataset:
    """A fitted free energy and its derivatives on a grid.

    Variables on dims ``(a, b)``, or ``(a)`` of one parameter: ``free_energy``, ``gradient (a, b, i)``,
    ``fisher_metric (a, b, i, j)`` and ``third (a, b, i, j, k)``; the first three have a ``<name>_error``, NaN if the
    fit does not know it. A fit with slopes of its own at sources adds ``slope (a, b, i)``: these at the nodes, which
    need not be a gradient; a fit with coefficients ``coefficients``; one with coordinates of its own ``coordinates
    (a, b, u)`` in box units, the ``response (a, b, i, j)`` of the slopes in them, and, if they are two, their
    ``connection (a, b, m, i, k)``.
    """
    t = torch.from_numpy(grid.points)
    fields: dict[str, Any] = {}
    for name, (method, dims) in _FIELDS.items():
        for suffix in ("", "_error")[: 1 if name == "third" else 2]:
            values = getattr(free_energy, method + suffix)(t).detach().cpu().numpy()
            fields[name + suffix] = ((*grid.dims, *dims), values.reshape(*grid.shape, *values.shape[1:]))
    coefficients = getattr(free_energy, "coefficients", None)
    if coefficients is not None:
        fields["coefficients"] = (
            tuple(f"k{name}" for name in grid.dims),
            coefficients.detach().cpu().numpy(),
        )
    states = getattr(free_energy, "states", None)
    if states is not None:
        fields |= states.fields
    sources, slopes = (getattr(free_energy, name, None) for name in ("sources", "slopes"))
    if sources is not None and slopes is not None:
        fields["slope"] = ((*grid.dims, "i"), slopes_at_nodes(grid, sources, slopes))
    coordinates = getattr(free_energy, "coordinates", None)
    if coordinates is not None:  # box units
        fields["coordinates"] = ((*grid.dims, "u"), coordinates(t).numpy().reshape(*grid.shape, -1))
        response = free_energy.response_at(grid).numpy()  # type: ignore[attr-defined]
        fields["response"] = ((*grid.dims, "i", "j"), response.reshape(*grid.shape, 2, 2))
        if coordinates.dimension == 2:
            connection = coordinates.connection(t).numpy()
            fields["connection"] = ((*grid.dims, "m", "i", "k"), connection.reshape(*grid.shape, 2, 2, 2))
    about = {"resolution": free_energy.resolution, "certificate": dict(free_energy.certificate), **attributes}
    axes = {**dict(zip(grid.dims, grid.axes, strict=True)), **{key: list(grid.dims) for key in "ijk"}}
    return xr.Dataset(fields, coords=axes, attrs=about)
