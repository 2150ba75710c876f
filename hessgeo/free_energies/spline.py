"""The convex fit: a free energy in a spline basis, by damped Newton, with a smoothness chosen from the data.

With ``F = sum_k c_k B_k`` the logarithm of the model posterior (Eq. 21) is linear in ``c`` minus a log-sum-exp of
linear functions, so the summed cross-entropy to the data posterior is convex in ``c``. It needs two reductions of
the posterior only, the mean of every source and the marginal over sources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from hessgeo.free_energies.approximation import ApproximationError, entry_weights, other_count, project
from hessgeo.free_energies.base import Certificate, FitData, FreeEnergy
from hessgeo.free_energies.convex import ConvexProblem, Reduction
from hessgeo.free_energies.smoothness import SmoothnessPrior
from hessgeo.free_energies.verdict import judge, narrow_share
from hessgeo.grids import Frame, Grid
from hessgeo.numerics.bsplines import SplineBasis, derivatives, symmetric
from hessgeo.numerics.factor import in_words
from hessgeo.numerics.newton import Minimum, minimise
from hessgeo.numerics.penalised import Penalised, balance
from hessgeo.posteriors.base import Posterior

_ROUGH = 0.1  # decrement, in nats over all sources, that is enough before the weight changes
_SMOOTHNESS_ROUNDS = 3  # of weight and fit; the weight is chosen on an expansion about the fit before it


class SplineFreeEnergy(FreeEnergy):
    """A free energy in tensor-product cubic B-splines, with a Gaussian (Laplace) posterior of its coefficients.

    Attributes:
        basis: the splines.
        coefficients: their weights, in the gauge whose coefficients have no affine part.
        covariance: of the flattened coefficients, gauge directions excluded.
        approximation: the error that the basis itself makes, which adds to it; None where it is not known.
    """

    knows_errors = True

    def __init__(
        self,
        basis: SplineBasis,
        coefficients: Float[Tensor, "*counts"],
        covariance: Float[Tensor, "size size"],
        *,
        resolution: float,
        certificate: Certificate,
        approximation: ApproximationError | None = None,
    ) -> None:
        self.approximation = approximation
        self.basis = basis
        self.coefficients = coefficients
        self.covariance = covariance
        self.resolution = resolution
        self.certificate = certificate

    def value(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """``F(t)`` in nats per ``N``."""
        return self.basis.evaluate(self.coefficients, t)

    def gradient(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """``grad F(t)``."""
        return self.basis.derivative_tensor(self.coefficients, t, 1)

    def hessian(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis"]:
        """``grad^2 F(t)``, the Fisher metric per ``N`` (Eq. 24). Continuous, piecewise quadratic."""
        return self.basis.derivative_tensor(self.coefficients, t, 2)

    def third(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis axis"]:
        """Third derivatives. ``F_aaa`` and ``F_bbb`` are constant between knots and jump there."""
        return self.basis.derivative_tensor(self.coefficients, t, 3)

    def value_error(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """See ``FreeEnergy``."""
        points = t.reshape(-1, t.shape[-1])
        square = self._variance(self.basis.matrix(points))
        if self.approximation is not None:
            square = square + self.approximation.of_value(points)
        return square.sqrt().reshape(t.shape[:-1])

    def gradient_error(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """See ``FreeEnergy``."""
        points = t.reshape(-1, t.shape[-1])
        designs = [self.basis.matrix(points, order) for order in derivatives(1, t.shape[-1])]
        square = torch.stack([self._variance(design) for design in designs], dim=-1)
        if self.approximation is not None:
            square = square + self.approximation.of_gradient(points)
        return square.sqrt().reshape(t.shape)

    def hessian_error(
        self, t: Float[Tensor, "*batch axis"], jacobian: Float[Tensor, "*batch axis axis"] | None = None
    ) -> Float[Tensor, "*batch axis axis"]:
        """See ``FreeEnergy``."""
        points = t.reshape(-1, t.shape[-1])
        designs = [self.basis.matrix(points, order) for order in derivatives(2, t.shape[-1])]
        errors = []
        for weights in entry_weights(points, jacobian):
            square = self._variance(torch.einsum("pk,kpc->pc", weights, torch.stack(designs)))
            if self.approximation is not None:
                square = square + self.approximation.of_hessian(points, weights)
            errors.append(square.sqrt().reshape(t.shape[:-1]))
        return symmetric(errors, t.shape, rank=2)

    def _variance(self, design: Float[Tensor, "point size"]) -> Float[Tensor, "point"]:
        return ((design @ self.covariance.to(design)) * design).sum(-1).clamp(min=0)


@in_words("spline fit")
def fit_spline(
    posterior: Posterior,
    grid: Grid,
    *,
    splines: tuple[int, ...] = (24, 24),
    smoothness: float | Literal["auto"] = "auto",
    tolerance: float = 1e-9,
    max_iterations: int = 100,
    device: str = "cpu",
    progress: bool = False,
) -> SplineFreeEnergy:
    r"""Fit the free energy to a posterior: the minimum of a convex function, found to a Newton decrement.

    Minimises, over the coefficients of ``F``,

        sum_i H(P(.|t_i), q_F(.|t_i)) + (lambda / 2) c' S c,
        q_F(t_g|t_i) ~ w_g exp N(<t_g, grad F(t_i)> - F(t_g)),

    with ``w_g`` the number of samples at node ``g`` (bilinear for scattered samples) and ``S`` the squared third
    derivatives. ``F`` itself is free to be indefinite: where it is, the posterior is not that of an exponential family,
    or changes faster than the splines can follow.

    How much to trust the posterior is measured, as a dispersion ``phi``: the scatter of posterior means relative to
    that of single draws from ``q_F``. Its *noise* is the scatter between neighbouring sources (a robust mean of what
    a local quadratic does not explain), its *misfit* is Pearson's statistic of the residuals, which also holds what
    no spline or no potential can follow. ``lambda`` is the one of highest marginal likelihood at the noise, or at the
    misfit where that is less: a kink must not pass for noise and be smoothed away. The coefficients' covariance is
    ``phi (H + lambda S)^-1`` (Laplace) with the larger of the two. To it adds the square of the error that the
    basis makes, which no noise explains: that of ``ApproximationError``.

    Args:
        posterior: means and marginal of every source; its sources need not be nodes of the grid.
        grid: the nodes that carry ``q_F`` unless the posterior has its own, and the box of the splines.
        splines: numbers of cubic B-splines along each axis, at least 4; no more than two a node are used.
        smoothness: ``lambda``, or ``auto``.
        tolerance: Newton decrement (half of ``g' H^-1 g``, in nats summed over sources) to stop at.
        max_iterations: of Newton's method, all together.
        device: where the sums run.
        progress: show the decrement on a progress bar.

    Returns:
        The fit. ``certificate`` has ``converged``, ``iterations``, ``decrement``, ``smoothness``,
        ``degrees_of_freedom``, ``noise``, ``misfit``, ``mean_divergence`` (mean ``KL(P_i || q_i)``, nats), ``loss``,
        and the verdict: ``resolved``, ``verdict`` in words, ``narrow_share`` and ``explained_divergence``, see
        ``judge``.

    Raises:
        ValueError: if the posterior holds values that are not finite, a source lies outside the grid's box, or most
            posteriors sit on one node or one line.
        DegenerateError: if the data do not determine the splines.
    """
    carrier = posterior.carrier(grid)
    narrow = narrow_share(posterior, carrier)
    splines = most_splines(splines, carrier)
    problem = ConvexProblem.of(posterior, grid, splines, device)
    prior = SmoothnessPrior.of(problem)
    found = _minimise(problem, prior, smoothness, tolerance, max_iterations, progress)
    fit = found.point
    covariance, numbers = _spread(fit, prior)
    cross_entropy = fit.data.loss / len(posterior.t)
    divergence = cross_entropy - float(posterior.entropy.mean())
    verdict = judge(narrow, divergence, fit.data.typical_noise(prior.scatter), math.exp(cross_entropy))
    return SplineFreeEnergy(
        SplineBasis.over(grid.extent, splines),
        fit.c.reshape(problem.basis.shape).cpu(),
        covariance.cpu(),
        resolution=posterior.resolution,
        certificate={
            **found.certificate,
            "smoothness": fit.weight,
            **numbers,
            "mean_divergence": divergence,
            "loss": fit.data.loss,
            **verdict.numbers,
            "gauge": "coefficients without affine part",
        },
        approximation=_approximation(fit, grid.frame, tolerance, max_iterations),
    )


def spline_of_posterior(data: FitData, settings: Mapping[str, Any]) -> SplineFreeEnergy:
    """``fit_spline`` with the settings ``free_energy`` of a study."""
    options = {key: settings[key] for key in ("smoothness", "tolerance", "max_iterations")}
    options |= {"splines": tuple(settings["splines"]), "device": data.device, "progress": data.progress}
    return fit_spline(data.posterior, data.grid, **options)


def most_splines(splines: tuple[int, ...], carrier: Grid) -> tuple[int, ...]:
    """The numbers of splines in use: at most two a node along each axis, for the value and the slope there."""
    return tuple(max(4, min(count, 2 * nodes)) for count, nodes in zip(splines, carrier.shape, strict=True))


def _minimise(
    problem: ConvexProblem,
    prior: SmoothnessPrior,
    smoothness: float | Literal["auto"],
    tolerance: float,
    max_iterations: int,
    progress: bool,
) -> Minimum[Penalised[Reduction]]:
    """Newton to the minimum; with ``auto``, again for each new weight until the weight settles."""
    start = problem.reduce(torch.zeros(problem.basis.size, dtype=torch.float64, device=problem.mean.device))
    scale, automatic = balance(start.hessian, prior.penalty), smoothness == "auto"
    weight = 1e-6 * scale if automatic else float(smoothness)
    fit, spent = Penalised(start, prior.penalty, weight, prior.factor), 0
    with tqdm(total=max_iterations, desc="Newton", disable=not progress) as bar:
        for _ in range(_SMOOTHNESS_ROUNDS if automatic else 0):
            found = _newton(fit, max(tolerance, _ROUGH), max_iterations, spent, bar)
            fit, spent = found.point, found.iterations
            weight = prior.likeliest_weight(fit, scale)
            settled = abs(math.log(weight / fit.weight)) < 0.1
            fit = replace(fit, weight=weight)
            if settled:
                break
        return _newton(fit, tolerance, max_iterations, spent, bar)


def _newton(
    fit: Penalised[Reduction],
    tolerance: float,
    max_iterations: int,
    spent: int = 0,
    bar: tqdm | None = None,
) -> Minimum[Penalised[Reduction]]:
    # The loss is a sum over all sources and nodes, known to some nine digits.
    return minimise(
        fit, tolerance=tolerance, max_iterations=max_iterations, what="spline fit", spent=spent, rounding=1e-9,
        bar=bar,
    )  # fmt: skip


def _spread(
    fit: Penalised[Reduction], prior: SmoothnessPrior
) -> tuple[Float[Tensor, "size size"], dict[str, float]]:
    """Covariance of the coefficients, and what it is made of: degrees of freedom, misfit and noise."""
    inverse = fit.inverse()
    inverse = inverse - prior.gauge @ (prior.gauge.T @ inverse @ prior.gauge) @ prior.gauge.T
    degrees = prior.degrees(inverse, fit.weight)
    misfit, noise = fit.data.misfit(degrees), fit.data.noise(prior.scatter)
    numbers = {"degrees_of_freedom": degrees, "misfit": misfit, "noise": noise}
    return max(misfit, noise) * inverse, numbers


def _approximation(
    fit: Penalised[Reduction], frame: Frame, tolerance: float, max_iterations: int
) -> ApproximationError:
    """What the same fit, at the same weight of the prior, makes of another number of splines."""
    problem = fit.data.problem
    other = problem.with_splines(tuple(map(other_count, problem.basis.shape)))
    prior = SmoothnessPrior.of(other)
    c = project(problem.basis, fit.c.cpu(), other.basis).to(fit.c)
    start = Penalised(other.reduce(c), prior.penalty, fit.weight, prior.factor)
    found = _newton(start, tolerance, max_iterations).point
    return ApproximationError.between(frame, (problem.basis, fit.c.cpu()), (other.basis, found.c.cpu()))
