r"""Two modes on a line: the flow of Proposition 4.1 of Lobashev et al. (2025), by closed forms alone.

The exact map of a flow on a line keeps the order of points, so it is the monotone transport ``x = F^-1(Phi(z))`` from
the normal distribution to that of the data, ``F`` their distribution function.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.special import log_ndtr, ndtr

Line = Float[np.ndarray, "n"]

HALVINGS = 100  # to 1e-30 of the first interval


class ModePair:
    """Data at ``+m`` and ``-m`` with equal odds, each of width ``sigma``.

    Args:
        sigma: width of the modes.
        mode: their distance ``m`` from the middle.

    Raises:
        ValueError: unless both are positive.
    """

    def __init__(self, sigma: float, mode: float = 1.0) -> None:
        for name, value in (("sigma", sigma), ("mode", mode)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}, must be positive")
        self.sigma, self.mode = float(sigma), float(mode)

    def density(self, x: Line) -> Line:
        """Density of the data."""
        above, below = (x - self.mode) / self.sigma, (x + self.mode) / self.sigma
        return (np.exp(-(above**2) / 2) + np.exp(-(below**2) / 2)) / (2 * self.sigma * math.sqrt(2 * math.pi))

    def map(self, z: Line) -> Line:
        """``F^-1(Phi(z))`` by bisection of the tail's logarithm, to 1e-15 over the density of the data."""
        z = np.asarray(z, dtype=np.float64)
        side, target = np.sign(z), log_ndtr(-np.abs(z))
        low, high = np.zeros_like(z), self.mode + self.sigma * np.abs(z) + 1e-9
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            beyond = self._log_tail(middle) < target
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        return side * (low + high) / 2

    def jacobian(self, z: Line) -> Line:
        """``dx / dz = phi(z) / p(x)``."""
        return np.exp(-(np.asarray(z) ** 2) / 2) / (math.sqrt(2 * math.pi) * self.density(self.map(z)))

    @property
    def lipschitz(self) -> float:
        """The map's largest slope, at the boundary ``z = 0``: ``sigma exp(m^2 / (2 sigma^2))``."""
        return self.sigma * math.exp(self.mode**2 / (2 * self.sigma**2))

    def rate(self, alpha: float = 1.0, *, beta: float = 1.0) -> float:
        """Rate at which neighbours part at the saddle ``x = 0`` in the reverse flow, a unit of time.

        ``beta / 2 (1 - 1 / v + alpha^2 m^2 / v^2)``; at ``alpha = 1`` and ``m = 1`` it is Proposition 4.1's
        ``beta / 2 (1 + (1 - sigma^2) / sigma^4)``. Negative where neighbours still draw together.
        """
        v = alpha**2 * self.sigma**2 + (1 - alpha) * (1 + alpha)
        return beta / 2 * (1 - 1 / v + (alpha * self.mode / v) ** 2)

    @property
    def decision(self) -> float:
        """The level ``alpha`` at which the density half-way turns from a maximum to a minimum; NaN where it never does.

        ``alpha^2 m^2 = v``, so that ``alpha^2 = 1 / (1 + m^2 - sigma^2)``, if ``m`` is above ``sigma``.
        """
        if self.mode <= self.sigma:
            return math.nan
        return 1 / math.sqrt(1 + self.mode**2 - self.sigma**2)

    def stretching(self, alpha: float) -> float:
        """Slope of the exact map from noise to ``alpha`` at the boundary, ``sqrt(v) exp(alpha^2 m^2 / (2 v))``."""
        v = alpha**2 * self.sigma**2 + (1 - alpha) * (1 + alpha)
        return math.sqrt(v) * math.exp((alpha * self.mode) ** 2 / (2 * v))

    def _log_tail(self, x: Line) -> Line:
        """Logarithm of the share of the data above ``x >= 0``."""
        near, far = ndtr((self.mode - x) / self.sigma), ndtr(-(self.mode + x) / self.sigma)
        with np.errstate(divide="ignore"):
            direct = np.log((near + far) / 2)
        terms = log_ndtr((self.mode - x) / self.sigma), log_ndtr(-(self.mode + x) / self.sigma)
        return np.where(direct > -30, direct, np.logaddexp(*terms) - math.log(2))
