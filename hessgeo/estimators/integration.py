"""Statistics of states, once they are numbers: their mean at each parameter, and the potential it is the gradient of.

All regressions are in tensor-product cubic B-splines with a third-difference penalty, whose weight is that of
least generalised cross-validation (Craven & Wahba 1979) unless given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.sparse import csr_matrix, vstack

from hessgeo.estimators.base import in_study
from hessgeo.estimators.estimate import Estimate
from hessgeo.free_energies.spline import SplineFreeEnergy
from hessgeo.grids import Extent
from hessgeo.learned.samples import Samples
from hessgeo.numerics.bsplines import SplineBasis
from hessgeo.numerics.factor import check_samples, in_words

Smoothness = float | Literal["auto"]
_WEIGHTS = np.geomspace(
    1e-10, 1e4, 561
)  # of the penalty that are tried, relative to the balance of the two traces
_GRADIENT = ((1, 0), (0, 1))


@dataclass(frozen=True)
class SmoothField:
    """Several functions of ``t`` in splines.

    Attributes:
        basis: the splines.
        coefficients: a column a function.
        smoothness: weight of the penalty of each.
    """

    basis: SplineBasis
    coefficients: Float[np.ndarray, "size m"]
    smoothness: tuple[float, ...]

    def __call__(
        self, t: Float[np.ndarray, "n 2"], derivative: tuple[int, int] = (0, 0)
    ) -> Float[np.ndarray, "n m"]:
        """The functions, or a mixed derivative of them, at points of the box."""
        return self.basis.design(t, derivative) @ self.coefficients

    def jacobian(self, t: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n m 2"]:
        """``[n, i, j] = d value_i / d t_j``."""
        return np.stack([self(t, order) for order in _GRADIENT], axis=-1)


@in_words("conditional mean")
def conditional_mean(
    values: Float[np.ndarray, "n m"],
    t: Float[np.ndarray, "n 2"],
    extent: Extent,
    *,
    noise: Float[np.ndarray, "n m"] | None = None,
    splines: tuple[int, int] = (12, 12),
    smoothness: Smoothness = "auto",
) -> SmoothField:
    """Least-squares estimate of ``E[values | t]``, each column with a smoothness of its own.

    Args:
        values: numbers of each sample.
        t: their parameters, within the box.
        extent: the box.
        noise: standard deviation of each value up to a factor, or None: the same for all of a column. It must not
            depend on the value itself.
        splines: numbers of cubic B-splines along ``a`` and ``b``.
        smoothness: weight of the penalty, or ``auto``.

    Raises:
        ValueError: on values that are not finite, noise that is not positive, or samples outside the box.
    """
    check_samples(values, t, "values", extent, columns=None)
    basis = SplineBasis.over(extent, splines)
    design = basis.design(t)
    if noise is None:
        problem = _Penalised.of(design, basis)
        solved = [problem.solve(column, smoothness) for column in values.T]
    else:
        if noise.shape != values.shape or not (noise > 0).all():
            raise ValueError(f"noise has shape {noise.shape}, must be positive and of shape {values.shape}")
        solved = [
            _Penalised.of(design.multiply(1 / scale[:, None]).tocsr(), basis).solve(
                column / scale, smoothness
            )
            for column, scale in zip(values.T, noise.T, strict=True)
        ]
    columns, weights = zip(*solved, strict=True)
    return SmoothField(basis, np.stack(columns, axis=1), tuple(weights))


@dataclass(frozen=True)
class ResponseMap:
    """The linear map that makes of statistics those conjugate to ``t``.

    Attributes:
        matrix: ``B``; the conjugate statistics are ``B s``.
        information: ``J' C^-1 J`` pooled over the box, the part of the Fisher metric that ``s`` shows linearly.
    """

    matrix: Float[np.ndarray, "2 m"]
    information: Float[np.ndarray, "2 2"]


@in_words("response of the statistics")
def response_map(
    statistics: Float[np.ndarray, "n m"], t: Float[np.ndarray, "n 2"], mean: SmoothField
) -> ResponseMap:
    """``B = J' C^-1``, the best linear prediction of the score from statistics, pooled over the box.

    Statistics whose scale, sign and mixture mean nothing get one by the fluctuation-response relation: for any
    ``s``, ``d E[s|t] / dt = Cov[s, score | t]``, so with ``J`` the average of the left side and ``C`` that of
    ``Cov[s|t]``, ``B s`` regresses the score on ``s`` by least squares. It needs no truth. In an exponential family
    with ``s = A f + b`` it is ``A^-1``, exactly, and ``B s`` is ``f`` in nats per unit of ``t``, up to a constant.

    Args:
        statistics: of each sample.
        t: their parameters.
        mean: ``E[s|t]``.

    Raises:
        ValueError: if the statistics are constant or linearly dependent, given ``t``.
    """
    deviation = statistics - mean(t)
    covariance = deviation.T @ deviation / len(t)
    scale = np.sqrt(np.diag(covariance))
    if not (scale > 0).all() or np.linalg.cond(covariance / np.outer(scale, scale)) > 1e12:
        raise ValueError("the statistics are constant or linearly dependent: they have no response")
    response = mean.jacobian(t).mean(axis=0)
    matrix = np.linalg.solve(covariance, response).T
    return ResponseMap(matrix, matrix @ response)


@dataclass(frozen=True)
class Integration:
    """A potential, and how far the statistics are from having one.

    Attributes:
        free_energy: ``F`` in nats where the statistics are conjugate to ``t``; standard errors by the sandwich.
        curl_share: root mean square of what no gradient explains of ``E[s|t]``, relative to its own variation,
            each component in units of its noise.
        noise: standard deviation of each statistic given ``t``.
    """

    free_energy: SplineFreeEnergy
    curl_share: float
    noise: tuple[float, float]


@in_words("integration of the statistics")
def integrate_statistics(
    statistics: Float[np.ndarray, "n 2"],
    t: Float[np.ndarray, "n 2"],
    extent: Extent,
    *,
    splines: tuple[int, int] = (12, 12),
    smoothness: Smoothness = "auto",
    mean: SmoothField | None = None,
) -> Integration:
    """The potential whose gradient is nearest to the statistics (Lobashev et al., App. B.1, Eq. 121).

    Minimises ``sum_i |s_i - grad F(t_i)|^2 / noise^2 + lambda c' S c`` over the coefficients of ``F``. Where the mean
    of the statistics given ``t`` has a curl it is left over, and reported. ``F`` is free to be indefinite.

    PAPER: a neural network in place of splines, and components not weighted by their noise; on statistics
    that have a potential both weights lead to it, and in units of the noise the choice of units does not matter.

    Args:
        statistics: of each sample, first conjugate to ``a``, second to ``b``.
        t: their parameters, within the box.
        extent: the box.
        splines: numbers of cubic B-splines along ``a`` and ``b``.
        smoothness: weight of the penalty, or ``auto``.
        mean: ``E[s|t]``, if it is known already.

    Raises:
        ValueError: on statistics that are not two finite numbers a sample, or samples outside the box.
    """
    check_samples(statistics, t, "statistics", extent)
    mean = mean or conditional_mean(statistics, t, extent, splines=splines, smoothness=smoothness)
    field = mean(t)
    # Statistics without noise are all of the same weight.
    noise = np.sqrt(np.mean((statistics - field) ** 2, axis=0))
    weight = 1 / np.maximum(noise, np.maximum(1e-9 * np.ptp(statistics, axis=0), np.finfo(float).tiny))
    basis = SplineBasis.over(extent, splines)
    parts = [basis.design(t, order) for order in _GRADIENT]
    problem = _Penalised.of(vstack([w * part for w, part in zip(weight, parts, strict=True)]).tocsr(), basis)
    target = (statistics * weight).T.ravel()
    c, chosen = problem.solve(target, smoothness)
    left = weight * (field - np.stack([part @ c for part in parts], axis=1))
    variation = weight * (field - field.mean(axis=0))
    curl_share = float(np.sqrt((left**2).sum() / max((variation**2).sum(), np.finfo(float).tiny)))
    free_energy = SplineFreeEnergy(
        basis,
        torch.from_numpy(c.reshape(basis.shape)),
        torch.from_numpy(problem.sandwich(c, target, chosen, observations=len(t))),
        resolution=1.0,
        certificate={
            "smoothness": chosen,
            "curl_share": curl_share,
            "gauge": "coefficients without constant",
        },
    )
    return Integration(free_energy, curl_share, (float(noise[0]), float(noise[1])))


def integrated(
    samples: Samples,
    statistics: Float[np.ndarray, "n 2"],
    settings: Mapping[str, Any],
    numbers: Mapping[str, Any],
) -> Estimate:
    """The potential nearest to two statistics, in the parameters of the study.

    Settings: ``splines`` and ``smoothness`` of all regressions, and ``map``: with ``response`` the statistics are first
    mapped by ``response_map``, with ``none`` they are taken as they are.
    """
    if settings["map"] not in ("none", "response"):
        raise ValueError(f"map is {settings['map']!r}, must be none or response")
    t, extent = samples.t, samples.grid.extent
    smooth = {"splines": tuple(settings["splines"]), "smoothness": settings["smoothness"]}
    mean, about = conditional_mean(statistics, t, extent, **smooth), dict(numbers)
    if settings["map"] == "response":
        matrix = response_map(statistics, t, mean).matrix
        statistics = statistics @ matrix.T
        mean = conditional_mean(statistics, t, extent, **smooth)
        about["map"] = matrix.tolist()
    found = integrate_statistics(statistics, t, extent, mean=mean, **smooth)
    about |= {"curl_share": found.curl_share, "noise": list(found.noise)}
    about["smoothness"] = found.free_energy.certificate["smoothness"]
    return in_study(found.free_energy, samples, about)


@dataclass(frozen=True)
class _Penalised:
    """Least squares ``|y - A c|^2 + lambda c' S c``, in the basis where ``A'A`` is one and ``S`` diagonal.

    Attributes:
        design: ``A``.
        basis_vectors: ``V`` with ``V' A'A V = 1`` and ``V' S V = diag(stiffness)``.
        stiffness: of each of its directions.
        scale: of ``lambda``: the balance of the two traces.
    """

    design: csr_matrix
    basis_vectors: Float[np.ndarray, "size size"]
    stiffness: Float[np.ndarray, "size"]
    scale: float

    @classmethod
    def of(cls, design: csr_matrix, basis: SplineBasis) -> _Penalised:
        normal = (design.T @ design).toarray()
        penalty = basis.third_difference_penalty().numpy()
        scale = float(np.trace(normal) / np.trace(penalty))
        one = np.full((basis.size, 1), basis.size**-0.5)
        # A constant that neither term sees is pinned to zero; directions that no sample sees are left to the penalty.
        pinned = normal + _WEIGHTS[0] * scale * penalty
        diagonal = float(np.mean(np.diag(normal)))
        if float(np.abs(normal @ one).max()) < 1e-9 * diagonal:
            pinned = pinned + diagonal * one @ one.T
        pinned[np.diag_indices_from(pinned)] += 1e-13 * diagonal
        stiffness, vectors = eigh(penalty, pinned)
        return cls(design, vectors, np.maximum(stiffness, 0), scale)

    def solve(
        self, y: Float[np.ndarray, "n"], smoothness: Smoothness
    ) -> tuple[Float[np.ndarray, "size"], float]:
        """Coefficients, and the weight of the penalty they were found with."""
        pull = self.basis_vectors.T @ (self.design.T @ y)
        weight = self._weight(pull, y) if smoothness == "auto" else float(smoothness)
        return self.basis_vectors @ (pull / (1 + weight * self.stiffness)), weight

    def _weight(self, pull: Float[np.ndarray, "size"], y: Float[np.ndarray, "n"]) -> float:
        """``argmin n |y - A c|^2 / (n - tr)^2``, with ``tr`` the effective number of parameters."""
        trial = _WEIGHTS * self.scale
        shrink = 1 / (1 + trial[:, None] * self.stiffness)
        # What no coefficients explain is found as a residual, since a difference of squares would lose its digits.
        floor = float(np.sum((y - self.design @ (self.basis_vectors @ pull)) ** 2))
        residual = floor + ((1 - shrink) ** 2 * pull**2).sum(axis=1)
        free = np.maximum(len(y) - shrink.sum(axis=1), 1.0)
        return float(trial[np.argmin(residual / free**2)])

    def sandwich(
        self,
        c: Float[np.ndarray, "size"],
        y: Float[np.ndarray, "rows"],
        weight: float,
        *,
        observations: int,
    ) -> Float[np.ndarray, "size size"]:
        """``Q^-1 (sum_i g_i g_i') Q^-1`` with ``Q = A'A + lambda S`` and ``g_i`` the pull of one observation's rows."""
        residual = (y - self.design @ c).reshape(-1, observations)
        pulls = sum(
            self.design[k * observations : (k + 1) * observations].multiply(part[:, None]).tocsr()
            for k, part in enumerate(residual)
        )
        inverse = self.basis_vectors / (1 + weight * self.stiffness) @ self.basis_vectors.T
        return inverse @ (pulls.T @ pulls).toarray() @ inverse
