"""The two-dimensional Ising model with nearest and next-nearest couplings on a torus, and its exact solution."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Int8

from hessgeo.numerics.jets import log_derivatives
from hessgeo.systems.solvable.base import Coordinates, Cumulants, Metrics, Points, check_points
from hessgeo.systems.solvable.cluster import swendsen_wang
from hessgeo.systems.solvable.torus import Torus
from hessgeo.systems.solvable.transfer import row_spins, trace_jet

# The matrix between rows has 4^side entries and no factors.
LARGEST_SOLVED = 10
INVERSE_TEMPERATURE = 0.4


def _from_mixture(t: Points) -> Points:
    _check_mixture(t)
    beta = INVERSE_TEMPERATURE / t[:, 1]
    return np.stack([beta * t[:, 0], beta * (1 - t[:, 0])], axis=1)


def _mixture_jacobian(t: Points) -> Metrics:
    _check_mixture(t)
    share, scale = t.T
    beta = INVERSE_TEMPERATURE / scale
    rows = [[beta, -beta * share / scale], [-beta, -beta * (1 - share) / scale]]
    return np.moveaxis(np.array(rows), 2, 0)


def _check_mixture(t: Points) -> None:
    if np.any(t[:, 1] <= 0):
        raise ValueError(f"l1 is {t[:, 1].min():g}, must be positive")


MIXTURE = Coordinates(("l0", "l1"), _from_mixture, _mixture_jacobian)
"""``Jnn = l0, Jnnn = 1 - l0, beta = 0.4 / l1``, the family of ClassiFIM (arXiv 2408.03323)."""


class IsingNextNearest(Torus):
    """``p(s) = exp(K1 sum_<ij> s_i s_j + K2 sum_<<ij>> s_i s_j) / Z`` on an L x L torus; natural ``(K1, K2)``.

    The second sum is over diagonal neighbours; a positive coupling is ferromagnetic.

    Args: those of ``Torus``; ``exact`` takes couplings of any sign, ``cluster`` wants K1 >= 0 or an even side, K2 >= 0.
    """

    natural_names = ("K1", "K2")
    usual_method = "exact"

    def sufficient_statistics(self, states: Int8[np.ndarray, "n side side"]) -> Points:
        """The sums of ``s_i s_j`` over nearest and over diagonal neighbours of each state."""
        s = states.astype(np.int64)
        below = np.roll(s, -1, axis=1)
        nearest = s * (below + np.roll(s, -1, axis=2))
        diagonal = s * (np.roll(below, -1, axis=2) + np.roll(below, 1, axis=2))
        return np.stack([nearest.sum(axis=(1, 2)), diagonal.sum(axis=(1, 2))], axis=1).astype(np.float64)

    def cumulants(self, natural: Points) -> Cumulants:
        """See ``SolvableSystem``; by the transfer matrix, in 15 ms a point at side 8, 1 s at side 10.

        Raises:
            ValueError: if the side is larger than 10.
        """
        if self.side > LARGEST_SOLVED:
            raise ValueError(f"side is {self.side}, must be at most {LARGEST_SOLVED} for a transfer matrix")
        natural, side = check_points(natural), self.side
        between = self._statistics_between_rows()
        jets, shifts = [], []
        for point in natural:
            # Counted from the likeliest pair of rows, which dominates where the lattice is ordered.
            likeliest = np.unravel_index(np.argmax(np.tensordot(point, between, 1)), between.shape[1:])
            shift = between[:, likeliest[0], likeliest[1]]
            jets.append(trace_jet(between - shift[:, None, None], point, width=side, rows=side))
            shifts.append(side * shift)
        log_z, mean, metric = log_derivatives(np.array(jets).reshape(-1, 6).T)
        shift = np.array(shifts).reshape(-1, 2)
        return Cumulants(log_z + (shift * natural).sum(axis=1), mean + shift, metric)

    def _statistics_between_rows(self) -> Float[np.ndarray, "2 rows rows"]:
        """Statistics of a row and the next, of which each row's own bonds count half."""
        spins = row_spins(self.side).astype(np.float64)
        own = (spins * np.roll(spins, 1, axis=1)).sum(axis=1)
        beside = np.roll(spins, 1, axis=1) + np.roll(spins, -1, axis=1)
        return np.stack([spins @ spins.T + (own[:, None] + own[None, :]) / 2, spins @ beside.T])

    def _log_matrix(self, natural: Float[np.ndarray, "2"]) -> Float[np.ndarray, "rows rows"]:
        return np.tensordot(natural, self._statistics_between_rows(), 1)

    def _clusters(
        self, natural: Points, index: Int[np.ndarray, "n"], seed: int
    ) -> Int8[np.ndarray, "n side side"]:
        """Where K1 < 0, the ferromagnet of -K1 with every other spin turned over, as on a chess board."""
        couplings = natural.copy()
        turned = couplings[:, 0] < 0
        if np.any(turned) and self.side % 2:
            raise ValueError(
                f"K1 is {couplings[:, 0].min():g} and side is {self.side}: a negative coupling needs an even side"
            )
        couplings[turned, 0] *= -1
        states = swendsen_wang(
            couplings, np.zeros(len(couplings)), index, seed, side=self.side, sweeps=self.sweeps
        )
        rows, columns = np.indices((self.side, self.side))
        board = np.where((rows + columns) % 2, -1, 1).astype(np.int8)
        states[turned] *= board
        return states
