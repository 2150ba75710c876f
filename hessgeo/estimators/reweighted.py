"""The exact likelihood of sufficient statistics, learned or known: all samples reweighted at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hessgeo.estimators.base import Estimate, Estimator, pull_back
from hessgeo.estimators.exponential import check_statistics
from hessgeo.estimators.halves import CrossFitted
from hessgeo.free_energies.reweighting import ReweightedFreeEnergy, fit_reweighted
from hessgeo.free_energies.statistics_map import StatisticsMap, fit_statistics_map
from hessgeo.learned.exponential import ExponentialNetwork
from hessgeo.learned.exponential_halves import ExponentialHalves
from hessgeo.learned.samples import Samples


class KnownStatistics(Estimator):
    """The reweighted samples of the system's own statistics: what remains is the noise of the samples alone."""

    def estimate(
        self,
        samples: Samples,
        trained: None,
        settings: Mapping[str, Any],
        *,
        seed: int,
        device: str = "cpu",
        progress: bool = False,
    ) -> Estimate:
        """See ``Estimator``; nothing in it is random.

        Raises:
            ValueError: if the samples come without known statistics.
        """
        if samples.statistics is None:
            raise ValueError("samples have no known statistics: their system is no exponential family")
        options: dict[str, Any] = {**settings, "device": device, "progress": progress}
        fit = fit_reweighted(samples.statistics, samples.natural, **options)
        return pull_back(fit, samples, fit.certificate)


class LearnedStatistics(CrossFitted):
    """The reweighted samples of two learned statistics.

    Where the network's ``f`` is right, its law is itself exponential in ``eta``, whatever was lost of ``x``: its
    density of states, seen through all samples, gives ``F`` and the metric. The linear map that ``f`` lacks is that of
    ``fit_statistics_map``, whose error is in the bars.
    """

    def check(self, trained: ExponentialHalves) -> None:
        """See ``check_statistics``."""
        check_statistics(trained, 2)

    def estimate_half(
        self,
        samples: Samples,
        network: ExponentialNetwork,
        settings: Mapping[str, Any],
        *,
        device: str,
        progress: bool,
    ) -> Estimate:
        """See ``CrossFitted``."""
        learned = network.statistics(samples.states)
        found = fit_statistics_map(learned, samples.natural, nodes=settings["nodes"], device=device)
        numbers = {**network.config.calibration, "map": found.matrix.tolist()}
        options: dict[str, Any] = {**settings, "device": device, "progress": progress}
        fit = fit_reweighted(learned @ found.matrix.T, samples.natural, **options)
        estimate = pull_back(fit, samples, {**fit.certificate, **numbers})
        return with_map_error(estimate, fit, samples, found)


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
