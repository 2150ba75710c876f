"""Which of many places along a way to stop at, so that the longest of so many steps is as short as it can be."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def paced(distance: Float[np.ndarray, "m m"], count: int) -> Int[np.ndarray, "count"]:
    """``count`` of ``m`` places in their order, ends included, whose longest step is the least there is.

    Exact, by dynamic programming: the longest step of the best ``h + 1`` stops that end at ``j`` is, over all ``i``
    before ``j``, the least of the larger of that of ``h`` stops ending at ``i`` and the step from ``i`` to ``j``. Among
    choices with that longest step, the one of the least sum of squared steps is taken, which evens out the others.

    Args:
        distance: between all places.
        count: stops, from 2 to ``m``.

    Raises:
        ValueError: if there are too few places or stops.
    """
    places = len(distance)
    if not 2 <= count <= places:
        raise ValueError(f"{count} stops at {places} places: allowed are 2 to {places}")
    before = np.triu(np.ones((places, places), dtype=bool), 1)
    steps = np.where(before, distance, np.inf)
    longest = _chained(steps, count, np.maximum)[0]
    allowed = np.where(steps <= longest, steps**2, np.inf)
    _, chosen = _chained(allowed, count, np.add)
    return chosen


def _chained(
    steps: Float[np.ndarray, "m m"], count: int, join: np.ufunc
) -> tuple[float, Int[np.ndarray, "count"]]:
    """Least joint cost of a chain of ``count`` places from the first to the last, and the chain."""
    cost, origins = np.full(len(steps), np.inf), []
    cost[0] = 0.0
    for _ in range(count - 1):
        joined = join(cost[:, None], steps)
        origins.append(joined.argmin(axis=0))
        cost = joined.min(axis=0)
    chosen = [len(steps) - 1]
    for origin in reversed(origins):
        chosen.append(int(origin[chosen[-1]]))
    return float(cost[-1]), np.array(chosen[::-1])


def fewest(distance: Float[np.ndarray, "m m"], step: float) -> int | None:
    """The least number of stops, ends included, no step of which is longer than ``step``; None if there is none.

    Args:
        distance: between all places, in their order.
        step: the bound.
    """
    hops = np.full(len(distance), np.inf)
    hops[0] = 0
    for place in range(1, len(distance)):
        near = np.flatnonzero(distance[:place, place] <= step)
        hops[place] = hops[near].min(initial=np.inf) + 1
    return int(hops[-1]) + 1 if np.isfinite(hops[-1]) else None
