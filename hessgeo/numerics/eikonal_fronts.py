"""First arrivals of a front that starts from many nodes at once, such as those beside a curve."""

from __future__ import annotations

from math import inf

import numpy as np
from jaxtyping import Float

from hessgeo.numerics.eikonal import Medium, marched


def arrivals(field: Medium, first: Float[np.ndarray, "na nb"]) -> Float[np.ndarray, "na nb"]:
    """Arrivals of a front that starts from many nodes, each at its own time; first order in the grid step.

    Args:
        field: the medium.
        first: the times, from zero; infinite at nodes that the front does not start from.

    Raises:
        ValueError: if the times are not one a node, or one is negative or not a number.
    """
    if first.shape != field.shape or not np.all(first >= 0):
        raise ValueError(
            f"times of shape {first.shape} are not allowed; allowed: {field.shape}, none below zero"
        )
    # Closed nodes have no time, and a front from many nodes no one cone.
    reached = np.where(field.passable, first.ravel().astype(float), inf)
    none, flat = np.zeros(len(reached), bool), np.zeros(len(reached))
    return marched(field, none, reached, flat, np.zeros(3), np.zeros(2))
