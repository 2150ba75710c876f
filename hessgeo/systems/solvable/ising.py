"""The two-dimensional Ising model in a field on a torus, and its exact solutions."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int, Int8
from scipy.integrate import quad
from scipy.special import ellipkm1

from hessgeo.numerics.jets import cumulants_of
from hessgeo.systems.random_streams import uniforms
from hessgeo.systems.solvable.base import (
    Coordinates,
    Cumulants,
    Points,
    SolvableSystem,
    check_points,
    natural_coordinates,
)
from hessgeo.systems.solvable.cluster import swendsen_wang
from hessgeo.systems.solvable.ising_spectrum import leading_partition
from hessgeo.systems.solvable.transfer import RowSampler, factorised_trace_jet, row_spins

CRITICAL_COUPLING = math.log(1 + math.sqrt(2)) / 2
CRITICAL_TEMPERATURE = 1 / CRITICAL_COUPLING
# Beyond these sides the transfer matrix takes minutes a point, or a sample seconds.
LARGEST_SOLVED, LARGEST_EXACT_SAMPLE = 14, 10
# From 10 on the leading eigenvalues are faster than the trace; at 18 they take some 10 s a point.
LEAST_LEADING, LARGEST_LEADING = 10, 18
METHODS = ("cluster", "exact")


class Ising(SolvableSystem):
    """``p(s) = exp(K sum_<ij> s_i s_j + h sum_i s_i) / Z`` on an L x L torus; natural parameters ``(K, h)``.

    Args:
        side: spins along each axis, at least 3.
        coordinates: parameters of the study, ``(K, h)`` themselves unless given.
        method: ``cluster`` (Swendsen-Wang; K >= 0) or ``exact`` (rows from the transfer matrix; side <= 10).
        sweeps: Swendsen-Wang updates before a state is taken; at the critical point correlations last about
            ``side^0.25`` of them.

    Raises:
        ValueError: on an unknown method, or a side or number of sweeps that it cannot have.
    """

    def __init__(
        self, side: int, *, coordinates: Coordinates | None = None, method: str = "cluster", sweeps: int = 100
    ) -> None:
        check_lattice(side, method, sweeps)
        self.side, self.method, self.sweeps = side, method, sweeps
        self.coordinates = coordinates or natural_coordinates("K", "h")
        self.sample_shape = (side, side)

    def sample(
        self, t: Float[np.ndarray, "n 2"], index: Int[np.ndarray, "n"], seed: int
    ) -> Int8[np.ndarray, "n side side"]:
        """Draw one state of spins -1 and 1 at each point, see ``System.sample``.

        Raises:
            ValueError: on a negative coupling K where the method is ``cluster``.
        """
        natural = self.natural(t)
        if self.method == "exact":
            rows = RowSampler(self._log_matrix, width=self.side, rows=self.side)
            return rows.sample(natural, uniforms(index, seed, count=self.side))
        couplings = np.stack([natural[:, 0], np.zeros(len(natural))], axis=1)
        return swendsen_wang(couplings, natural[:, 1], index, seed, side=self.side, sweeps=self.sweeps)

    def sufficient_statistics(self, states: Int8[np.ndarray, "n side side"]) -> Points:
        """``(sum_<ij> s_i s_j, sum_i s_i)`` of each state."""
        s = states.astype(np.int64)
        bonds = s * (np.roll(s, 1, axis=1) + np.roll(s, 1, axis=2))
        return np.stack([bonds.sum(axis=(1, 2)), s.sum(axis=(1, 2))], axis=1).astype(np.float64)

    def cumulants(self, natural: Points) -> Cumulants:
        """See ``SolvableSystem``; by the transfer matrix, in 2 ms at side 8, 1 s at side 12 and 20 s at side 14.

        Raises:
            ValueError: if the side is larger than 14; ``kaufman`` has no such limit at h = 0.
        """
        if self.side > LARGEST_SOLVED:
            raise ValueError(f"side is {self.side}, must be at most {LARGEST_SOLVED} for a transfer matrix")
        natural, side = check_points(natural), self.side
        spins = row_spins(side)
        bonds, up = (spins * np.roll(spins, 1, axis=1)).sum(axis=1), spins.sum(axis=1)
        signs = np.where(natural < 0, -1.0, 1.0)
        jets = [
            factorised_trace_jet(bonds - sign * side, up - direction * side, t, rows=side)
            for (sign, direction), t in zip(signs, natural, strict=True)
        ]
        log_z, mean, metric = cumulants_of(np.array(jets).reshape(-1, 6).T)
        shift = signs * [2 * side**2, side**2]
        return Cumulants(log_z + (shift * natural).sum(axis=1), mean + shift, metric)

    def log_partition_and_mean(self, natural: Points) -> tuple[Float[np.ndarray, "n"], Points]:
        """``log Z`` and its gradient alone, to side 18; see ``leading_partition``, to 1e-7 of ``Z``.

        20 ms a point at side 12, 0.4 to 0.9 s at side 16. ``log Z`` is even in ``h``: a box about 0 needs half of
        its points. Lattices below side 10, and those with ``K < 0``, are done by ``cumulants``.

        Raises:
            ValueError: if the side is larger than 18, or than 14 with a negative coupling.
        """
        natural, side = check_points(natural), self.side
        if side > LARGEST_LEADING:
            raise ValueError(f"side is {side}, must be at most {LARGEST_LEADING} for leading eigenvalues")
        if side < LEAST_LEADING or np.any(natural[:, 0] < 0):
            whole = self.cumulants(natural)
            return whole.log_partition, whole.mean
        leading = leading_partition(natural, width=side, rows=side)
        return leading.log_partition, leading.mean

    def _log_matrix(self, natural: Float[np.ndarray, "2"]) -> Float[np.ndarray, "rows rows"]:
        coupling, field = natural
        spins = row_spins(self.side).astype(np.float64)
        row = coupling * (spins * np.roll(spins, 1, axis=1)).sum(axis=1) + field * spins.sum(axis=1)
        return coupling * (spins @ spins.T) + (row[:, None] + row[None, :]) / 2


def check_lattice(side: int, method: str, sweeps: int) -> None:
    """Refuse what no lattice sampler can do.

    Raises:
        ValueError: one line that says what is allowed.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, must be one of {', '.join(METHODS)}")
    if side < 3:
        raise ValueError(f"side is {side}, must be at least 3: on a smaller torus neighbours meet twice")
    if method == "exact" and side > LARGEST_EXACT_SAMPLE:
        raise ValueError(f"side is {side}, must be at most {LARGEST_EXACT_SAMPLE} for the method exact")
    if sweeps < 1:
        raise ValueError(f"sweeps is {sweeps}, must be at least 1")


