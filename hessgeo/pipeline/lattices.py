"""What couplings a lattice of a solvable system has in its box, and how it can be sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INVERSE_TEMPERATURE = 0.4  # of the mixture at the scale 1, as in ``hessgeo.systems.solvable.isnnn``


def clusters_can(settings: Mapping[str, Any]) -> bool:
    """Whether clusters can sample a lattice over its whole box: no coupling turns spins against each other.

    That of nearest neighbours alone may, in a lattice without a field whose sites have two colours.
    """
    kind, (first, second) = settings["kind"], settings["extent"]
    if settings["parameters"] == "temperature":
        return True
    if settings["parameters"] == "mixture":
        # Shares of the two couplings, which a positive temperature divides.
        first, second = first, (1 - first[1], 1 - first[0])
    return (first[0] >= 0 or (kind == "isnnn" and settings["size"] % 2 == 0)) and (
        kind == "ising" or second[0] >= 0
    )


def largest_coupling(settings: Mapping[str, Any]) -> float:
    """The largest natural parameter that a lattice has in its box, whose temperatures are positive."""
    (a0, a1), (b0, b1) = settings["extent"]
    if settings["parameters"] == "temperature":
        return max(1, abs(b0), abs(b1)) / a0
    if settings["parameters"] == "mixture":
        return INVERSE_TEMPERATURE * max(abs(a0), abs(a1), abs(1 - a0), abs(1 - a1)) / b0
    return max(abs(a0), abs(a1), abs(b0), abs(b1))
