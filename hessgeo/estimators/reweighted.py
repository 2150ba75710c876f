"""The exact likelihood of sufficient statistics, learned or known: all samples reweighted at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from hessgeo.estimators.base import Estimate, Estimator, Samples, pull_back
from hessgeo.estimators.exponential import check_statistics
from hessgeo.estimators.settings import with_defaults
from hessgeo.free_energies.reweighting import fit_reweighted
from hessgeo.posteriors.conjugate import ConjugateMap, conjugate_map
from hessgeo.posteriors.exponential import ExponentialNetwork

DEFAULTS: Mapping[str, Any] = {
    "nodes": 512,  # at most so many parameters carry the density of states
    "tolerance": 1e-6,  # Newton decrement at the end, nats over all samples
}


def estimate_reweighted(
    samples: Samples,
    statistics: Float[np.ndarray, "n 2"],
    settings: Mapping[str, Any],
    numbers: Mapping[str, Any],
    *,
    device: str,
    progress: bool,
) -> Estimate:
    """Fit the free energy to statistics that are conjugate to the natural parameters, see ``fit_reweighted``."""
    fit = fit_reweighted(statistics, samples.natural, **settings, device=device, progress=progress)
    return pull_back(fit, samples, {**fit.certificate, **numbers})


class KnownStatistics(Estimator):
    """The reweighted samples of the system's own statistics: what remains is the noise of the samples alone.

    Settings: those of ``DEFAULTS``.
    """

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
        chosen = with_defaults(settings, DEFAULTS, "statistics")
        if samples.statistics is None:
            raise ValueError("samples have no known statistics: their system is no exponential family")
        return estimate_reweighted(samples, samples.statistics, chosen, {}, device=device, progress=progress)


class LearnedStatistics(Estimator):
    """The reweighted samples of two learned statistics.

    Where the network's posterior ``p(t|x) ~ exp(<f(x), eta> - A)`` is right, the law of ``f`` is itself exponential in
    ``eta``, whatever was lost of ``x``: its density of states, seen through all samples, gives ``F`` and the metric.
    Where ``A`` has features that its splines cannot follow (a large lattice with an ordered phase in its box), the
    network makes ``f`` too small; ``conjugate_map`` brings it to its scale without any ``A``. The errors of the metric
    hold those of the samples and of the map. Settings: those of ``DEFAULTS``.
    """

    network = "exponential"

    def estimate(
        self,
        samples: Samples,
        trained: ExponentialNetwork,
        settings: Mapping[str, Any],
        *,
        seed: int,
        device: str = "cpu",
        progress: bool = False,
    ) -> Estimate:
        """See ``Estimator``; nothing in it is random."""
        chosen = with_defaults(settings, DEFAULTS, "exponential")
        check_statistics(trained, 2)
        learned = np.asarray(trained.statistics(samples.states), dtype=float)
        found = conjugate_map(learned, samples.natural, samples.t, samples.grid.extent)
        numbers = {**trained.config.calibration, "map": found.matrix.tolist()}
        statistics = learned @ found.matrix.T
        options: dict[str, Any] = {"device": device, "progress": progress}
        estimate = estimate_reweighted(samples, statistics, chosen, numbers, **options)
        return with_map_error(estimate, samples, found)


def with_map_error(estimate: Estimate, samples: Samples, found: ConjugateMap) -> Estimate:
    """The estimate with the error of the map in the errors of its metric, to first order.

    The metric of ``B f`` in natural parameters is ``g = B C B'``, so ``dg = E g + g E'`` with ``E = dB B^-1``.
    """
    if estimate.metric is None or estimate.metric_error is None:
        return estimate
    jacobian = samples.coordinates.jacobian(samples.grid.points)
    inverse, transposed = np.linalg.inv(jacobian), np.swapaxes(jacobian, 1, 2)
    natural = np.swapaxes(inverse, 1, 2) @ estimate.metric @ inverse
    slopes = []
    for entry in np.eye(4).reshape(4, 2, 2):
        change = entry @ np.linalg.inv(found.matrix) @ natural
        slopes.append(transposed @ (change + np.swapaxes(change, 1, 2)) @ jacobian)
    slope = np.stack(slopes, axis=-1)
    variance = np.einsum("nabk,kl,nabl->nab", slope, found.covariance, slope)
    return replace(estimate, metric_error=np.sqrt(estimate.metric_error**2 + variance))
