"""Bregman divergences of a potential between all points of a set, and the loss of Theorem 3.2 made of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

BLOCK = 2**22  # divergences in memory at once


def bregman(
    value: Float[np.ndarray, "n"],
    gradient: Float[np.ndarray, "n 2"],
    t: Float[np.ndarray, "n 2"],
    *,
    sources: slice = slice(None),
) -> Float[np.ndarray, "source n"]:
    """``D_F(t_j, t_i) = F(t_j) - F(t_i) - <grad F(t_i), t_j - t_i>`` (Eq. 12), a row for each source ``t_i``.

    For ``F = log Z`` of an exponential family in ``t`` this is ``KL(p(.|t_i) || p(.|t_j))``, in nats. An affine
    function added to ``F`` changes nothing.

    Args:
        value: ``F`` at each point.
        gradient: ``grad F`` at each point.
        t: the points, in the parameters by which ``gradient`` is taken.
        sources: which points to take as sources.
    """
    slope = gradient[sources]
    at_source = np.einsum("si,si->s", slope, t[sources])
    return value - value[sources, None] - slope @ t.T + at_source[:, None]


def divergence_loss(
    value: Float[np.ndarray, "n"],
    gradient: Float[np.ndarray, "n 2"],
    true_value: Float[np.ndarray, "n"],
    true_gradient: Float[np.ndarray, "n 2"],
    t: Float[np.ndarray, "n 2"],
) -> float:
    """Mean over pairs of points of ``(exp(-D_F^(t, t')) - exp(-D_F(t, t')))^2``: the integral of Eq. 13 on a grid.

    By Theorem 3.2 the Hessian of the estimate converges uniformly where this converges to zero. A divergence that the
    estimate makes negative, where it is not convex, counts as it is, up to an overflow.

    Args:
        value: the estimate at each point.
        gradient: its gradient.
        true_value: the truth at each point.
        true_gradient: its gradient.
        t: the points, which should cover the box evenly.
    """
    step = max(1, BLOCK // len(t))
    total = 0.0
    for start in range(0, len(t), step):
        part = slice(start, start + step)
        found = np.exp(np.minimum(-bregman(value, gradient, t, sources=part), 300.0))
        true = np.exp(-bregman(true_value, true_gradient, t, sources=part))
        total += float(((found - true) ** 2).sum())
    return total / len(t) ** 2
