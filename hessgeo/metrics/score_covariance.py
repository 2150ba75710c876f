"""The Fisher metric as the covariance of scores, smoothed over the parameters and positive definite everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_matrix
from torch import Tensor

from hessgeo.grids import Extent
from hessgeo.numerics.bsplines import SplineBasis
from hessgeo.numerics.factor import check_samples, cholesky, in_words
from hessgeo.numerics.newton import minimise
from hessgeo.numerics.penalised import Penalised, evidence_weight, pin_constant

_ROUNDS = 6  # of weight and fit
_PASSES = 2  # over slope and deviation, which depend on each other weakly
_STEPS = 30  # of Fisher scoring in a round, at most
_DECREMENT = 1e-6  # nats over all samples


class _Slopes(NamedTuple):
    """Of each sample's loss by the value of a smooth function there: the loss, its slope, the expected curvature."""

    loss: Float[np.ndarray, "n"]
    slope: Float[np.ndarray, "n"]
    curvature: Float[np.ndarray, "n"]


class _Fit(NamedTuple):
    """One smooth function: its coefficients, their covariance, and what is reported of the fit."""

    coefficients: Float[np.ndarray, "size"]
    covariance: Float[np.ndarray, "size size"]
    smoothness: float
    dispersion: float
    converged: bool


Loss = Callable[[Float[np.ndarray, "n"]], _Slopes]


