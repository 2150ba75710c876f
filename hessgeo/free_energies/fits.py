"""The fits of a free energy to a posterior, by the names that settings give them: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hessgeo.free_energies.base import FitData, FreeEnergy
from hessgeo.free_energies.dual import dual_of_posterior
from hessgeo.free_energies.mlp import mlp_of_posterior
from hessgeo.free_energies.spline import spline_of_posterior

# A fit takes its data and the settings ``free_energy`` of a study, of which it reads its own options.
Fit = Callable[[FitData, Mapping[str, Any]], FreeEnergy]

FITS: dict[str, Fit] = {
    "dual": dual_of_posterior,  # exact at kinks, without a basis: the default
    "spline": spline_of_posterior,  # convex, certified, with error bars
    "mlp": mlp_of_posterior,  # the paper's
}
