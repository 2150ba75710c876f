"""Estimators that read two networks of half of the samples each: every sample is new to the network that reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.stats import norm
from scipy.stats import t as student

from hessgeo.estimators.estimate import Estimate
from hessgeo.learned.exponential import ExponentialNetwork
from hessgeo.learned.exponential_halves import ExponentialHalves
from hessgeo.learned.samples import Samples
from hessgeo.metrics.reliability import Reliability
from hessgeo.metrics.repair import relative_floor, repair

# Of what a metric is raised by for the information that a network loses: networks alike may lose some of it alike.
_UNSHOWN = 0.5
_SHOWN = 10_000  # samples that tell what is lost: with three per cent lost, they know the metric to two in a thousand
_FEWEST = 2.0  # degrees of freedom of a difference: below, a single field cannot tell how few it has


def cross_fitted(
    estimate: Callable[[Samples, ExponentialNetwork], Estimate],
    samples: Samples,
    trained: ExponentialHalves,
    *,
    statistics: int | None = None,
    noise: Literal["restored", "stated"] | None = None,
) -> Estimate:
    """The mean of the estimates of both networks, each from the samples that it was not trained on; see ``pooled``.

    What the two networks see differently of the same states is noise (see ``metrics.reliability``). Where the metric is
    that of the best use of what a network sees, ``restored`` raises it by what the noise takes of it, and half of that
    is in its error; value and gradient stay as they are. Scores that nothing fits to the samples at hand may hold
    the noise on top of the metric instead: ``stated`` leaves the metric, and has the noise's whole share in its error.

    Args:
        estimate: what one network makes of samples that are new to it.
        samples: those that both were trained on.
        trained: the networks.
        statistics: the number of statistics that the networks must have, or None.
        noise: what is made of it, or None: nothing.

    Raises:
        ValueError: if they have another.
    """
    count = trained.statistics_count
    if statistics not in (None, count):
        raise ValueError(f"statistics is {count}, this estimator needs {statistics}")
    parts = []
    for (network, half), other in zip(trained.unseen(samples), reversed(trained.networks), strict=True):
        found = estimate(half, network)
        parts.append(
            found if noise is None else _allowing(found, half, network, other, restore=noise == "restored")
        )
    return pooled(*parts, shape=samples.grid.shape)


def _allowing(
    estimate: Estimate,
    samples: Samples,
    network: ExponentialNetwork,
    other: ExponentialNetwork,
    *,
    restore: bool,
) -> Estimate:
    """The estimate with allowance for the noise of its network, as the other one of the same samples shows it."""
    if estimate.metric is None or estimate.metric_error is None:
        return estimate
    few = samples.first(min(_SHOWN, len(samples.t)))
    scores = learned_scores(network, few), learned_scores(other, few)
    by, share = Reliability.of(*scores, few.t, few.grid.extent).corrected(few.grid.points)
    by = by if restore else np.broadcast_to(np.eye(2), by.shape)
    metric = by @ estimate.metric @ np.swapaxes(by, 1, 2)
    diagonal = np.einsum("nii->ni", metric).clip(min=0)
    # A random symmetric matrix in units of the metric, as likely in all directions.
    square = (diagonal[:, :, None] * diagonal[:, None] + metric**2) / 2
    allowed = _UNSHOWN * share if restore else share / (1 + share)
    unshown = allowed[:, None, None] ** 2 * square
    own = np.einsum("nia,nab,njb->nij", by**2, estimate.metric_error**2, by**2)
    numbers = {**estimate.numbers, "reliability": float(np.median(1 / (1 + share)))}
    return replace(estimate, metric=metric, metric_error=np.sqrt(own + unshown), numbers=numbers)


def learned_scores(network: ExponentialNetwork, samples: Samples) -> Float[np.ndarray, "n 2"]:
    """``(d eta)' f(x)`` of each sample: ``grad log p(x|t)`` up to a function of ``t``."""
    slope = network.eta_slope(samples.t, samples.coordinates.jacobian(samples.t))
    return np.einsum("nkj,nk->nj", slope, network.statistics(samples.states))


def pooled(first: Estimate, second: Estimate, *, shape: tuple[int, ...] | None = None) -> Estimate:
    r"""The mean of two estimates of equal error, with its error from their difference.

    Each has read a network of the other's samples. Where what the network leaves open, the scale of its statistics, is
    found from the samples that are read, the two are all but uncorrelated; where it is not, their errors go against
    each other, and the difference tells more than the error of the mean.

    In units of the mean ``g = L L'`` the difference is ``E = L^-1 (g_1 - g_2) L^-T``, and ``E (x) E / 4`` a variance of
    the mean with one degree of freedom at each node. Its mean over all nodes is the variance everywhere: relative
    errors of a smooth estimate are of one size. The samples' own errors, which both estimates state, are part of it;
    what exceeds them is known by one difference alone, which of a smooth field has few degrees of freedom. It is raised
    by Student's quantile, so that 1.96 of these errors hold the truth 95 times in 100.

    Args:
        first: of one half of the samples.
        second: of the other.
        shape: of the grid of nodes, over which the difference is smooth; None if they are independent of each other.
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
        own = np.zeros_like(variance)
        if first.metric_error is not None and second.metric_error is not None:
            own = (first.metric_error**2 + second.metric_error**2) / 4
        degrees = len(change) if shape is None else degrees_of_freedom(change.reshape(*shape, -1))
        wider = student.ppf(0.975, max(degrees, _FEWEST)) / norm.ppf(0.975)
        variance = own + wider**2 * np.maximum(variance - own, 0)
        error = np.sqrt(variance)
    return Estimate(
        value=_mean(first.value, second.value),
        gradient=_mean(first.gradient, second.gradient),
        metric=metric,
        metric_error=error,
        curvature=_mean(first.curvature, second.curvature),
        numbers={key: [first.numbers[key], second.numbers[key]] for key in first.numbers},
    )


def degrees_of_freedom(field: Float[np.ndarray, "a b entry"]) -> float:
    """How many independent values tell the mean square of a field of zero mean as well as its nodes do.

    ``1 / nu`` is the mean over pairs of nodes of their squared correlation, which is a function of the lag alone
    (Bartlett 1946): one for a field that is the same everywhere, the number of nodes where they are independent.
    """
    size = [2 * side for side in field.shape[:2]]

    def pairs(values: Float[np.ndarray, "a b entry"]) -> Float[np.ndarray, "lag_a lag_b"]:
        """Sums of products over all pairs of nodes at each lag."""
        spectrum = np.abs(np.fft.rfft2(values, s=size, axes=(0, 1))) ** 2
        return np.fft.irfft2(spectrum.sum(axis=2), s=size)

    counts = np.rint(pairs(np.ones((*field.shape[:2], 1))))
    correlation = pairs(field) / np.maximum(counts, 1) / max(float((field**2).sum(axis=2).mean()), 1e-300)
    return float(counts.sum() / (counts * correlation**2).sum().clip(min=1e-300))


def _mean(
    first: Float[np.ndarray, "*shape"] | None, second: Float[np.ndarray, "*shape"] | None
) -> Float[np.ndarray, "*shape"] | None:
    return None if first is None or second is None else (first + second) / 2
