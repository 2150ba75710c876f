r"""The linear map that makes two statistics conjugate to their parameters, by the likelihood of reweighting.

Where ``p(x|t) ~ exp <B f(x), t>`` for an unknown ``B`` the loss of ``fit_reweighted`` at the statistics ``B f``,

    sum_g w_g F_g + sum_i log sum_g w_g exp(<B f_i, t_g> - F_g) - sum_i <B f_i, t_i>,

is the negative logarithm of the likelihood of ``B``, ``F`` and the density of states together: a multinomial logistic
regression of parameters on statistics, convex in ``(B, F)`` at once, whose slopes and their covariance are those of the
family itself (Prentice and Pyke 1979).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.free_energies.reweighting_problem import Reweighting, reweighting_nodes
from hessgeo.free_energies.standard_errors import NodeInverse
from hessgeo.grids import Frame
from hessgeo.numerics.factor import check_independent, check_samples
from hessgeo.numerics.newton import minimise

_STEPS, _HALVINGS = 20, 12
_LARGEST = 30.0  # entry of a map that is not far from the identity
_TOLERANCE = 1e-4  # of F, nats over all samples: a tenth of that of B


class StatisticsMap(NamedTuple):
    """``f -> B f``, the covariance of the entries of ``B``, row by row, and the Newton decrement left, in nats."""

    matrix: Float[np.ndarray, "2 2"]
    covariance: Float[np.ndarray, "4 4"]
    decrement: float


def fit_statistics_map(
    statistics: Float[np.ndarray, "n 2"],
    t: Float[np.ndarray, "n 2"],
    *,
    nodes: int = 512,
    tolerance: float = 1e-3,
    device: str = "cpu",
) -> StatisticsMap:
    """The most likely ``B``, by Newton's method on the loss minimised over ``F``.

    Args:
        statistics: two statistics of each sample, sufficient up to a linear map that is not far from the identity: the
            search starts there.
        t: natural parameter of each sample.
        nodes: at most so many carry the samples' parameters, see ``fit_reweighted``.
        tolerance: Newton decrement, in nats over all samples, to stop at.
        device: where the sums run.

    Raises:
        ValueError: on shapes that do not match.
        ArithmeticError: if the likelihood has no maximum: the statistics tell all samples apart.
    """
    check_samples(statistics, t, "statistics")
    check_independent(statistics, "conjugate map")
    frame = Frame.around(t)
    half = np.array(frame.half)
    profile = _Profile(statistics * half, frame.into(np.asarray(t, dtype=float)), nodes, device)
    try:
        found = minimise(
            profile.at(np.eye(2), profile.start), tolerance=tolerance, max_iterations=_STEPS, armijo=0.0,
            halvings=_HALVINGS, what="conjugate map",
        )  # fmt: skip
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        raise ArithmeticError(f"no conjugate map: {error}") from error
    if not found.converged:
        raise ArithmeticError(f"no conjugate map: it was not found in {_STEPS} steps")
    covariance = np.linalg.inv(found.point.information)
    # In box units the statistics are W f, and their map W B W^-1.
    back = half / half[:, None]
    scale = back.ravel()
    return StatisticsMap(found.point.b * back, covariance * np.outer(scale, scale), found.decrement)


class _Point(NamedTuple):
    """A ``newton.Point``: the loss at ``B`` and the best ``F`` for it, its derivatives by ``B`` alone, ``dF / dB``."""

    profile: _Profile
    b: Float[np.ndarray, "2 2"]
    loss: float
    gradient: Float[np.ndarray, "4"]
    information: Float[np.ndarray, "4 4"]
    values: Float[np.ndarray, "node"]
    follow: Float[np.ndarray, "node 4"]

    def newton(self) -> tuple[Float[np.ndarray, "4"], float]:
        if np.abs(self.b).max() > _LARGEST:
            raise ArithmeticError("the statistics tell all samples apart")
        step = np.linalg.solve(self.information, -self.gradient)
        return step, -float(self.gradient @ step) / 2

    def moved(self, step: Any, length: float) -> _Point:
        b = self.b + length * step.reshape(2, 2)
        return self.profile.at(b, self.values + length * self.follow @ step)


class _Profile:
    """The loss minimised over ``F``, as a function of ``B``."""

    def __init__(self, statistics: np.ndarray, t: np.ndarray, nodes: int, device: str) -> None:
        self.device = device
        self.f, self.t = self._tensor(statistics - statistics.mean(axis=0)), self._tensor(t)
        placed = reweighting_nodes(np.asarray(statistics, dtype=float), np.asarray(t, dtype=float), nodes)
        self.nodes, self.weight = self._tensor(placed.points), self._tensor(placed.weight)
        self.start = placed.potential

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=float)).to(self.device)

    def at(self, b: Float[np.ndarray, "2 2"], values: Float[np.ndarray, "node"]) -> _Point:
        """By ``B`` alone: what ``F`` gives way is taken from the second derivative."""
        statistics = self.f @ self._tensor(b).T
        problem = Reweighting(statistics, torch.ones_like(statistics[:, 0]), self.nodes, self.weight)
        fit = problem.minimise(self._tensor(values), tolerance=_TOLERANCE).point
        gradient, curvature = self.f.new_zeros(4), self.f.new_zeros(4, 4)
        cross, overlap = self.f.new_zeros(4, len(self.weight)), torch.zeros_like(fit.overlap)
        squares = (self.nodes[:, :, None] * self.nodes[:, None]).reshape(-1, 4)
        for part, _, share in problem.shares(fit.values):
            f, mean = self.f[part], share @ self.nodes
            spread = (share @ squares).reshape(-1, 2, 2) - mean[:, :, None] * mean[:, None]
            gradient += ((mean - self.t[part]).T @ f).flatten()
            curvature += torch.einsum("nac,nb,nd->abcd", spread, f, f).reshape(4, 4)
            for a in range(2):
                cross[2 * a : 2 * a + 2] -= (f.T @ share) * self.nodes[:, a] - (
                    f * mean[:, a : a + 1]
                ).T @ share
            # Of all samples: the fit's own, of some, would not cancel what is common to both terms below.
            overlap += share.T @ share
        follow = -NodeInverse.of(overlap, self.weight)(cross.T)
        information = curvature + cross @ follow
        loss = fit.loss - float((statistics * self.t).sum())
        return _Point(self, b, loss, *(x.cpu().numpy() for x in (gradient, information, fit.values, follow)))