def kaufman(
    coupling: Float[np.ndarray, "n"], *, width: int, height: int
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """``log Z`` of the torus at h = 0 and its first two derivatives by K > 0 (Kaufman 1949).

    The derivatives are the mean and the variance of ``sum_<ij> s_i s_j``; the variance loses digits to
    cancellation where the lattice is all but frozen (K > 2).

    Raises:
        ValueError: if a coupling is not positive.
    """
    k = np.asarray(coupling, dtype=np.float64)
    if np.any(k <= 0):
        raise ValueError(f"coupling is {k.min():g}, must be positive")
    sites = width * height
    terms = [_kaufman_term(k, np.arange(2 * width), height, odd, sign) for odd in (1, 0) for sign in (1, -1)]
    top = np.max([scale for scale, *_ in terms], axis=0)
    value, first, second = (sum(np.exp(term[0] - top) * term[i] for term in terms) for i in (1, 2, 3))
    mean, square = first / value, second / value
    log_z = top + np.log(value) - math.log(2) + sites / 2 * (2 * k + np.log(-np.expm1(-4 * k)))
    slope = sites / np.tanh(2 * k)
    return log_z, mean + slope, square - mean**2 - 2 * sites / np.sinh(2 * k) ** 2


def _kaufman_term(
    k: Float[np.ndarray, "n"], numbers: Int[np.ndarray, "l"], height: int, odd: int, sign: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One of the four products, ``prod_l 2 cosh(M g_l / 2)`` or ``2 sinh``, as (log scale, value and derivatives).

    The factor of ``g_0``, which changes its sign at the critical point, is kept out of the logarithm.
    """
    rest = numbers[(numbers % 2 == odd) & (numbers > 0)]
    angle = np.pi * rest / (len(numbers) / 2)
    c = np.cosh(2 * k) / np.tanh(2 * k)
    c1 = 2 * np.cosh(2 * k) - 2 * np.cosh(2 * k) / np.sinh(2 * k) ** 2
    c2 = 4 * np.sinh(2 * k) - 4 / np.sinh(2 * k) + 8 * np.cosh(2 * k) ** 2 / np.sinh(2 * k) ** 3
    cosine = c[:, None] - np.cos(angle)
    g = np.arccosh(cosine)
    g1 = c1[:, None] / np.sinh(g)
    g2 = (c2[:, None] - cosine * g1**2) / np.sinh(g)
    half = height / 2
    # log 2 cosh x = x + log(1 + e^-2x), log 2 sinh x = x + log(1 - e^-2x); slopes are tanh x and coth x.
    log_term = half * g + np.log1p(sign * np.exp(-2 * half * g))
    ratio = np.tanh(half * g) ** sign
    # 1 / cosh^2 or -1 / sinh^2, without overflow on a large lattice.
    decay = np.exp(-2 * half * g)
    bend = sign * 4 * decay / (1 + sign * decay) ** 2
    scale, r1 = log_term.sum(axis=1), (half * g1 * ratio).sum(axis=1)
    r2 = (half * g2 * ratio + (half * g1) ** 2 * bend).sum(axis=1)
    square = r2 + r1**2
    if odd:
        return scale, np.ones_like(k), r1, square
    zero, zero1 = half * (2 * k + np.log(np.tanh(k))), half * (2 + 2 / np.sinh(2 * k))
    zero2 = -half * 4 * np.cosh(2 * k) / np.sinh(2 * k) ** 2
    up, down = np.exp(zero - np.abs(zero)), sign * np.exp(-zero - np.abs(zero))
    q, turned = up + down, up - down
    q1, q2 = zero1 * turned, zero2 * turned + zero1**2 * q
    return scale + np.abs(zero), q, q1 + q * r1, q2 + 2 * q1 * r1 + q * square


def onsager_log_partition(coupling: float) -> float:
    """``log Z`` a site of the infinite lattice at h = 0, K > 0 (Onsager 1944), by quadrature to 1e-12."""
    k = 1 / math.sinh(2 * coupling) ** 2

    def integrand(angle: float) -> float:
        root = math.sqrt(max(1 + k * k - 2 * k * math.cos(2 * angle), 0.0))
        return math.log(math.cosh(2 * coupling) ** 2 + root / k)

    area, _ = quad(integrand, 0, math.pi / 2, epsabs=1e-13, epsrel=1e-13, limit=200)
    return math.log(2) / 2 + area / math.pi


def onsager_energy(coupling: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """``E[sum_<ij> s_i s_j]`` a site of the infinite lattice at h = 0, K > 0 (Onsager 1944)."""
    k = np.asarray(coupling, dtype=np.float64)
    modulus = 2 * np.tanh(2 * k) ** 2 - 1
    # modulus K(1 - modulus^2) tends to 0 at the critical point, where the elliptic integral diverges.
    squared = np.maximum(modulus**2, 1e-300)
    return (1 + 2 / np.pi * modulus * ellipkm1(squared)) / np.tanh(2 * k)


def yang_magnetisation(coupling: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Spontaneous magnetisation of the infinite lattice (Yang 1952), ``(1 - sinh^-4 2K)^(1/8)``, 0 for 0 < K < Kc."""
    k = np.asarray(coupling, dtype=np.float64)
    return np.maximum(1 - np.sinh(2 * k) ** -4.0, 0) ** 0.125
