"""The free energy of thermodynamics, whose gauge is affine in temperature and field."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hessgeo.estimators.estimate import Estimate


def helmholtz(potential: Estimate, t: Float[np.ndarray, "node 2"]) -> Estimate:
    """``A = -T F`` and its gradient, from a potential ``F = log Z`` in ``(T, H)``: minus entropy and magnetisation.

    What data leave undetermined of ``F`` is affine in ``(1/T, H/T)``; times ``T`` that is affine in ``(T, H)``, the
    gauge in which Lobashev et al. score the Ising model (Eqs. 118, 119). The metric is left out: it is not a Hessian
    of ``A``.

    Args:
        potential: value and gradient by ``(T, H)`` at the nodes, each if it is there.
        t: the nodes, ``(T, H)`` in units of the coupling.

    Returns:
        ``A`` in units of the coupling, and ``(dA/dT, dA/dH) = (-F - T dF/dT, -T dF/dH)``; the latter only where
        there are both values and a gradient.
    """
    if potential.value is None:
        return Estimate(numbers=potential.numbers)
    temperature = t[:, 0]
    gradient = None
    if potential.gradient is not None:
        gradient = -temperature[:, None] * potential.gradient
        gradient[:, 0] -= potential.value
    return Estimate(value=-temperature * potential.value, gradient=gradient, numbers=potential.numbers)
