"""Fit a free energy to samples of its sufficient statistics, by their mean and their covariance at once.

In an exponential family ``E[f | t] = grad F(t)`` and ``Cov[f | t] = grad^2 F(t)`` (Eqs. 6 to 8). Where ``f`` is
known, or learned, the scatter of ``f`` about its mean tells of the metric as directly as the drift of the mean
does, and the two together far more than the mean alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from hessgeo.free_energies.approximation import ApproximationError, finer_count, project
from hessgeo.free_energies.spline import SplineFreeEnergy
from hessgeo.grids import Extent, Frame
from hessgeo.numerics.bsplines import SplineBasis
from hessgeo.numerics.factor import DegenerateError, check_independent, check_samples, in_words
from hessgeo.numerics.newton import Minimum, NoDescentError, minimise
from hessgeo.numerics.penalised import Penalised, balance, evidence_weight, pin_constant

ROWS = 16_384  # samples whose contributions are in memory at once
_ROUGH = 1e-3  # decrement, in nats over all samples, that is enough before the weight changes
_ROUNDS = 8  # of weight and fit
_HEAVIEST = 1e6  # weight of the prior, over that at which it is as stiff as the likelihood
_SOFTER = 30.0  # by which the weight falls at most from one round to the next
_OTHERS = 6  # that are tried, heavier and lighter by as much and more, where a fit ends nowhere


class NotConvexError(ArithmeticError):
    """No convex potential was found to start from."""


@in_words("fit of moments")
def fit_moments(
    statistics: Float[np.ndarray, "n 2"],
    t: Float[np.ndarray, "n 2"],
    extent: Extent,
    *,
    splines: tuple[int, int] = (9, 9),
    smoothness: float | Literal["auto"] = "auto",
    tolerance: float = 1e-8,
    max_iterations: int = 100,
    progress: bool = False,
) -> SplineFreeEnergy:
    r"""Fit ``F`` to sufficient statistics by the Gaussian likelihood of their mean and covariance.

    Minimises, by Fisher scoring over the coefficients ``c`` of ``F`` in cubic B-splines,

        sum_i [(f_i - grad F(t_i))' g(t_i)^-1 (f_i - grad F(t_i)) + log det g(t_i)] / 2 + (lambda / 2) c' S c,

    with ``g = grad^2 F``. For the statistics of a large system this is the likelihood itself (central limit
    theorem); for others it is a consistent estimating equation, since the first two moments are right. It starts
    from the convex quadratic that regression gives and never leaves the potentials that are convex at the samples.
    Error bars are those of estimating equations, ``H^-1 G H^-1`` with ``G`` the scatter of the samples' own scores;
    they hold whatever the law of the statistics (Huber 1967). To it adds the square of the error that the basis makes,
    which no number of samples takes away: that of ``ApproximationError``.

    Args:
        statistics: sufficient statistics ``f(x_i)``, one sample a row.
        t: natural parameter of each sample.
        extent: the box of the splines, ``((a_min, a_max), (b_min, b_max))``.
        splines: numbers of cubic B-splines along ``a`` and ``b``, at least 4 each.
        smoothness: ``lambda``, or ``auto`` for the one of highest marginal likelihood.
        tolerance: decrement (half of ``g' I^-1 g``, in nats over all samples) to stop at.
        max_iterations: steps of Fisher scoring, all together.
        progress: show the decrement on a progress bar.

    Returns:
        The fit, ``resolution`` 1, with its constant free; ``certificate`` has ``converged``, ``iterations``,
        ``decrement``, ``smoothness``, ``loss`` and ``pearson``, the mean of the squared standardised residuals,
        one where the scatter about the mean is that of the metric.

    Raises:
        ValueError: on shapes that do not match, values that are not finite, or samples outside the box.
        DegenerateError: if a statistic is constant, or the two are one.
        NotConvexError: if the statistics do not grow along the parameters, so that no convex start exists.
    """
    check_samples(statistics, t, "statistics", extent)
    check_independent(statistics, "moments")
    # In box units, to which the statistics are conjugate when they are multiplied by its half sides.
    frame = Frame.of(extent)
    statistics, t = statistics * np.array(frame.half), frame.into(np.asarray(t, dtype=float))
    basis = SplineBasis.over(((-1.0, 1.0), (-1.0, 1.0)), splines)
    start = _Expansion(_Problem.of(basis, t, statistics), _convex_start(basis, t, statistics))
    if not np.isfinite(start.loss):
        raise NotConvexError(
            "the quadratic that regression gives is not convex: the statistics do not follow t"
        )
    penalty = basis.third_difference_penalty()
    found = _minimise(start, penalty, smoothness, tolerance, max_iterations, progress)
    fit, one = found.point, torch.full((basis.size, 1), basis.size**-0.5, dtype=torch.float64)
    inverse = fit.inverse()
    # The prior's own share keeps the bars of directions that the data do not see.
    covariance = inverse @ (fit.data.scatter() + fit.weight * penalty) @ inverse
    covariance = covariance - one @ (one.T @ covariance @ one) @ one.T
    return SplineFreeEnergy(
        SplineBasis.over(extent, splines),
        (fit.c - one[:, 0] * (one[:, 0] @ fit.c)).reshape(basis.shape),
        covariance,
        resolution=1.0,
        certificate={
            **found.certificate,
            "smoothness": fit.weight,
            "loss": fit.data.loss,
            "pearson": fit.data.pearson(),
            "gauge": "coefficients without constant",
        },
        approximation=_approximation(fit, basis, t, frame, max_iterations),
    )


def _approximation(
    fit: Penalised[_Expansion],
    basis: SplineBasis,
    t: Float[np.ndarray, "n 2"],
    frame: Frame,
    max_iterations: int,
) -> ApproximationError:
    """What the same fit, at the same weight of the prior, makes of twice the knot intervals.

    Half as many would tell less where the basis cannot follow the potential at all, and spare nothing: samples make the
    cost, whatever the number of splines.
    """
    other = SplineBasis.over(((-1.0, 1.0), (-1.0, 1.0)), tuple(map(finer_count, basis.shape)))
    problem, penalty = (
        _Problem.of(other, t, fit.data.problem.statistics.numpy()),
        other.third_difference_penalty(),
    )
    quadratic = _Expansion(problem, _convex_start(other, t, problem.statistics.numpy()))
    # A prior that leaves quadratics alone does so at a lesser weight, whose rounding does not drown the likelihood.
    weight = min(fit.weight, _HEAVIEST * balance(quadratic.hessian, penalty))
    # Splines of the coarser knots are splines of the finer: this is the same potential, convex at the samples, if by
    # more than rounding.
    same = _Expansion(problem, project(basis, fit.c, other))
    start = min(
        (Penalised(start, penalty, weight, _factor) for start in (same, quadratic)),
        key=lambda start: start.loss,
    )
    found = _held(start, max_iterations)
    return ApproximationError.between(frame, (basis, fit.c), (other, found.point.c))


def _held(start: Penalised[_Expansion], max_iterations: int) -> Minimum[Penalised[_Expansion]]:
    """The minimum from a start, under the prior that is nearest to its own among those under which there is one.

    So many splines may gain without end by being flat at some samples, from which a heavier prior keeps them, or be
    drowned in the rounding of a prior that is too heavy. Either makes more of a difference to the fit, not less.
    """
    for turn in range(1, _OTHERS + 1):
        try:
            return _score(start, tolerance=_ROUGH, max_iterations=max_iterations)
        except (DegenerateError, NoDescentError):
            start = replace(start, weight=start.weight * _SOFTER ** (turn if turn % 2 else -turn))
    return _score(start, tolerance=_ROUGH, max_iterations=max_iterations)


# Rounding of a sum over all samples exceeds, near the end, what a step gains.
_score = partial(minimise, what="fit of moments", rounding=1e-13, halvings=40)


def _minimise(
    start: _Expansion,
    penalty: Float[Tensor, "size size"],
    smoothness: float | Literal["auto"],
    tolerance: float,
    max_iterations: int,
    progress: bool,
) -> Minimum[Penalised[_Expansion]]:
    """Fisher scoring to the minimum; with ``auto`` a few times, each at a new weight."""
    automatic = smoothness == "auto"
    fit = Penalised(
        start, penalty, 1e-6 * len(start.problem.rows) if automatic else float(smoothness), _factor
    )
    spent = 0
    score = partial(_score, max_iterations=max_iterations)
    with tqdm(total=max_iterations, desc="moments", disable=not progress) as bar:
        for _ in range(_ROUNDS - 1 if automatic else 0):
            found = score(fit, tolerance=max(tolerance, _ROUGH), spent=spent, bar=bar)
            spent = found.iterations
            likeliest = evidence_weight(found.point.data, penalty, _factor)
            fit = replace(found.point, weight=max(likeliest, fit.weight / _SOFTER))
        return score(fit, tolerance=tolerance, spent=spent, bar=bar)


def _factor(stiffness: Float[Tensor, "size size"]) -> Float[Tensor, "size size"]:
    return pin_constant(stiffness, "fit of moments")


def _convex_start(
    basis: SplineBasis, t: Float[np.ndarray, "n 2"], statistics: Float[np.ndarray, "n 2"]
) -> Float[Tensor, "size"]:
    """Coefficients of the quadratic whose gradient is the regression of ``f`` on ``t``, made convex."""
    design = np.column_stack([np.ones(len(t)), t])
    intercept, *slopes = np.linalg.lstsq(design, statistics, rcond=None)[0]
    eigenvalue, vectors = np.linalg.eigh((np.array(slopes) + np.array(slopes).T) / 2)
    if eigenvalue[-1] <= 0:
        raise NotConvexError("the statistics fall along every parameter: their sign is not that of f")
    convex = vectors @ np.diag(np.maximum(eigenvalue, 1e-2 * eigenvalue[-1])) @ vectors.T
    # A cubic B-spline with coefficients q(xi_k) - q'' h^2 / 6 is the quadratic q, for Greville points xi and spacing h.
    grid = np.stack(np.meshgrid(basis.a.greville, basis.b.greville, indexing="ij"), axis=-1)
    spacing = np.array([basis.a.spacing, basis.b.spacing])
    value = np.einsum("...i,ij,...j->...", grid, convex, grid) / 2 + grid @ intercept
    return torch.from_numpy((value - (np.diag(convex) * spacing**2).sum() / 6).ravel())


@dataclass(frozen=True)
class _Problem:
    """Samples, and the sixteen splines that count at each."""

    size: int
    rows: Int[Tensor, "n 16"]
    first: Float[Tensor, "n 2 16"]  # of grad F
    second: Float[Tensor, "n 3 16"]  # of F_aa, F_ab, F_bb
    statistics: Float[Tensor, "n 2"]

    @classmethod
    def of(cls, basis: SplineBasis, t: np.ndarray, statistics: np.ndarray) -> _Problem:
        points = torch.from_numpy(np.asarray(t, dtype=float))
        rows, _ = basis.local(points)
        first = torch.stack([basis.local(points, order)[1] for order in ((1, 0), (0, 1))], dim=1)
        second = torch.stack([basis.local(points, order)[1] for order in ((2, 0), (1, 1), (0, 2))], dim=1)
        return cls(basis.size, rows, first, second, torch.from_numpy(np.asarray(statistics, dtype=float)))

    def blocks(self, c: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Blocks of samples: where they are, the residual of the statistic, and the metric's factor and entries."""
        for start in range(0, len(self.rows), ROWS):
            part = torch.arange(start, min(start + ROWS, len(self.rows)))
            local = c[self.rows[part]]
            residual = self.statistics[part] - torch.einsum("nik,nk->ni", self.first[part], local)
            entries = torch.einsum("nik,nk->ni", self.second[part], local)
            yield part, residual, entries, entries[:, 0] * entries[:, 2] - entries[:, 1] ** 2

    def whitened(self, c: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Blocks of samples: where they are, and derivatives and score in units of the metric's root."""
        for part, residual, g, _ in self.blocks(c):
            yield part, *_whitened(self.first[part], self.second[part], residual, g)

    def add(self, total: Tensor, part: Tensor, blocks: Float[Tensor, "block 16 16"]) -> None:
        """Add each sample's block to the rows and columns of its splines."""
        rows = self.rows[part]
        pairs = (rows[:, :, None] * self.size + rows[:, None, :]).flatten()
        total.view(-1).index_add_(0, pairs, blocks.flatten())


@dataclass(frozen=True)
class _Expansion:
    """The negative log-likelihood about coefficients; a ``penalised.Expansion``, whose Hessian is Fisher's."""

    problem: _Problem
    c: Float[Tensor, "size"]

    @cached_property
    def loss(self) -> float:
        """Infinite where the potential is not convex at a sample."""
        total = 0.0
        for _, r, g, determinant in self.problem.blocks(self.c):
            if (determinant <= 0).any() or (g[:, 0] <= 0).any():
                return float("inf")
            total += float((_square(r, g, determinant) + determinant.log()).sum()) / 2
        return total

    @property
    def gradient(self) -> Float[Tensor, "size"]:
        return self._derivatives[0]

    @property
    def hessian(self) -> Float[Tensor, "size size"]:
        return self._derivatives[1]

    def at(self, c: Float[Tensor, "size"]) -> _Expansion:
        return _Expansion(self.problem, c)

    def pearson(self) -> float:
        """Mean of ``(f - grad F)' g^-1 (f - grad F) / 2``."""
        total = 0.0
        for _, r, g, determinant in self.problem.blocks(self.c):
            total += float(_square(r, g, determinant).sum()) / 2
        return total / len(self.problem.rows)

    @cached_property
    def _derivatives(self) -> tuple[Float[Tensor, "size"], Float[Tensor, "size size"]]:
        problem = self.problem
        gradient = torch.zeros(problem.size, dtype=torch.float64)
        information = torch.zeros(problem.size, problem.size, dtype=torch.float64)
        for part, design, score in problem.whitened(self.c):
            own = torch.einsum("nrk,nr->nk", design, score)
            gradient.index_add_(0, problem.rows[part].flatten(), -own.flatten())
            problem.add(information, part, design.mT @ design)
        return gradient, information

    def scatter(self) -> Float[Tensor, "size size"]:
        """Sum over samples of the outer product of each one's score."""
        total = torch.zeros(self.problem.size, self.problem.size, dtype=torch.float64)
        for part, design, score in self.problem.whitened(self.c):
            own = torch.einsum("nrk,nr->nk", design, score)
            self.problem.add(total, part, own[:, :, None] * own[:, None, :])
        return total


def _square(
    r: Float[Tensor, "n 2"], g: Float[Tensor, "n 3"], determinant: Float[Tensor, "n"]
) -> Float[Tensor, "n"]:
    """``r' g^-1 r``."""
    adjugate = g[:, 2] * r[:, 0] ** 2 - 2 * g[:, 1] * r[:, 0] * r[:, 1] + g[:, 0] * r[:, 1] ** 2
    return adjugate / determinant


def _whitened(
    first: Float[Tensor, "n 2 16"],
    second: Float[Tensor, "n 3 16"],
    residual: Float[Tensor, "n 2"],
    g: Float[Tensor, "n 3"],
) -> tuple[Float[Tensor, "n 5 16"], Float[Tensor, "n 5"]]:
    """Derivatives of mean and covariance in units of the metric's own root, and the score in the same.

    With ``g^-1 = L L'``, the mean's are ``L' d mu`` and the covariance's ``L' dg L / sqrt 2``, its off-diagonal
    entry counted twice; the information is the sum of their squares, and the score of the covariance
    ``(L' r r' L - 1) / sqrt 2``.
    """
    determinant = g[:, 0] * g[:, 2] - g[:, 1] ** 2
    # Lower Cholesky factor of the inverse [[g22, -g12], [-g12, g11]] / det.
    l11 = (g[:, 2] / determinant).sqrt()
    l21 = -g[:, 1] / determinant / l11
    l22 = (1 / g[:, 2]).sqrt()
    root = 0.5**0.5
    mean = torch.stack(
        [
            l11[:, None] * first[:, 0] + l21[:, None] * first[:, 1],
            l22[:, None] * first[:, 1],
        ],
        dim=1,
    )
    daa, dab, dbb = second.unbind(1)
    x, y, z = l11[:, None], l21[:, None], l22[:, None]
    spread = torch.stack(
        [
            root * (x * x * daa + 2 * x * y * dab + y * y * dbb),
            root * z * z * dbb,
            z * (x * dab + y * dbb),
        ],
        dim=1,
    )
    u = l11 * residual[:, 0] + l21 * residual[:, 1]
    v = l22 * residual[:, 1]
    score = torch.stack([u, v, root * (u * u - 1), root * (v * v - 1), u * v], dim=1)
    return torch.cat([mean, spread], dim=1), score
