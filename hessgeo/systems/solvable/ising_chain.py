"""The Ising chain in a field, closed to a ring: everything is exact, by a 2 x 2 transfer matrix."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Int8
from numba import njit

from hessgeo.numerics.jets import VALUE, exponential_jet, log_derivatives, multiply
from hessgeo.systems.random_streams import next_uniform, open_stream, stream_keys
from hessgeo.systems.solvable.base import (
    Coordinates,
    Cumulants,
    Points,
    SolvableSystem,
    check_points,
    natural_coordinates,
)


class IsingChain(SolvableSystem):
    """``p(s) = exp(K sum_i s_i s_{i+1} + h sum_i s_i) / Z`` on a ring; natural parameters ``(K, h)``.

    Args:
        length: number of spins, at least 3.
        coordinates: parameters of the study, ``(K, h)`` unless given.

    Raises:
        ValueError: on a shorter ring.
    """

    def __init__(self, length: int, *, coordinates: Coordinates | None = None) -> None:
        if length < 3:
            raise ValueError(f"length is {length}, must be at least 3")
        self.length = length
        self.coordinates = coordinates or natural_coordinates("K", "h")
        self.sample_shape = (length,)

    def sample(
        self, t: Float[np.ndarray, "n 2"], index: Int[np.ndarray, "n"], seed: int
    ) -> Int8[np.ndarray, "n length"]:
        """Draw one independent state of spins -1 and 1 at each point, see ``System.sample``."""
        states = np.empty((len(t), self.length), dtype=np.int8)
        _draw(*stream_keys(index, seed), self.natural(t), states)
        return states

    def sufficient_statistics(self, states: Int8[np.ndarray, "n length"]) -> Points:
        """``(sum_i s_i s_{i+1}, sum_i s_i)`` of each state."""
        s = states.astype(np.int64)
        return np.stack([(s * np.roll(s, 1, axis=1)).sum(axis=1), s.sum(axis=1)], axis=1).astype(np.float64)

    def cumulants(self, natural: Points) -> Cumulants:
        """See ``SolvableSystem``; ``Z`` is the trace of a power of the transfer matrix, with its derivatives."""
        natural = check_points(natural)
        # Counted from the ordered ring, see ``transfer``.
        signs = np.where(natural < 0, -1.0, 1.0)
        spins = np.array([1.0, -1.0])
        bonds = np.multiply.outer(spins, spins)[None] - signs[:, 0, None, None]
        field = np.add.outer(spins, spins)[None] / 2 - signs[:, 1, None, None]
        log_weight = natural[:, 0, None, None] * bonds + natural[:, 1, None, None] * field
        power, log_scale = _power(exponential_jet(log_weight, bonds, field), self.length)
        log_z, mean, metric = log_derivatives(np.trace(power, axis1=2, axis2=3))
        shift = signs * self.length
        return Cumulants(log_z + log_scale + (shift * natural).sum(axis=1), mean + shift, metric)


def _power(
    jet: Float[np.ndarray, "6 n 2 2"], exponent: int
) -> tuple[Float[np.ndarray, "6 n 2 2"], Float[np.ndarray, "n"]]:
    """A power of matrices by repeated squaring, as a jet and the logarithm of what it was divided by."""
    power = np.zeros_like(jet)
    power[VALUE] = np.eye(2)
    log_power = log_jet = np.zeros(jet.shape[1])
    while exponent:
        if exponent & 1:
            power, log_power = _rescale(multiply(power, jet, np.matmul), log_power + log_jet)
        exponent >>= 1
        if exponent:
            jet, log_jet = _rescale(multiply(jet, jet, np.matmul), 2 * log_jet)
    return power, log_power


def _rescale(
    jet: Float[np.ndarray, "6 n 2 2"], log_scale: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "6 n 2 2"], Float[np.ndarray, "n"]]:
    largest = jet[VALUE].max(axis=(1, 2))
    return jet / largest[:, None, None], log_scale + np.log(largest)


@njit
def _draw(seed: np.uint64, index: np.ndarray, natural: np.ndarray, out: np.ndarray) -> None:
    """Spin after spin: each given the last one, and the number of weighted ways on to the first."""
    length = out.shape[1]
    # ways[k, s]: weight of all chains of k bonds from spin s to the first, scaled.
    ways, stream = np.empty((length + 1, 2)), np.empty(4, dtype=np.uint64)
    for n in range(len(index)):
        open_stream(seed, index[n], stream)
        coupling, field = natural[n]
        top = abs(coupling) + abs(field)
        up, down = np.exp(coupling + field - top), np.exp(coupling - field - top)
        across = np.exp(-coupling - top)
        odds = _closed(length, up, down, across)
        first = 0 if next_uniform(stream) < odds else 1
        out[n, 0] = 1 - 2 * first
        ways[0, first], ways[0, 1 - first] = 1.0, 0.0
        for k in range(length - 1):
            a = up * ways[k, 0] + across * ways[k, 1]
            b = across * ways[k, 0] + down * ways[k, 1]
            ways[k + 1, 0], ways[k + 1, 1] = a / (a + b), b / (a + b)
        last = first
        for i in range(1, length):
            a = (up if last == 0 else across) * ways[length - i, 0]
            b = (across if last == 0 else down) * ways[length - i, 1]
            last = 0 if next_uniform(stream) * (a + b) < a else 1
            out[n, i] = 1 - 2 * last


@njit
def _closed(length: int, up: float, down: float, across: float) -> float:
    """Probability that a spin of the ring is up: the share of ``(A^length)_00`` in the trace."""
    a00, a01, a11 = 1.0, 0.0, 1.0
    b00, b01, b11 = up, across, down
    while length:
        if length & 1:
            a00, a01, a11 = a00 * b00 + a01 * b01, a00 * b01 + a01 * b11, a01 * b01 + a11 * b11
            scale = max(a00, a01, a11)
            a00, a01, a11 = a00 / scale, a01 / scale, a11 / scale
        b00, b01, b11 = b00 * b00 + b01 * b01, b01 * (b00 + b11), b01 * b01 + b11 * b11
        scale = max(b00, b01, b11)
        b00, b01, b11 = b00 / scale, b01 / scale, b11 / scale
        length >>= 1
    return a00 / (a00 + a11)
