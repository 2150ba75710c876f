"""The exact likelihood of sufficient statistics, learned or known: all samples reweighted at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from hessgeo.estimators.base import Estimate, Estimator, Samples, pull_back
from hessgeo.estimators.exponential import check_statistics
from hessgeo.estimators.halves import CrossFitted
from hessgeo.estimators.settings import with_defaults
from hessgeo.free_energies.conjugate import fit_conjugate_map
from hessgeo.free_energies.reweighting import fit_reweighted
from hessgeo.posteriors.exponential import ExponentialNetwork
from hessgeo.posteriors.exponential_halves import ExponentialHalves

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


class LearnedStatistics(CrossFitted):
    """The reweighted samples of two learned statistics.

    Where the network's ``f`` is right, its law is itself exponential in ``eta``, whatever was lost of ``x``: its
    density of states, seen through all samples, gives ``F`` and the metric. The scale of ``f`` is that of
    ``fit_conjugate_map``. Settings: those of ``DEFAULTS``.
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
        chosen = with_defaults(settings, DEFAULTS, "exponential")
        learned = network.statistics(samples.states)
        found = fit_conjugate_map(learned, samples.natural, nodes=chosen["nodes"], device=device)
        numbers = {**network.config.calibration, "map": found.matrix.tolist()}
        options: dict[str, Any] = {"device": device, "progress": progress}
        return estimate_reweighted(samples, learned @ found.matrix.T, chosen, numbers, **options)
