"""The two-dimensional Ising model in a field on a torus, and its exact solutions."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int, Int8

from hessgeo.numerics.jets import log_derivatives
from hessgeo.systems.solvable.base import Cumulants, Points, check_points
from hessgeo.systems.solvable.cluster import swendsen_wang
from hessgeo.systems.solvable.ising_spectrum import leading_partition
from hessgeo.systems.solvable.torus import Torus
from hessgeo.systems.solvable.transfer import factorised_trace_jet, row_spins

CRITICAL_COUPLING = math.log(1 + math.sqrt(2)) / 2
CRITICAL_TEMPERATURE = 1 / CRITICAL_COUPLING
LARGEST_SOLVED = 14  # beyond this side the transfer matrix takes minutes a point
# From 10 on the leading eigenvalues are faster than the trace; at 18 they take some 10 s a point.
LEAST_LEADING, LARGEST_LEADING = 10, 18


class Ising(Torus):
    """``p(s) = exp(K sum_<ij> s_i s_j + h sum_i s_i) / Z`` on an L x L torus; natural parameters ``(K, h)``.

    Args: those of ``Torus``. Clusters want K >= 0; at the critical point correlations last about ``side^0.25`` sweeps.
    """

    natural_names = ("K", "h")

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
        log_z, mean, metric = log_derivatives(np.array(jets).reshape(-1, 6).T)
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

    def _clusters(
        self, natural: Points, index: Int[np.ndarray, "n"], seed: int
    ) -> Int8[np.ndarray, "n side side"]:
        couplings = np.stack([natural[:, 0], np.zeros(len(natural))], axis=1)
        return swendsen_wang(couplings, natural[:, 1], index, seed, side=self.side, sweeps=self.sweeps)

    def _log_matrix(self, natural: Float[np.ndarray, "2"]) -> Float[np.ndarray, "rows rows"]:
        coupling, field = natural
        spins = row_spins(self.side).astype(np.float64)
        row = coupling * (spins * np.roll(spins, 1, axis=1)).sum(axis=1) + field * spins.sum(axis=1)
        return coupling * (spins @ spins.T) + (row[:, None] + row[None, :]) / 2
