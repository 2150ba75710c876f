"""Non-negative weights of a mixture, of highest likelihood: expectation and maximisation, extrapolated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix

_CHECKED = 10  # extrapolated steps between two looks at the gap


@dataclass(frozen=True)
class MixtureWeights:
    """The weights found.

    Attributes:
        weights: non-negative.
        iterations: passes over the kernel.
        gap: no weights have a likelihood higher by more (Lindsay 1983).
        converged: whether the gap is within the tolerance.
    """

    weights: Float[np.ndarray, "atom"]
    iterations: int
    gap: float
    converged: bool


def mixture_weights(
    kernel: csr_matrix, mass: Float[np.ndarray, "place"], *, tolerance: float, max_iterations: int
) -> MixtureWeights:
    r"""``x >= 0`` that maximises ``sum_g s_g (log y_g - y_g)``, ``y = K x``: the mixture nearest to one everywhere.

    The loss is convex in ``x``, and a fixed point ``x_k <- x_k sum_g s_g K_gk / y_g / sum_g s_g K_gk`` never raises
    it (Richardson 1972; Vardi, Shepp and Kaufman 1985). Every two of these steps are extrapolated to one
    (Varadhan and Roland 2008, SQUAREM), in the logarithms of the weights, if that does not raise it either.

    Args:
        kernel: non-negative, no row or column empty.
        mass: of each row.
        tolerance: gap to stop at, in the units of the loss.
        max_iterations: passes at most.
    """
    step = _Step(kernel, mass)
    x, spent, round_ = np.zeros(kernel.shape[1]), 0, 0
    while True:
        first, _ = step(x)
        second, loss = step(first)
        spent, round_ = spent + 2, round_ + 1
        x = _extrapolated(step, x, first, second, loss)
        spent += 1
        if round_ % _CHECKED == 0 or spent >= max_iterations:
            x = step(x)[0]
            gap = step.gap(x)
            if gap <= tolerance or spent >= max_iterations:
                return MixtureWeights(np.exp(x), spent, gap, bool(gap <= tolerance))


class _Step:
    """One fixed-point step in the logarithms of the weights, and the loss where it starts."""

    def __init__(self, kernel: csr_matrix, mass: Float[np.ndarray, "place"]) -> None:
        self.kernel, self.turned, self.mass = kernel, csr_matrix(kernel.T), mass
        self.total = self.turned @ mass

    def __call__(self, x: Float[np.ndarray, "atom"]) -> tuple[Float[np.ndarray, "atom"], float]:
        y = self.kernel @ np.exp(x)
        return x + np.log(self.turned @ (self.mass / y) / self.total), self._loss(y)

    def loss(self, x: Float[np.ndarray, "atom"]) -> float:
        """Minus the likelihood."""
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            found = self._loss(self.kernel @ np.exp(x))
        return found if np.isfinite(found) else np.inf

    def _loss(self, y: Float[np.ndarray, "place"]) -> float:
        return float(self.mass @ (y - np.log(y)))

    def gap(self, x: Float[np.ndarray, "atom"]) -> float:
        """A bound, by the steepest atom, on what the loss can fall after a step: the best has its ``sum_g s_g y_g``."""
        rates = self.turned @ (self.mass / (self.kernel @ np.exp(x))) / self.total
        return float(self.mass.sum() * (rates.max() - 1))


def _extrapolated(
    step: _Step,
    x: Float[np.ndarray, "atom"],
    first: Float[np.ndarray, "atom"],
    second: Float[np.ndarray, "atom"],
    loss: float,
) -> Float[np.ndarray, "atom"]:
    """The point that two steps point at, or the second of them."""
    drift, bend = first - x, second - 2 * first + x
    share = np.exp(first) * step.total
    steepest = np.sqrt((share * bend**2).sum())
    length = np.sqrt((share * drift**2).sum()) / steepest if steepest > 0 else 1.0
    while length > 1:
        trial = x + 2 * length * drift + length**2 * bend
        if step.loss(trial) <= loss:
            return trial
        length = 1 + (length - 1) / 4 if length > 1.1 else 1.0
    return second
