"""Steady states of the open totally asymmetric exclusion process: particles enter, hop to the right, and leave.

Exact by the matrix product of Derrida, Evans, Hakim and Pasquier (1993), in the positive representation with
``D`` upper triangular of ones but for a row 0 of ``1 / beta``, ``E`` ones below the diagonal, ``<W|`` the powers of
``1 / alpha`` from 0 on, and ``|V> = (1, 0, 0, ...)``: a configuration has the weight ``<W| X_1 ... X_N |V>`` with
``X = D`` where a site is occupied and ``E`` where it is empty.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int, Int8
from numba import njit
from scipy.special import gammaln, logsumexp

from hessgeo.systems.base import System
from hessgeo.systems.random_streams import next_uniform, open_stream, stream_keys
from hessgeo.systems.solvable.base import Metrics, Points, check_points

# Up to this size all states are enumerated for the metric; up to this one tables are kept whole, in a core's cache.
LARGEST_ENUMERATED, LARGEST_WHOLE = 14, 256
# Entries of the tables below this share of the first are dropped: paths that pass them have no odds to speak of.
NEGLIGIBLE = 1e-250


class Tasep(System):
    """Steady states of the open process with hopping rate 1; parameters ``(alpha, beta)``, rates of entry and exit.

    No exponential family in any two parameters: its metric is the variance of the score. Samples are exact and
    independent; a point takes time as ``sites^2`` and memory as ``sites^1.5``.

    Args:
        sites: length of the lattice, at least 1.

    Raises:
        ValueError: on a shorter one.
    """

    array = "state"
    dtype = np.dtype(np.int8)

    def __init__(self, sites: int) -> None:
        if sites < 1:
            raise ValueError(f"sites is {sites}, must be at least 1")
        self.sites = sites
        self.sample_shape = (sites,)

    def sample(
        self, t: Float[np.ndarray, "n 2"], index: Int[np.ndarray, "n"], seed: int
    ) -> Int8[np.ndarray, "n sites"]:
        """Draw one steady state at each point, 1 where a site is occupied, see ``System.sample``.

        Points that occur more than once share their tables.

        Raises:
            ValueError: on a rate that is not positive.
        """
        t = _rates(t)
        order = np.lexsort((t[:, 1], t[:, 0]))
        key, indices = stream_keys(index, seed)
        states = np.empty((len(t), self.sites), dtype=np.int8)
        whole = self.sites <= LARGEST_WHOLE
        block = self.sites + 1 if whole else math.isqrt(self.sites) + 1
        _draw(key, indices, t, order, block, states)
        return states

    def log_partition(self, t: Points) -> Float[np.ndarray, "n"]:
        """``log Z_N``, ``Z_N = <W|(D + E)^N|V>``, a finite sum with no singularity at ``alpha = beta``."""
        return _log_partition(_rates(t), self.sites)[0]

    def log_partition_gradient(self, t: Points) -> Points:
        """``grad log Z_N`` by ``(alpha, beta)``."""
        return _log_partition(_rates(t), self.sites)[1]

    def log_weight(self, states: Int8[np.ndarray, "n sites"], t: Points) -> Float[np.ndarray, "n"]:
        """Logarithm of the weight of each state at its own point; ``log p = log_weight - log_partition``."""
        return self._weigh(states, t)[0]

    def score(self, states: Int8[np.ndarray, "n sites"], t: Points) -> Points:
        """``grad log p(x | t)`` of each state at its own point, ``grad log weight - grad log Z``."""
        return self._weigh(states, t)[1] - self.log_partition_gradient(t)

    def fisher_metric(self, t: Points) -> Metrics:
        """The Fisher metric in ``(alpha, beta)``, the variance of the score over all ``2^sites`` states.

        Raises:
            ValueError: if there are more than 14 sites; see ``estimated_metric``.
        """
        if self.sites > LARGEST_ENUMERATED:
            raise ValueError(
                f"sites is {self.sites}, must be at most {LARGEST_ENUMERATED} to enumerate states"
            )
        t = _rates(t)
        states = ((np.arange(2**self.sites)[:, None] >> np.arange(self.sites)) & 1).astype(np.int8)
        metric = np.empty((len(t), 2, 2))
        for k, point in enumerate(t):
            log_weight, gradient = self._weigh(states, np.broadcast_to(point, (len(states), 2)))
            score = gradient - self.log_partition_gradient(point[None])
            probability = np.exp(log_weight - self.log_partition(point[None]))
            metric[k] = (probability[:, None] * score).T @ score
        return metric

    def estimated_metric(self, t: Points, *, samples: int, seed: int) -> tuple[Metrics, Metrics]:
        """The Fisher metric by an average over exact samples, and the standard error of each entry.

        Holes that move left are the process with the rates exchanged, so that ``(alpha, beta)`` and ``(beta, alpha)``
        share their samples. At 64 sites 20,000 samples a point give 2 % of the metric (Frobenius norm) or better
        anywhere in [.03, .97]^2, where entries far below the largest have 4 %; 289 points take some 10 s.

        Raises:
            ValueError: on fewer than two samples.
        """
        if samples < 2:
            raise ValueError(f"samples is {samples}, must be at least 2")
        t = _rates(t)
        exchanged = t[:, 0] < t[:, 1]
        distinct, which = np.unique(np.where(exchanged[:, None], t[:, ::-1], t), axis=0, return_inverse=True)
        pairs = [self._estimate(point, samples, seed) for point in distinct]
        found = np.array(pairs).reshape(-1, 2, 2, 2)[which.reshape(-1)]
        found[exchanged] = found[exchanged][..., ::-1, ::-1]
        return found[:, 0], found[:, 1]

    def _estimate(
        self, point: Float[np.ndarray, "2"], samples: int, seed: int
    ) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2 2"]]:
        points = np.broadcast_to(point, (samples, 2))
        states = self.sample(points, np.arange(samples), seed)
        score = self._weigh(states, points)[1] - self.log_partition_gradient(point[None])
        products = score[:, :, None] * score[:, None, :]
        return products.mean(axis=0), products.std(axis=0, ddof=1) / math.sqrt(samples)

    def _weigh(self, states: Int8[np.ndarray, "n sites"], t: Points) -> tuple[Float[np.ndarray, "n"], Points]:
        t = _rates(t)
        if states.shape != (len(t), self.sites):
            raise ValueError(f"states have shape {states.shape}, must be {(len(t), self.sites)}")
        log_weight, gradient = np.empty(len(t)), np.empty((len(t), 2))
        _log_weights(np.ascontiguousarray(states, dtype=np.int8), t, log_weight, gradient)
        return log_weight, gradient


def limiting_current(t: Points) -> Float[np.ndarray, "n"]:
    """Current of the infinite lattice: 1/4 where both rates pass 1/2, else ``r (1 - r)`` of the smaller rate ``r``."""
    rate = np.minimum(_rates(t).min(axis=1), 0.5)
    return rate * (1 - rate)


def _rates(t: Points) -> Points:
    t = check_points(t)
    if np.any(t <= 0):
        raise ValueError(f"a rate of entry or exit is {t.min():g}, must be positive")
    return np.ascontiguousarray(t)


def _log_partition(t: Points, sites: int) -> tuple[Float[np.ndarray, "n"], Points]:
    """``log Z`` and its gradient, ``Z_N = sum_p p (2N-1-p)! / (N! (N-p)!) S_p``, ``S_p = sum_q alpha^-q beta^-(p-q)``.

    ``S_p = S_{p-1} / beta + alpha^-p``, and its like with a factor ``q`` in the sum, have positive terms alone; both
    are divided by the p-th power of the larger inverse rate.
    """
    if sites == 0:
        return np.zeros(len(t)), np.zeros_like(t)
    inverse = 1 / t
    largest = inverse.max(axis=1)
    a, b = (inverse / largest[:, None]).T
    sums, firsts = np.empty((sites, len(t))), np.empty((sites, len(t)))
    s, f, power = np.ones(len(t)), np.zeros(len(t)), np.ones(len(t))
    for p in range(1, sites + 1):
        power = power * a
        s, f = s * b + power, f * b + p * power
        sums[p - 1], firsts[p - 1] = s, f
    order = np.arange(1, sites + 1)[:, None]
    count = np.log(order) + gammaln(2 * sites - order) - gammaln(sites + 1) - gammaln(sites - order + 1)
    terms = count + np.log(sums) + order * np.log(largest)
    log_z = logsumexp(terms, axis=0)
    share = np.exp(terms - log_z)
    powers = (share * firsts / sums).sum(axis=0), (share * (order - firsts / sums)).sum(axis=0)
    return log_z, -np.stack(powers, axis=1) * inverse


@njit
def _extend(row: np.ndarray, new: np.ndarray, length: int, base: float, inverse: float) -> float:
    """The next table ``w_k`` from ``w_{k-1}``, and the power of two that it was divided by.

    Entry ``j`` holds ``base^j w[j]``, which neither grows nor, where it matters, vanishes. The sum over ``i <= j`` of
    ``w_{k-1}`` is that of ``j - 1`` and one term: ``w_k[j] = w_k[j-1] + w_{k-1}[j+1]``.
    """
    step = 1.0 / base
    value = row[0] * inverse + row[1] * step
    scale = 2.0 ** np.floor(np.log2(value))
    down, up = 1.0 / scale, step / scale
    value *= down
    new[0] = value
    for start in range(1, length, 64):
        stop = min(start + 64, length)
        for j in range(start, stop):
            value = base * value + up * row[j + 1]
            new[j] = value
        if value < NEGLIGIBLE:
            for j in range(stop, length):
                new[j] = 0.0
            break
    return scale


@njit
def _walk_left(row: np.ndarray, total: float, j: int, base: float, stream: np.ndarray) -> tuple[int, int]:
    """Draw one site given the hidden index on its right; returns its occupation and the index on its left.

    Empty with weight ``w[j+1]``, else occupied with ``w[i]`` for each ``i <= j``, over ``beta`` for ``i = 0``; all
    times ``base^j``, with their sum ``total`` known from the next table.
    """
    left = next_uniform(stream) * total - row[j + 1] / base
    if left < 0.0:
        return 0, j + 1
    power, i = 1.0, j
    while i > 0:
        left -= power * row[i]
        if left < 0.0:
            return 1, i
        power *= base
        i -= 1
    return 1, 0


@njit
def _copy(source: np.ndarray, target: np.ndarray) -> None:
    for j in range(len(target)):
        target[j] = source[j]


@njit
def _make_tables(
    table: np.ndarray, scales: np.ndarray, first: int, count: int, base: float, inverse: float
) -> None:
    """Rows 1 to ``count`` of the tables, from row 0, that of ``first`` sites."""
    length = table.shape[1] - first
    for k in range(1, count + 1):
        scales[k] = _extend(table[k - 1], table[k], length - k, base, inverse)


@njit
def _walk_block(
    table: np.ndarray,
    scales: np.ndarray,
    count: int,
    j: int,
    rates: tuple,
    stream: np.ndarray,
    out: np.ndarray,
) -> int:
    """Draw ``count`` sites from right to left; returns the hidden index on their left."""
    base, swapped = rates
    for k in range(count, 0, -1):
        occupied, j = _walk_left(table[k - 1], table[k, j] * scales[k], j, base, stream)
        if swapped:
            out[len(out) - k] = 1 - occupied
        else:
            out[k - 1] = occupied
    return j


@njit
def _draw_group(
    t: tuple, group: np.ndarray, streams: np.ndarray, work: tuple, block: int, out: np.ndarray
) -> None:
    """One sample for each number of a group, all at one point."""
    alpha, beta = t
    kept, table, scales, hidden = work
    sites, marks = out.shape[1], len(kept)
    # Holes that move left are the same process with the rates swapped; with the smaller rate at the exit the
    # hidden index stays small.
    swapped = alpha < beta
    if swapped:
        alpha, beta = beta, alpha
    base, inverse = min(alpha, 0.5), 1.0 / beta
    value = 1.0
    for j in range(sites + 2):
        table[0, j] = value if value > NEGLIGIBLE else 0.0
        value *= base / alpha
    _copy(table[0], kept[0])
    for mark in range(1, marks):
        _make_tables(table, scales, (mark - 1) * block, block, base, inverse)
        _copy(table[block], table[0])
        _copy(table[0], kept[mark])
    for n in group:
        hidden[n] = 0
    for mark in range(marks - 1, -1, -1):
        first = mark * block
        last = min(first + block, sites)
        _copy(kept[mark], table[0])
        _make_tables(table, scales, first, last - first, base, inverse)
        for n in group:
            row = out[n, sites - last : sites - first] if swapped else out[n, first:last]
            hidden[n] = _walk_block(table, scales, last - first, hidden[n], (base, swapped), streams[n], row)


@njit
def _draw(
    seed: np.uint64, index: np.ndarray, t: np.ndarray, order: np.ndarray, block: int, out: np.ndarray
) -> None:
    """Samples of points in the given order, each run of equal points from one set of tables.

    Tables are kept at every ``block``-th site only, and those between them made again when the walk arrives there.
    """
    sites, count = out.shape[1], len(order)
    kept, table = np.zeros(((sites + block - 1) // block, sites + 2)), np.zeros((block + 1, sites + 2))
    work = (kept, table, np.empty(block + 1), np.empty(count, dtype=np.int64))
    streams = np.empty((count, 4), dtype=np.uint64)
    for n in range(count):
        open_stream(seed, index[n], streams[n])
    begin = 0
    while begin < count:
        point = (t[order[begin], 0], t[order[begin], 1])
        end = begin + 1
        while end < count and t[order[end], 0] == point[0] and t[order[end], 1] == point[1]:
            end += 1
        _draw_group(point, order[begin:end], streams, work, block, out)
        begin = end


@njit
def _log_weights(states: np.ndarray, t: np.ndarray, log_weight: np.ndarray, gradient: np.ndarray) -> None:
    """``log <W| X_1 ... X_N |V>`` and its gradient, from the right.

    Beside the vector goes its derivative by ``log 1/beta``, positive as well.
    """
    sites = states.shape[1]
    v, d = np.empty(sites + 1), np.empty(sites + 1)
    for n in range(len(states)):
        alpha, beta = t[n]
        swapped = alpha < beta
        if swapped:
            alpha, beta = beta, alpha
        base, log_scale, top = min(alpha, 0.5), 0.0, 0
        v[0], d[0] = 1.0, 0.0
        for k in range(sites):
            occupied = 1 - states[n, k] if swapped else states[n, sites - 1 - k]
            if occupied:
                # Entry j holds v[j] / base^j; D sums over what is at j and above.
                for j in range(top - 1, -1, -1):
                    v[j] += base * v[j + 1]
                    d[j] += base * d[j + 1]
                v[0] /= beta
                d[0] = d[0] / beta + v[0]
            else:
                for j in range(top, -1, -1):
                    v[j + 1], d[j + 1] = v[j] / base, d[j] / base
                v[0], d[0] = 0.0, 0.0
                top += 1
            if k % 16 == 15 or k == sites - 1:
                largest = 0.0
                for j in range(top + 1):
                    largest = max(largest, v[j])
                for j in range(top + 1):
                    v[j] /= largest
                    d[j] /= largest
                log_scale += np.log(largest)
        weight, by_alpha, by_beta, power = 0.0, 0.0, 0.0, 1.0
        for j in range(top + 1):
            weight += power * v[j]
            by_alpha += j * power * v[j]
            by_beta += power * d[j]
            power *= base / alpha
        log_weight[n] = np.log(weight) + log_scale
        first, second = -by_alpha / weight / alpha, -by_beta / weight / beta
        gradient[n, 0], gradient[n, 1] = (second, first) if swapped else (first, second)
