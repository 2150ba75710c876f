r"""When modes part: how noisy a state must be for the density to have one maximum where it had two.

At the time ``tau`` of ``MixtureFlow`` the density of ``u = y / tau`` is the mixture of ``N(mu_k, 1 / tau^2)``, so its
maxima are followed as the bandwidth grows, until both of a pair are one and the same: they met at a saddle, or one of
them met another saddle, and what lay there slid to the other.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

Place = Float[np.ndarray, "d"]

RATIO = 0.9  # of the inverse bandwidth from one step of the search to the next
SAME = (
    1e-4  # of the modes' distance, within which two maxima are one: at a pitchfork an error of 1e-8 in time
)
ACCURATE = 1e-9  # relative interval of the square of the time at which the search ends
MOST = 500  # steps of an ascent


def parting_time(
    modes: Float[np.ndarray, "k d"], weights: Float[np.ndarray, "k"], pair: tuple[int, int], *, last: float
) -> float:
    """The earliest time ``tau`` from which two modes have maxima of their own till the last; NaN if they never do.

    Args:
        modes: their centres.
        weights: their odds.
        pair: the two modes.
        last: the time of the data, ``1 / sigma``.
    """
    scale = math.dist(modes[pair[0]], modes[pair[1]])
    square = last**2
    apart = [_maximum(modes, weights, square, modes[k]) for k in pair]
    if math.dist(*apart) <= SAME * scale:
        return math.nan
    while True:
        lower = square * RATIO
        moved = [_maximum(modes, weights, lower, u) for u in apart]
        if math.dist(*moved) <= SAME * scale:
            break
        square, apart = lower, moved
    while square - lower > ACCURATE * square:
        middle = (square + lower) / 2
        moved = [_maximum(modes, weights, middle, u) for u in apart]
        if math.dist(*moved) <= SAME * scale:
            lower = middle
        else:
            square, apart = middle, moved
    return math.sqrt((square + lower) / 2)


def _maximum(
    modes: Float[np.ndarray, "k d"], weights: Float[np.ndarray, "k"], square: float, start: Place
) -> Place:
    """The maximum uphill from a place, of the log density of ``N(mu_k, 1 / square)``, by Newton's steps that climb."""
    u = start
    value, gradient, hessian = _log_density(modes, weights, square, u)
    for _ in range(MOST):
        curvature, axes = np.linalg.eigh(hessian)
        # Downhill curvatures count by their size, and none below rounding: the step leads uphill.
        size = np.maximum(np.abs(curvature), 1e-12 * square)
        step = axes @ ((axes.T @ gradient) / size)
        step *= min(1.0, 0.5 / (math.sqrt(square) * max(float(np.linalg.norm(step)), 1e-300)))
        while True:
            new = _log_density(modes, weights, square, u + step)
            if new[0] > value or np.linalg.norm(step) <= 1e-15 * (1 + np.linalg.norm(u)):
                break
            step = step / 2
        if new[0] <= value:
            return u
        u, (value, gradient, hessian) = u + step, new
    return u


def _log_density(
    modes: Float[np.ndarray, "k d"], weights: Float[np.ndarray, "k"], square: float, u: Place
) -> tuple[float, Place, Float[np.ndarray, "d d"]]:
    """Logarithm of the density but for a constant, its gradient and its Hessian."""
    terms = np.log(weights) - square * ((u - modes) ** 2).sum(axis=1) / 2
    top = terms.max()
    odds = np.exp(terms - top)
    total = odds.sum()
    odds = odds / total
    apart = modes - odds @ modes
    covariance = (odds[:, None] * apart).T @ apart
    gradient = square * (odds @ modes - u)
    return float(top + np.log(total)), gradient, square**2 * covariance - square * np.eye(len(u))
