"""Posterior moments from the exponential-family network, so that a free energy can be fitted to them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from hessgeo.grids import Grid
from hessgeo.learned.exponential import ExponentialNetwork, Natural
from hessgeo.posteriors.base import Posterior, row_moments

KERNEL = "exponential"
_BLOCK = 512  # sources at once


def smoothed_statistics(
    statistics: Float[np.ndarray, "n d"],
    t: Float[np.ndarray, "n 2"],
    sources: Int[np.ndarray, "s"],
    grid: Grid,
    *,
    members: int,
) -> Float[np.ndarray, "s d"]:
    """Mean statistics at the parameters of some samples, from the nearest samples to each.

    The weights are the nearest to equal ones that make the mean parameter that of the source, so that a linear trend
    leaves no bias, at the edge of the box either.

    Args:
        statistics: of every sample.
        t: parameters.
        sources: the samples at whose parameters the means are wanted.
        grid: its box gives the units of distance.
        members: number of nearest samples, at least 4.

    Raises:
        ValueError: if there are fewer samples, or fewer than 4 are asked for.
    """
    if not 4 <= members <= len(t):
        raise ValueError(f"members is {members}, must lie in 4..{len(t)}, the number of samples")
    scaled = t / np.ptp(np.array(grid.extent), axis=1)
    _, near = cKDTree(scaled).query(scaled[sources], k=members)
    offset = scaled[near] - scaled[sources][:, None]
    design = np.concatenate([np.ones((*near.shape, 1)), offset / np.abs(offset).max()], axis=2)
    weights = np.linalg.pinv(design)[:, 0]
    return np.einsum("sm,smd->sd", weights, statistics[near])


def exponential_posterior(
    network: ExponentialNetwork,
    statistics: Float[np.ndarray, "n d"],
    t: Float[np.ndarray, "n 2"],
    natural: Natural,
    nodes: Grid,
    *,
    bundle: float = 1.0,
    members: int = 64,
    sources: int | None = None,
    image: Natural | None = None,
) -> Posterior:
    """Moments, in natural parameters, of the posteriors of bundles at the parameters of some samples.

    The row of a source is ``softmax K (<f, eta(t_g)> - A(t_g))`` over the nodes, with ``f`` the mean of more states
    than the ``K`` of the bundle: the geometric mean of the posteriors of many bundles. With ``f`` of single bundles,
    rows would scatter about that of ``E[f|t]`` by as much as they are wide, and their mean be twice as wide.

    Args:
        network: the trained network.
        statistics: ``network.statistics`` of every sample.
        t: parameters of every sample.
        natural: from these to natural parameters, in which the moments are.
        nodes: over the box of ``t``; each has the same prior weight. Their images are the support.
        bundle: ``K``, the resolution of the posterior.
        members: samples around each source whose statistics are averaged.
        sources: how many, evenly among the samples; as many as have members of their own unless given, at most 4096.
            Sources that share members scatter together, which the fit takes for less noise than there is.
        image: from ``t`` to the natural parameters that the network was trained with, if the moments are in others.

    Raises:
        ValueError: on a number out of range.
    """
    sources = min(max(len(t) // members, 1), 4096) if sources is None else sources
    if sources < 1:
        raise ValueError(f"sources is {sources}, must be at least 1")
    chosen = np.unique(np.linspace(0, len(t) - 1, min(sources, len(t))).astype(np.int64))
    f = smoothed_statistics(statistics, t, chosen, nodes, members=members)
    support = natural(nodes.points)
    known = support if image is None else image(nodes.points)
    moments, marginal, entropy, log_z = [], np.zeros(len(support)), [], []
    for k in range(0, len(f), _BLOCK):
        log_p, norm = network.log_posterior(f[k : k + _BLOCK], bundle=bundle, nodes=(nodes.points, known))
        p = np.exp(log_p)
        moments.append(np.column_stack(row_moments(p, support)))
        marginal += p.sum(axis=0)
        entropy.append(-np.vecdot(p, np.maximum(log_p, -1e3)))
        log_z.append(norm)
    moment = np.concatenate(moments)
    return Posterior(
        t=natural(t[chosen]), mean=moment[:, :2], central_moment=moment[:, 2:], marginal=marginal,
        entropy=np.concatenate(entropy), log_normaliser=np.concatenate(log_z), resolution=float(bundle),
        kernel=KERNEL, exclude_self=False, support=support,
    )  # fmt: skip
