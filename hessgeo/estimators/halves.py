"""Estimators that read two networks of half of the samples each: every sample is new to the network that reads it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from hessgeo.estimators.base import Estimate, Estimator
from hessgeo.learned.exponential import ExponentialNetwork
from hessgeo.learned.exponential_halves import ExponentialHalves
from hessgeo.learned.samples import Samples
from hessgeo.metrics.repair import relative_floor, repair


class CrossFitted(Estimator):
    """The mean of the estimates of both networks, each from the samples that it was not trained on."""

    @abstractmethod
    def estimate_half(
        self,
        samples: Samples,
        network: ExponentialNetwork,
        settings: Mapping[str, Any],
        *,
        device: str,
        progress: bool,
    ) -> Estimate:
        """The estimate of one network from samples that are new to it."""

    def check(self, trained: ExponentialHalves) -> None:
        """Refuse networks that this estimator cannot read."""

    def estimate(
        self,
        samples: Samples,
        trained: ExponentialHalves,
        settings: Mapping[str, Any],
        *,
        seed: int,
        device: str = "cpu",
        progress: bool = False,
    ) -> Estimate:
        """See ``Estimator``; nothing in it is random. Errors of the metric are those of ``pooled``."""
        self.check(trained)
        first, second = (
            self.estimate_half(half, network, settings, device=device, progress=progress)
            for network, half in trained.unseen(samples)
        )
        return pooled(first, second)


def pooled(first: Estimate, second: Estimate) -> Estimate:
    r"""The mean of two estimates of equal error, with its error from their difference.

    Each has read a network of the other's samples. Where what the network leaves open, the scale of its statistics, is
    found from the samples that are read, the two are all but uncorrelated; where it is not, their errors go against
    each other, and the difference tells more than the error of the mean.

    In units of the mean ``g = L L'`` the difference is ``E = L^-1 (g_1 - g_2) L^-T``, and ``E (x) E / 4`` a variance of
    the mean with one degree of freedom at each node. Its mean over all nodes is the variance everywhere: relative
    errors of a smooth estimate are of one size. Where the samples' own errors, which both estimates state, are
    larger, they stand.
    """
    metric = _mean(first.metric, second.metric)
    error = None
    if first.metric is not None and second.metric is not None and metric is not None:
        diagonal = np.median(np.einsum("nii->ni", metric), axis=0)
        units = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        floor = relative_floor(metric, units=units)
        root = np.linalg.cholesky(repair(metric, floor=floor, units=units).metric)
        inverse = np.linalg.inv(root)
        change = inverse @ (first.metric - second.metric) @ np.swapaxes(inverse, 1, 2)
        moment = np.einsum("nij,nkl->ijkl", change, change) / (4 * len(change))
        variance = np.einsum("nai,nbj,ijkl,nak,nbl->nab", root, root, moment, root, root)
        if first.metric_error is not None and second.metric_error is not None:
            variance = np.maximum(variance, (first.metric_error**2 + second.metric_error**2) / 4)
        error = np.sqrt(variance)
    return Estimate(
        value=_mean(first.value, second.value),
        gradient=_mean(first.gradient, second.gradient),
        metric=metric,
        metric_error=error,
        curvature=_mean(first.curvature, second.curvature),
        numbers={key: [first.numbers[key], second.numbers[key]] for key in first.numbers},
    )


def _mean(
    first: Float[np.ndarray, "*shape"] | None, second: Float[np.ndarray, "*shape"] | None
) -> Float[np.ndarray, "*shape"] | None:
    return None if first is None or second is None else (first + second) / 2
