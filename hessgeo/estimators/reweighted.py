"""The exact likelihood of sufficient statistics, learned or known: all samples reweighted at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hessgeo.estimators.base import Run, pull_back
from hessgeo.estimators.estimate import Estimate
from hessgeo.estimators.halves import cross_fitted
from hessgeo.free_energies.reweighting import ReweightedFreeEnergy, fit_reweighted
from hessgeo.free_energies.statistics_map import StatisticsMap, fit_statistics_map
from hessgeo.learned.exponential import ExponentialNetwork
from hessgeo.learned.exponential_halves import ExponentialHalves
from hessgeo.learned.samples import Samples


def known_statistics(samples: Samples, trained: None, settings: Mapping[str, Any], run: Run) -> Estimate:
    """The reweighted samples of the system's own statistics: what remains is the noise of the samples alone.

    Raises:
        ValueError: if the samples come without known statistics.
    """
    if samples.statistics is None:
        raise ValueError("samples have no known statistics: their system is no exponential family")
    options: dict[str, Any] = {**settings, "device": run.device, "progress": run.progress}
    fit = fit_reweighted(samples.statistics, samples.natural, **options)
    return pull_back(fit, samples, fit.certificate)


def learned_statistics(
    samples: Samples, trained: ExponentialHalves, settings: Mapping[str, Any], run: Run
) -> Estimate:
    """The reweighted samples of two learned statistics.

    Where the network's ``f`` is right, its law is itself exponential in ``eta``, whatever was lost of ``x``: its
    density of states, seen through all samples, gives ``F`` and the metric. The linear map that ``f`` lacks is that of
    ``fit_statistics_map``, whose error is in the bars. The metric, not ``F`` and its gradient, has back what a network
    loses of it (``metrics.reliability``).
    """
    options: dict[str, Any] = {**settings, "device": run.device, "progress": run.progress}

    def half(new: Samples, network: ExponentialNetwork) -> Estimate:
        learned = network.statistics(new.states)
        found = fit_statistics_map(learned, new.natural, nodes=settings["nodes"], device=run.device)
        fit = fit_reweighted(learned @ found.matrix.T, new.natural, **options)
        numbers = {**fit.certificate, **network.config.calibration, "map": found.matrix.tolist()}
        return with_map_error(pull_back(fit, new, numbers), fit, new, found)

    return cross_fitted(half, samples, trained, statistics=2, noise="restored")


def with_map_error(
    estimate: Estimate, fit: ReweightedFreeEnergy, samples: Samples, found: StatisticsMap
) -> Estimate:
    """The estimate with the error of the map ``B`` in the errors of its metric, to first order.

    A change ``dB`` of the map is one of the statistics ``B f`` by ``E = dB B^-1``.
    """
    points = samples.grid.points
    jacobian = samples.coordinates.jacobian(points)
    by_e = fit.hessian_response(torch.from_numpy(samples.coordinates.natural(points))).numpy()
    slope = np.einsum(
        "nia,nijkc,njb,dc->nabkd", jacobian, by_e, jacobian, np.linalg.inv(found.matrix), optimize=True
    ).reshape(len(points), 2, 2, 4)
    variance = np.einsum("nabk,kl,nabl->nab", slope, found.covariance, slope, optimize=True)
    if estimate.metric_error is not None:
        variance = variance + estimate.metric_error**2
    return replace(estimate, metric_error=np.sqrt(variance))
