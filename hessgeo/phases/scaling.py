"""Transition or crossover: whether the strength of a boundary grows with the size of the system, or saturates.

A ridge of the susceptibility is no transition. Where there is one, the eigenvalue of the metric on the boundary grows
as a power of the size (of the number of spins ``n``: as ``n`` between coexisting phases, as ``n^(gamma / d nu)`` at a
critical point), so that the strength in nats grows with the logarithm of the size at a steady rate. Where there is
none, the rate falls to zero once the size exceeds the correlation length. The resolution number ``N`` stands for the
size where it is what changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from hessgeo.phases.segment import PhaseMap, boundary_places, boundary_strengths, ridge_strength

TRANSITION, CROSSOVER, UNDECIDED = "transition", "crossover", "undecided"

_GROWING = 0.25  # least rate of a transition, nats per nat of size; the critical Curie-Weiss model has 1/2
_STEADY = 0.9  # of the rate that is left at twice the size, at a transition
_FALLING = 0.8  # and at a crossover, at most
_FLAT = 0.1  # a rate that is none
_EXTENSIVE = 0.8  # a rate near that of coexisting phases, 1, which is reached from above


def growth_rates(
    sizes: Float[np.ndarray, "size"], strengths: Float[np.ndarray, "size *place"]
) -> Float[np.ndarray, "size-1 *place"]:
    """Rise of the strength per rise of ``log size``, between neighbouring sizes."""
    step = np.diff(np.log(sizes)).reshape(-1, *(1,) * (np.ndim(strengths) - 1))
    return np.diff(strengths, axis=0) / step


def size_verdict(
    sizes: Float[np.ndarray, "size"] | Sequence[float],
    strengths: Float[np.ndarray, "size *place"],
    *,
    errors: Float[np.ndarray, "size *place"] | None = None,
) -> np.ndarray:
    """``transition``, ``crossover`` or ``undecided`` of each place of a boundary.

    From the rate of growth between the two largest sizes and how much of it is left per doubling: a transition if it
    is above 1/4, with 9/10 left or more (or above 4/5, whatever is left); a crossover if it is below 1/10, or less than
    8/10 are left; else, or where errors of two standard deviations would change the answer, it is not decided. Of two
    sizes alone the rate itself decides.

    Args:
        sizes: of the system, or resolution numbers, increasing; at least two.
        strengths: of the boundary at each, in nats of the metric's eigenvalue.
        errors: standard errors of the strengths.

    Returns:
        An array of words, of the shape of a place.

    Raises:
        ValueError: if there are fewer than two sizes, they do not increase, or are not as many as the strengths.
    """
    sizes, strengths = np.asarray(sizes, dtype=float), np.asarray(strengths, dtype=float)
    if len(sizes) < 2 or len(sizes) != len(strengths) or not (np.diff(sizes) > 0).all() or not sizes[0] > 0:
        raise ValueError(
            f"sizes {sizes.tolist()} must be two or more, positive and increasing, one a strength"
        )
    rates = growth_rates(sizes, strengths)
    last = rates[-1]
    left = np.ones_like(last)
    if len(sizes) > 2:
        # Between the middles of the last two steps lie so many doublings.
        doublings = np.log2(sizes[-1] / sizes[-3]) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.where(rates[-2] > 0, np.maximum(last, 0) / rates[-2], 1.0) ** (1 / doublings)
    slack = np.zeros_like(last)
    if errors is not None:
        slack = 2 * np.hypot(errors[-1], errors[-2]) / np.log(sizes[-1] / sizes[-2])
    steady = (left >= _STEADY) if len(sizes) > 2 else np.zeros(last.shape, dtype=bool)
    falling = (left < _FALLING) & (last + slack < _EXTENSIVE) & (slack < _GROWING)
    grows = (last - slack >= _GROWING) & (steady | (last - slack >= _EXTENSIVE))
    flat = last + slack < _FLAT
    return np.select([flat | falling, grows], [CROSSOVER, TRANSITION], default=UNDECIDED)


def boundary_growth(
    phases: PhaseMap, heights: Sequence[Float[np.ndarray, "*nodes"]], sizes: Sequence[float]
) -> list[dict[str, Any]]:
    """How each boundary of a map of phases grows with the size, or with the resolution number.

    Args:
        phases: the boundaries to follow, at one of the sizes.
        heights: smoothed logarithm of the largest eigenvalue at each size.
        sizes: increasing.

    Returns:
        Of each two neighbouring ``phases``: the median ``strengths`` of their boundary, nats; and of two sizes or more
        the ``verdict`` on these, with the ``shares`` of its nodes that have each verdict.
    """
    ridges = np.stack([ridge_strength(phases.label, height) for height in heights])
    found = []
    for pair in boundary_strengths(phases):
        along = ridges[:, boundary_places(phases.label, pair)]
        strengths = np.median(along, axis=1)
        entry: dict[str, Any] = {"phases": list(pair), "strengths": strengths.tolist()}
        if len(sizes) > 1:
            words, counts = np.unique(size_verdict(sizes, along), return_counts=True)
            entry["verdict"] = str(size_verdict(sizes, strengths))
            entry["shares"] = {
                str(word): int(count) / along.shape[1] for word, count in zip(words, counts, strict=True)
            }
        found.append(entry)
    return found