@dataclass(frozen=True)
class ScoreCovariance:
    """``Cov[s | t]`` of scores by its root: ``s_2 = slope s_1 + e`` with log-deviations of ``s_1`` and ``e``.

    The three functions of ``t`` are cubic splines with no constraint, so the metric is positive definite by
    construction (Pourahmadi 1999).

    Attributes:
        basis: the splines.
        coefficients: of the logarithm of the deviation of ``s_1``, of the slope, and of that of ``e``.
        covariance: of each row of coefficients.
        numbers: ``smoothness`` and ``dispersion`` of each, and whether all have ``converged``.
    """

    basis: SplineBasis
    coefficients: Float[np.ndarray, "3 size"]
    covariance: Float[np.ndarray, "3 size size"]
    numbers: dict[str, list[float] | bool]

    def metric(self, t: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2 2"]:
        """The metric at points of the box."""
        return _assemble(self._design(t) @ self.coefficients.T)

    def error(self, t: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2 2"]:
        """Standard errors of its entries, to first order in those of the three functions, which are independent."""
        design = self._design(t)
        values = design @ self.coefficients.T
        variance = np.stack([((design @ c) * design).sum(axis=1) for c in self.covariance], axis=1)
        first, slope, rest = np.exp(2 * values[:, 0]), values[:, 1], np.exp(2 * values[:, 2])
        by_first = 2 * first[:, None] * np.stack([np.ones_like(slope), slope, slope**2], axis=1)
        by_slope = first[:, None] * np.stack([np.zeros_like(slope), np.ones_like(slope), 2 * slope], axis=1)
        by_rest = 2 * rest[:, None] * np.array([0.0, 0.0, 1.0])
        total = sum(d**2 * v[:, None] for d, v in zip((by_first, by_slope, by_rest), variance.T, strict=True))
        return np.sqrt(total)[:, [[0, 1], [1, 2]]]

    def _design(self, t: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n size"]:
        return self.basis.matrix(torch.from_numpy(np.asarray(t, dtype=float))).numpy()


@in_words("covariance of scores")
def fit_score_covariance(
    scores: Float[np.ndarray, "n 2"],
    t: Float[np.ndarray, "n 2"],
    extent: Extent,
    *,
    splines: tuple[int, int] = (12, 12),
) -> ScoreCovariance:
    r"""Fit the covariance of scores as a function of the parameters, by the Gaussian likelihood.

    Scores are taken relative to their mean at ``t``, a spline regression. Each of the three functions has a prior on
    its third derivatives whose weight has the highest marginal likelihood, the loss being divided by its dispersion:
    the scatter of the samples' own slopes relative to what a Gaussian has. Errors are those of estimating
    equations (Huber 1967), so that they hold for scores of any law.

    Args:
        scores: derivatives of ``log p(x|t)`` by ``t``, up to a function of ``t``; one row a sample.
        t: parameters of each.
        extent: the box of the splines.
        splines: along each parameter, at least 4.

    Raises:
        ValueError: on shapes that do not match, values that are not finite, or scores of one component that are
            all equal.
    """
    check_samples(scores, t, "scores")
    scale = scores.std(axis=0)
    if not np.all(scale > 0):
        raise ValueError("a component of the scores is the same in all samples: it has no covariance")
    basis = SplineBasis.over(extent, splines)
    design = basis.design(t)
    first, second = (_residual(basis, design, s) for s in (scores / scale).T)
    a = _fit(basis, design, _log_deviation(first), np.full(basis.size, np.log(first.std())))
    slope, deviation = np.full(basis.size, first @ second / (first @ first)), np.zeros(basis.size)
    deviation += np.log((second - design @ slope * first).std())
    for _ in range(_PASSES):
        b = _fit(basis, design, _slope(first, second, design @ deviation), slope)
        slope = b.coefficients
        c = _fit(basis, design, _log_deviation(second - design @ slope * first), deviation)
        deviation = c.coefficients
    fits = (a, b, c)
    ratio = scale[1] / scale[0]
    shift, factor = np.array([np.log(scale[0]), 0.0, np.log(scale[1])]), np.array([1.0, ratio, 1.0])
    return ScoreCovariance(
        basis,
        np.stack([f.coefficients for f in fits]) * factor[:, None] + shift[:, None],
        np.stack([f.covariance for f in fits]) * factor[:, None, None] ** 2,
        {
            "smoothness": [f.smoothness for f in fits],
            "dispersion": [f.dispersion for f in fits],
            "converged": all(f.converged for f in fits),
        },
    )


def _assemble(values: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2 2"]:
    first, slope, rest = np.exp(2 * values[:, 0]), values[:, 1], np.exp(2 * values[:, 2])
    entries = np.stack([first, slope * first, slope**2 * first + rest], axis=1)
    return entries[:, [[0, 1], [1, 2]]]


def _log_deviation(r: Float[np.ndarray, "n"]) -> Loss:
    """``log sigma + r^2 / (2 sigma^2)`` by ``log sigma``; its curvature is 2 where ``sigma`` is right."""

    def loss(value: np.ndarray) -> _Slopes:
        square = r**2 * np.exp(-2 * value)
        return _Slopes(value + square / 2, 1 - square, np.full(len(r), 2.0))

    return loss


def _slope(first: np.ndarray, second: np.ndarray, log_deviation: np.ndarray) -> Loss:
    """``(s_2 - value s_1)^2 / (2 sigma^2)``."""
    precision = np.exp(-2 * log_deviation)

    def loss(value: np.ndarray) -> _Slopes:
        r = second - value * first
        return _Slopes(r**2 * precision / 2, -r * first * precision, first**2 * precision)

    return loss


def _residual(basis: SplineBasis, design: csr_matrix, s: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """What a spline does not explain of ``s``, scaled to the variance of one sample."""
    unit = np.ones(len(s))

    def loss(value: np.ndarray) -> _Slopes:
        return _Slopes((s - value) ** 2 / 2, value - s, unit)

    return s - design @ _fit(basis, design, loss, np.full(basis.size, s.mean())).coefficients


@dataclass(frozen=True)
class _Expansion:
    """The summed loss of samples in the coefficients of one function; a ``penalised.Expansion``."""

    design: csr_matrix
    by_sample: Loss
    c: Float[Tensor, "size"]

    @cached_property
    def slopes(self) -> _Slopes:
        return self.by_sample(self.design @ self.c.numpy())

    @property
    def loss(self) -> float:
        return float(self.slopes.loss.sum())

    @property
    def gradient(self) -> Float[Tensor, "size"]:
        return torch.from_numpy(self.design.T @ self.slopes.slope)

    @property
    def hessian(self) -> Float[Tensor, "size size"]:
        return self.products(self.slopes.curvature)

    @property
    def dispersion(self) -> float:
        """Scatter of the samples' own slopes relative to what the curvature expects."""
        return float((self.slopes.slope**2).sum() / self.slopes.curvature.sum())

    def products(self, weight: Float[np.ndarray, "n"]) -> Float[Tensor, "size size"]:
        """``sum_i w_i B(t_i) B(t_i)'``."""
        return torch.from_numpy((self.design.T @ self.design.multiply(weight[:, None]).tocsr()).toarray())

    def at(self, c: Float[Tensor, "size"]) -> _Expansion:
        return replace(self, c=c)


def _fit(basis: SplineBasis, design: csr_matrix, loss: Loss, start: Float[np.ndarray, "size"]) -> _Fit:
    """A smooth function of least loss, with the weight of its prior chosen at the dispersion."""
    penalty = basis.third_difference_penalty()
    fit, converged = Penalised(_Expansion(design, loss, torch.from_numpy(start)), penalty, 0.0, _firm), False
    for _ in range(_ROUNDS):
        dispersion = fit.data.dispersion
        weight = evidence_weight(fit.data, penalty, _pinned, noise=lambda _, phi=dispersion: phi)
        settled = fit.weight > 0 and abs(np.log(weight / fit.weight)) < 0.05
        found = minimise(
            replace(fit, weight=weight), tolerance=_DECREMENT, max_iterations=_STEPS,
            what="covariance of scores", armijo=5e-5, rounding=1e-12,
        )  # fmt: skip
        fit, converged = found.point, found.converged
        if settled:
            break
    dispersion, inverse = fit.data.dispersion, fit.inverse()
    # The prior's own share keeps the bars of directions that the data do not see.
    scatter = fit.data.products(fit.data.slopes.slope**2) + dispersion * fit.weight * penalty
    return _Fit(fit.c.numpy(), (inverse @ scatter @ inverse).numpy(), fit.weight, dispersion, converged)


def _firm(stiffness: Float[Tensor, "size size"]) -> Float[Tensor, "size size"]:
    return cholesky(stiffness, "covariance of scores", firm=(1e-12,))


def _pinned(stiffness: Float[Tensor, "size size"]) -> Float[Tensor, "size size"]:
    return pin_constant(stiffness, "covariance of scores")
