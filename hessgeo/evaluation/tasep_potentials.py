"""What the free energy of an exclusion process has been taken to be, in the limit of a long lattice.

A function of ``r = min(alpha, beta, 1/2)`` each: the smaller rate in the phases of low and high density, and 1/2,
where both are constant, in that of maximal current.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import entr

from hessgeo.estimators.estimate import Estimate
from hessgeo.systems.solvable.tasep import limiting_current

Points = Float[np.ndarray, "node 2"]


def current_potential(t: Points) -> Estimate:
    """Minus the current, ``-J = -r (1 - r)``, with which Table 1 of Lobashev et al. compares (Eq. 122).

    PAPER: no potential of the Fisher metric of the process, see ``entropy_potential``; and up to a factor of either
    sign. A free energy is convex and the current concave, so its sign is stated here and not left to a fit.
    """
    rate, active = _smaller_rate(t)
    return Estimate(value=-limiting_current(t), gradient=(2 * rate - 1)[:, None] * active)


def entropy_potential(t: Points) -> Estimate:
    """``r log r + (1 - r) log(1 - r)`` a site: the convex potential of the Fisher metric inside each phase.

    At a density ``r`` sites are independent, with information ``1 / (r (1 - r))`` about ``r``; at maximal current no
    site tells of the rates.
    """
    rate, active = _smaller_rate(t)
    return Estimate(value=-entr(rate) - entr(1 - rate), gradient=np.log(rate / (1 - rate))[:, None] * active)


def _smaller_rate(t: Points) -> tuple[Float[np.ndarray, "node"], Points]:
    """``r``, and its derivatives by both rates; on the line ``alpha = beta`` the mean of both sides."""
    t = np.asarray(t, dtype=np.float64)
    rate = np.minimum(t.min(axis=1), 0.5)
    smallest = (t == t.min(axis=1, keepdims=True)) & (t < 0.5)
    return rate, smallest / np.maximum(smallest.sum(axis=1, keepdims=True), 1)
