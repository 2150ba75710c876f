"""Thermodynamic curvature of a solvable system, from its exact cumulants."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from hessgeo.metrics.curvature import thermodynamic_curvature
from hessgeo.systems.solvable.base import Points, SolvableSystem

# Central differences of fourth order, f' = (8 (f_1 - f_-1) - (f_2 - f_-2)) / 12 h.
_WEIGHTS = {1: 8 / 12, 2: -1 / 12}


def third_cumulants(
    system: SolvableSystem, natural: Points, *, step: float = 2e-3
) -> Float[np.ndarray, "n 2 2 2"]:
    """Third derivatives of ``log Z`` by central differences of its exact Hessian, of fourth order in the step.

    Their error is about ``step^4`` times a seventh derivative of ``log Z``, and its rounding that of the metric over
    the step. Symmetric in all indices: the mixed ones are averaged over the ways to find them.

    Args:
        system: the family.
        natural: natural parameters.
        step: of the differences, in natural parameters.
    """
    slopes = []
    for axis in np.eye(2):
        slope = np.zeros((len(natural), 2, 2))
        for k, weight in _WEIGHTS.items():
            above = system.fisher_metric(natural + k * step * axis)
            slope += weight / step * (above - system.fisher_metric(natural - k * step * axis))
        slopes.append(slope)
    third = np.stack(slopes, axis=-1)
    return (third + np.moveaxis(third, -1, -2) + np.moveaxis(third, -1, -3)) / 3


def exact_curvature(system: SolvableSystem, natural: Points, *, step: float = 2e-3) -> Float[np.ndarray, "n"]:
    """Scalar (Ruppeiner) curvature of the Fisher metric at natural parameters, see ``thermodynamic_curvature``.

    That of ``g = grad^2 log Z`` of the whole system: times the number of sites it is that of the metric a site.
    """
    third = third_cumulants(system, natural, step=step)
    metric = system.fisher_metric(natural)
    return thermodynamic_curvature(torch.from_numpy(metric), torch.from_numpy(third)).numpy()
