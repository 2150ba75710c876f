"""The Curie-Weiss model, where every spin meets every other: exact by a sum over the magnetisation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Int8
from scipy.special import gammaln, logsumexp

from hessgeo.systems.random_streams import uniforms
from hessgeo.systems.solvable.base import (
    Coordinates,
    Cumulants,
    Points,
    SolvableSystem,
    check_points,
    natural_coordinates,
)

# Numbers at once in the table of points and magnetisations.
TABLE = 2**22


class CurieWeiss(SolvableSystem):
    """``p(s) = exp(K M^2 / (2 N) + h M) / Z`` with ``M = sum_i s_i``; natural parameters ``(K, h)``.

    For ``K > 1`` the magnetisation jumps where ``h`` changes sign, along a line of first-order transitions.

    Args:
        size: number of spins ``N``, at least 2.
        coordinates: parameters of the study, ``(K, h)`` unless given.

    Raises:
        ValueError: on fewer spins.
    """

    def __init__(self, size: int, *, coordinates: Coordinates | None = None) -> None:
        if size < 2:
            raise ValueError(f"size is {size}, must be at least 2")
        self.size = size
        self.coordinates = coordinates or natural_coordinates("K", "h")
        self.sample_shape = (size,)

    def sample(
        self, t: Float[np.ndarray, "n 2"], index: Int[np.ndarray, "n"], seed: int
    ) -> Int8[np.ndarray, "n size"]:
        """Draw one independent state of spins -1 and 1 at each point, see ``System.sample``.

        The number of spins up by its exact distribution, then as many of the spins, all choices alike.
        """
        natural = self.natural(t)
        states = np.empty((len(natural), self.size), dtype=np.int8)
        for part in self._parts(len(natural)):
            numbers = uniforms(index[part], seed, count=self.size + 1)
            cumulative = np.cumsum(np.exp(self._log_probability(natural[part])[0]), axis=1)
            up = (cumulative <= numbers[:, :1] * cumulative[:, -1:]).sum(axis=1)
            # The spins with the smallest numbers are up; a tie has odds of size^2 2^-54.
            rank = numbers[:, 1:].argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
            states[part] = np.where(rank < up[:, None], 1, -1)
        return states

    def sufficient_statistics(self, states: Int8[np.ndarray, "n size"]) -> Points:
        """``(M^2 / (2 N), M)`` of each state."""
        total = states.sum(axis=1, dtype=np.int64).astype(np.float64)
        return np.stack([total**2 / (2 * self.size), total], axis=1)

    def cumulants(self, natural: Points) -> Cumulants:
        """See ``SolvableSystem``; sums over the ``N + 1`` values of ``M``."""
        natural = check_points(natural)
        parts = [self._cumulants(natural[part]) for part in self._parts(len(natural))]
        return Cumulants(*(np.concatenate(field) for field in zip(*parts, strict=True)))

    def _cumulants(self, natural: Points) -> Cumulants:
        log_probability, log_z = self._log_probability(natural)
        probability = np.exp(log_probability)
        mean = probability @ self._statistics
        deviation = self._statistics - mean[:, None, :]
        return Cumulants(log_z, mean, np.einsum("nm,nmi,nmj->nij", probability, deviation, deviation))

    @property
    def _statistics(self) -> Float[np.ndarray, "m 2"]:
        total = 2.0 * np.arange(self.size + 1) - self.size
        return np.stack([total**2 / (2 * self.size), total], axis=1)

    def _log_probability(self, natural: Points) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n"]]:
        """Logarithms of the probability of each number of spins up, and of Z."""
        up = np.arange(self.size + 1)
        choices = gammaln(self.size + 1) - gammaln(up + 1) - gammaln(self.size - up + 1)
        weight = natural @ self._statistics.T + choices
        log_z = logsumexp(weight, axis=1)
        return weight - log_z[:, None], log_z

    def _parts(self, n: int) -> list[slice]:
        step = max(1, TABLE // (self.size + 1))
        return [slice(start, min(start + step, n)) for start in range(0, max(n, 1), step)]
