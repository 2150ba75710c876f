"""Initial-value problems of many points at once, each with steps of its own, to nearly the precision of the numbers.

One step of size ``h`` by the midpoint rule of Gragg (1965) in 2, 4, ..., 12 pieces has an error in even powers of
``h``, which the scheme of Aitken and Neville removes one after another (Bulirsch and Stoer 1966): order 12. Solvers of
libraries share the steps of a batch, so that a result depends on what is computed beside it; here it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

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
        found, excess = _tried(field, begin + span * done[active], state[active], span * step, tolerance)
        good = excess <= 1
        if np.any(~good & (step < SHORTEST)):
            raise ValueError(f"a solution ends after {done[active][~good].min():.6g} of the way")
        state[active[good]] = found[good]
        done[active[good]] = np.where(step >= 1 - done[active], 1.0, done[active] + step)[good]
        size[active] = step * _change(excess, PIECES)
    raise ValueError(f"a solution takes more than {MOST_STEPS} steps")


def common_times(
    field: Field,
    start: Float[np.ndarray, "n m"],
    begin: float,
    end: float,
    *,
    tolerance: float = TOLERANCE,
    pieces: Sequence[int] = PIECES,
) -> Float[np.ndarray, "k"]:
    """Times from ``begin`` to ``end`` by which steps keep the errors of all of some points below a tolerance.

    Steps that all points share make of the way a smooth map. Those that each point chooses for itself add an error of
    the size of the tolerance to the difference of two points, however near they are.

    Args:
        field: as of ``integrate``.
        start: the states at ``begin`` of points that stand for all.
        begin: of the time.
        end: of the time.
        tolerance: as of ``integrate``.
        pieces: even numbers of pieces of a step, rising: fewer where the field is not smooth enough for the order.

    Raises:
        ValueError: as ``integrate``.
    """
    state, span = np.array(start, dtype=np.float64), float(end) - float(begin)
    done, size = [0.0], 0.25
    while done[-1] < 1 and len(done) <= MOST_STEPS:
        step = min(size, 1 - done[-1])
        if step < SHORTEST:
            raise ValueError(f"a solution ends after {done[-1]:.6g} of the way")
        now, long = np.full(len(state), begin + span * done[-1]), np.full(len(state), span * step)
        found, excess = _tried(field, now, state, long, tolerance, pieces)
        if excess.max() <= 1:
            state = found
            done.append(1.0 if step >= 1 - done[-1] else done[-1] + step)
        size = float(step * _change(excess.max(), pieces))
    if done[-1] < 1:
        raise ValueError(f"a solution takes more than {MOST_STEPS} steps")
    return begin + span * np.array(done)


def follow(
    field: Field,
    start: Float[np.ndarray, "n m"],
    times: Float[np.ndarray, "k"],
    *,
    pieces: Sequence[int] = PIECES,
) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n"]]:
    """The states at the last of some times, by one step between two, and of each point the largest error of a step."""
    state, worst = np.array(start, dtype=np.float64), np.zeros(len(start))
    for now, then in pairwise(np.asarray(times, dtype=np.float64)):
        every = np.ones(len(state))
        state, error = _extrapolated(field, now * every, state, (then - now) * every, pieces)
        worst = np.maximum(worst, error.max(axis=1))
    return state, worst


def _tried(
    field: Field,
    time: Float[np.ndarray, "n"],
    state: Float[np.ndarray, "n m"],
    step: Float[np.ndarray, "n"],
    tolerance: float,
    pieces: Sequence[int] = PIECES,
) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n"]]:
    """The states one step on, and their errors in units of what is tolerated."""
    # A step too long may overflow; it is taken back like any other whose error is too large.
    with np.errstate(over="ignore", invalid="ignore"):
        found, error = _extrapolated(field, time, state, step, pieces)
        scale = tolerance * np.maximum(np.maximum(np.abs(found), np.abs(state)), 1)
        excess = (error / scale).max(axis=1)
    return found, np.where(np.isnan(excess), np.inf, excess)


def _change(excess: Float[np.ndarray, "*n"], pieces: Sequence[int]) -> Float[np.ndarray, "*n"]:
    """How much longer or shorter the next step is."""
    with np.errstate(divide="ignore"):
        return np.clip(_SAFETY * excess ** (-1 / (2 * len(pieces) - 1)), _LEAST, _LARGEST)


def _extrapolated(
    field: Field,
    time: Float[np.ndarray, "n"],
    state: Float[np.ndarray, "n m"],
    step: Float[np.ndarray, "n"],
    pieces: Sequence[int],
) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
    """The states one step on, and how far the last extrapolation moved them."""
    first = field(time, state)
    row: list[np.ndarray] = []
    for place, count in enumerate(pieces):
        above, row = row, [_midpoint(field, time, state, step, count, first)]
        for column in range(place):
            ratio = (count / pieces[place - 1 - column]) ** 2
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
