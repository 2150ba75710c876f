"""How a lattice of a solvable system can be sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
