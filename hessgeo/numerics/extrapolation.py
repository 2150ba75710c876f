"""Initial-value problems of many points at once, each with steps of its own, to nearly the precision of the numbers.

One step of size ``h`` by the midpoint rule of Gragg (1965) in 2, 4, ..., 12 pieces has an error in even powers of
``h``, which the scheme of Aitken and Neville removes one after another (Bulirsch and Stoer 1966): order 12. Solvers of
libraries share the steps of a batch, so that a result depends on what is computed beside it; here it does not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

# (time of each point, state of each point) -> rate of change of each state.
Field = Callable[[Float[np.ndarray, "n"], Float[np.ndarray, "n m"]], Float[np.ndarray, "n m"]]

TOLERANCE = 1e-12  # of the error of a step, relative to the state where this is above one
PIECES = (2, 4, 6, 8, 10, 12)
MOST_STEPS = 10_000
SHORTEST = 1e-13  # step, as a share of the whole way, below which a solution is given up
_SAFETY, _LEAST, _LARGEST = 0.9, 0.2, 4.0  # of the change of a step's size


def integrate(
    field: Field,
    start: Float[np.ndarray, "n m"],
    begin: float,
    end: float,
    *,
    tolerance: float = TOLERANCE,
) -> Float[np.ndarray, "n m"]:
    """The states at ``end`` of the solutions of ``dy/dt = field(t, y)`` with ``y(begin) = start``.

    A point's steps are chosen from its own error, so that neither batches nor their order change its result.

    Args:
        field: of many points at once, each at its own time; smooth, or the order is lost.
        start: the states at ``begin``.
        begin: of the time.
        end: of the time, after it or before it.
        tolerance: largest error of a step, in units of the state's size where that is above one, else absolute.

    Raises:
        ValueError: if a point takes more than 10,000 steps, or one that is none, as where a solution has no end.
    """
    state = np.array(start, dtype=np.float64)
    span = float(end) - float(begin)
    if span == 0 or len(state) == 0:
        return state
    done, size = np.zeros(len(state)), np.full(len(state), 0.25)
    for _ in range(MOST_STEPS):
        active = np.flatnonzero(done < 1)
        if len(active) == 0:
            return state
        step = np.minimum(size[active], 1 - done[active])
        # A step too long may overflow; it is taken back like any other whose error is too large.
        with np.errstate(over="ignore", invalid="ignore"):
            found, error = _extrapolated(field, begin + span * done[active], state[active], span * step)
            scale = tolerance * np.maximum(np.maximum(np.abs(found), np.abs(state[active])), 1)
            excess = (error / scale).max(axis=1)
        excess = np.where(np.isnan(excess), np.inf, excess)
        good = excess <= 1
        if np.any(~good & (step < SHORTEST)):
            raise ValueError(f"a solution ends after {done[active][~good].min():.6g} of the way")
        state[active[good]] = found[good]
        done[active[good]] = np.where(step >= 1 - done[active], 1.0, done[active] + step)[good]
        with np.errstate(divide="ignore"):
            change = _SAFETY * excess ** (-1 / (2 * len(PIECES) - 1))
        size[active] = step * np.clip(change, _LEAST, _LARGEST)
    raise ValueError(f"a solution takes more than {MOST_STEPS} steps")


def _extrapolated(
    field: Field,
    time: Float[np.ndarray, "n"],
    state: Float[np.ndarray, "n m"],
    step: Float[np.ndarray, "n"],
) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
    """The states one step on, and how far the last extrapolation moved them."""
    first = field(time, state)
    row: list[np.ndarray] = []
    for place, pieces in enumerate(PIECES):
        above, row = row, [_midpoint(field, time, state, step, pieces, first)]
        for column in range(place):
            ratio = (pieces / PIECES[place - 1 - column]) ** 2
            row.append(row[column] + (row[column] - above[column]) / (ratio - 1))
    return row[-1], np.abs(row[-1] - row[-2])


def _midpoint(
    field: Field,
    time: Float[np.ndarray, "n"],
    state: Float[np.ndarray, "n m"],
    step: Float[np.ndarray, "n"],
    pieces: int,
    first: Float[np.ndarray, "n m"],
) -> Float[np.ndarray, "n m"]:
    """One step in an even number of pieces, without the last smoothing, which the even powers do not need."""
    h = (step / pieces)[:, None]
    before, now = state, state + h * first
    for k in range(1, pieces):
        before, now = now, before + 2 * h * field(time + k * h[:, 0], now)
    return now
