"""Newton's method, damped by halving: one loop, whatever the loss and whatever its variables.

The step is ``-H^-1 g`` with ``H`` positive definite, the Hessian of a convex loss or the Fisher information of a
likelihood (Fisher scoring). Half of ``g' H^-1 g``, the Newton decrement, is what the quadratic model of the loss has
left to fall, in the units of the loss: it certifies how near the minimum is, whatever the units of the variables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tqdm import tqdm

_ARMIJO = 1e-4  # of the decrease that the slope promises: a step must bring at least this share (Armijo 1966)


class Point(Protocol):
    """Where the iteration stands. What two of its methods share, it keeps; a loss that is not defined is infinite."""

    @property
    def loss(self) -> float:
        """The loss here, all penalties included."""

    def newton(self) -> tuple[Any, float]:
        """The step ``-H^-1 g`` from here, and the decrement ``g' H^-1 g / 2``."""

    def moved(self, step: Any, length: float) -> Any:
        """The point that lies a share ``length`` of the step from here."""


# Where types are checked at run time a bound would be asked for by computing all that a point has.
if TYPE_CHECKING:
    P = TypeVar("P", bound=Point)
else:
    P = TypeVar("P")


@dataclass(frozen=True)
class Minimum(Generic[P]):
    """Where the iteration ended.

    Attributes:
        point: the last one.
        converged: whether its decrement is within the tolerance.
        iterations: steps taken, those before included.
        decrement: at ``point``.
    """

    point: P
    converged: bool
    iterations: int
    decrement: float

    @property
    def certificate(self) -> dict[str, float | int | bool | str]:
        """What is reported of it."""
        return {"converged": self.converged, "iterations": self.iterations, "decrement": self.decrement}


class NoDescentError(ArithmeticError):
    """No step along Newton's direction lowers the loss: rounding, or a direction that is none of descent."""


def minimise(
    start: P,
    *,
    tolerance: float,
    max_iterations: int,
    what: str,
    spent: int = 0,
    armijo: float = _ARMIJO,
    rounding: float = 0.0,
    halvings: int = 30,
    doublings: int = 0,
    prepare: Callable[[P], P] | None = None,
    bar: tqdm | None = None,
) -> Minimum[P]:
    """Newton's method from a point, each step halved until the loss falls as its slope promises.

    A trial at a share ``l`` of a step is taken where ``loss <= before - 2 armijo l decrement + rounding |before|``.

    Args:
        start: where the loss is finite.
        tolerance: decrement to stop at, in the units of the loss.
        max_iterations: steps at most; the decrement of the last point is known nevertheless.
        what: the fit, for the message.
        spent: steps that were taken before, which count.
        armijo: share of the promised decrease that is asked for; with 0 any decrease will do.
        rounding: of the loss, relative: what a step near the end may seem to raise it by.
        halvings: lengths that are tried, 1, 1/2, 1/4, and so on.
        doublings: longer ones, 2, 4, 8, and so on, that are tried while the loss falls. Towards a minimum at infinity,
            or nearly there, the loss falls as an exponential does, and full steps are too short.
        prepare: a move without a test, made before each of Newton's, that never raises the loss.
        bar: shows the decrement, and counts the steps.

    Raises:
        NoDescentError: if no length of a step is taken.
    """
    point, iterations = start, spent
    while True:
        if prepare is not None:
            point = prepare(point)
        step, decrement = point.newton()
        if bar is not None:
            bar.set_postfix(decrement=f"{decrement:.1e}")
        if decrement <= tolerance or iterations >= max_iterations:
            return Minimum(point, decrement <= tolerance, iterations, decrement)
        trial, length = _halve(point, step, decrement, what, armijo, rounding, halvings)
        point = _extended(point, trial, step, doublings if length == 1 else 0)
        iterations += 1
        if bar is not None:
            bar.update()


def _halve(
    point: P, step: Any, decrement: float, what: str, armijo: float, rounding: float, halvings: int
) -> tuple[P, float]:
    """The point after the longest halving of a step that lowers the loss enough, and its length."""
    before = point.loss
    for halving in range(halvings):
        length = 0.5**halving
        trial: P = point.moved(step, length)
        # Stated as what must hold, so that a loss that is not a number fails too.
        if trial.loss <= before - 2 * armijo * length * decrement + rounding * abs(before):
            return trial, length
    raise NoDescentError(f"{what}: no step along Newton's direction lowers the loss of {before:.6g} nats")


def _extended(point: P, trial: P, step: Any, doublings: int) -> P:
    """The best of the points after a full step and its doublings, up to the first that raises the loss."""
    for doubling in range(1, doublings + 1):
        longer: P = point.moved(step, 2.0**doubling)
        if not longer.loss < trial.loss:
            break
        trial = longer
    return trial
