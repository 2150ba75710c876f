"""Estimators on exponential families, with the statistics learned or known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from hessgeo.estimators.base import Run, pull_back
from hessgeo.estimators.estimate import Estimate
from hessgeo.estimators.halves import cross_fitted, learned_scores
from hessgeo.free_energies.moments import fit_moments
from hessgeo.free_energies.spline import fit_spline
from hessgeo.grids import Grid
from hessgeo.learned.exponential import ExponentialNetwork
from hessgeo.learned.exponential_convex import SMOOTHNESS
from hessgeo.learned.exponential_halves import ExponentialHalves
from hessgeo.learned.exponential_halves import train_halves as train_halves  # for the registry
from hessgeo.learned.exponential_moments import exponential_posterior
from hessgeo.learned.samples import Samples
from hessgeo.metrics.score_covariance import ScoreCovariance, fit_score_covariance
from hessgeo.systems.solvable.base import Coordinates

_FULLER = 1.05  # by which turned axes must fill their box better to be taken


def gaussian_likelihood(
    samples: Samples, trained: ExponentialHalves, settings: Mapping[str, Any], run: Run
) -> Estimate:
    """The Gaussian likelihood of two learned statistics, in natural parameters.

    Where the family is not exponential in the parameters it is the best family of two statistics. Settings: the
    options of ``fit_moments``.
    """

    def half(new: Samples, network: ExponentialNetwork) -> Estimate:
        statistics, about = network.statistics(new.states), network.config.calibration
        return estimate_from_statistics(new, statistics, settings, about, progress=run.progress)

    return cross_fitted(half, samples, trained, statistics=2)


def posterior_moments(
    samples: Samples, trained: ExponentialHalves, settings: Mapping[str, Any], run: Run
) -> Estimate:
    """The convex fit to posterior moments of two learned statistics, in natural parameters.

    Settings: the options of ``exponential_posterior`` and of ``fit_spline``.
    """

    def half(new: Samples, network: ExponentialNetwork) -> Estimate:
        options = dict(settings)
        about = {key: options.pop(key) for key in ("bundle", "members", "sources")}
        nodes = Grid(new.grid.extent, tuple(options.pop("nodes")))
        turned, _ = turn(new)
        posterior = exponential_posterior(
            network, network.statistics(new.states), new.t, turned.coordinates.natural, nodes,
            image=new.coordinates.natural, **about,
        )  # fmt: skip
        box = Grid(turned.natural_extent, nodes.shape)
        fit = fit_spline(posterior, box, device=run.device, progress=run.progress, **options)
        return pull_back(fit, turned, {**fit.certificate, **network.config.calibration})

    return cross_fitted(half, samples, trained, statistics=2)


def wide_scores(
    samples: Samples, trained: ExponentialHalves, settings: Mapping[str, Any], run: Run
) -> Estimate:
    """The covariance of the scores of more than two learned statistics, positive definite everywhere.

    ``g = (d eta)' Cov[f|t] d eta``, with the covariance smoothed over ``t`` (``fit_score_covariance``). It is that of
    no potential in these parameters, so neither value nor gradient is given. What the two
    networks see differently is in the bars (``metrics.reliability``): of scores that no likelihood fits to the samples
    at hand it may as well add to the metric as take from it. The scale of the scores is that of the
    network alone: errors of both halves' estimates go against each other, and bars by their difference err on the
    large side for it.
    """

    def half(new: Samples, network: ExponentialNetwork) -> Estimate:
        fit = fit_score_covariance(learned_scores(network, new), new.t, new.grid.extent, **settings)
        return estimate_from_scores(fit, new, network.config.calibration)

    return cross_fitted(half, samples, trained, noise="stated")


def estimate_from_scores(fit: ScoreCovariance, samples: Samples, numbers: Mapping[str, Any]) -> Estimate:
    """The metric of a fit to scores, at the nodes."""
    points = samples.grid.points
    return Estimate(
        metric=fit.metric(points), metric_error=fit.error(points), numbers={**fit.numbers, **numbers}
    )


def estimate_from_statistics(
    samples: Samples,
    statistics: Float[np.ndarray, "n 2"],
    settings: Mapping[str, Any],
    numbers: Mapping[str, Any],
    *,
    progress: bool = False,
) -> Estimate:
    """Fit the free energy to statistics that are conjugate to the natural parameters, and pull it back.

    Where the weight of the smoothness prior, chosen from the data, does not settle, it is that of the network's ``A``;
    the numbers hold the one in use.
    """
    options = dict(settings)
    turned, axes = turn(samples)
    data = np.asarray(statistics, dtype=float) @ axes.T, turned.natural, turned.natural_extent
    fit = fit_moments(*data, progress=progress, **options)
    automatic = options.get("smoothness", "auto") == "auto"
    if automatic and not fit.certificate["converged"]:
        options["smoothness"] = SMOOTHNESS / samples.sites**2
        fit = fit_moments(*data, progress=progress, **options)
    return pull_back(fit, turned, {**fit.certificate, **numbers})


def turn(samples: Samples) -> tuple[Samples, Float[np.ndarray, "2 2"]]:
    """The samples in natural parameters turned onto the principal axes of their image, where that fills a box better.

    A rotation ``R`` of natural parameters turns the statistics with it, ``f -> R f``, and leaves every estimate in
    the study's parameters as it is; but splines live on a box, and over the part that holds no samples nothing
    determines them.

    Returns:
        The samples, with coordinates that lead to the turned parameters, and ``R``, the identity if they were left.
    """
    coordinates = samples.coordinates
    image = coordinates.natural(Grid(samples.grid.extent, (65, 65)).points)
    axes = np.linalg.svd(image - image.mean(axis=0), full_matrices=False)[2]
    if np.ptp(image, axis=0).prod() < _FULLER * np.ptp(image @ axes.T, axis=0).prod():
        return samples, np.eye(2)
    turned = Coordinates(
        coordinates.names,
        lambda t: coordinates.natural(t) @ axes.T,
        lambda t: axes @ coordinates.jacobian(t),
    )
    return replace(samples, coordinates=turned), axes
