"""How the posterior of many samples sharpens to the Bregman divergence (Theorem 3.1), where all is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from hessgeo.grids import Grid
from hessgeo.systems.solvable.base import SolvableSystem

BATCH = 20_000  # states in memory at once


@dataclass(frozen=True)
class Sharpening:
    """``p(t | x_1 .. x_N)^(1/N)`` beside ``exp(-D_F(t, t'))`` as ``N`` grows, over several draws.

    Attributes:
        counts: the numbers ``N``.
        source: the node ``t'`` at which the samples were drawn.
        divergence: ``D_F(t, t')`` at the nodes, in nats a sample.
        log_posterior: ``(1/N) log p(t | x_1 .. x_N)`` at the nodes, of the first draw.
        supremum: largest ``|p^(1/N) - exp(-D_F)|`` over the nodes, of each draw.
        rms: its root mean square over the nodes.
    """

    counts: Int[np.ndarray, "k"]
    source: int
    divergence: Float[np.ndarray, "node"]
    log_posterior: Float[np.ndarray, "k node"]
    supremum: Float[np.ndarray, "draw k"]
    rms: Float[np.ndarray, "draw k"]


def sharpening(
    system: SolvableSystem,
    grid: Grid,
    point: Sequence[float],
    counts: Sequence[int],
    *,
    draws: int = 10,
    seed: int = 0,
) -> Sharpening:
    """Draw ``x_1 .. x_N`` at one point and take the exact posterior over the box, prior uniform, for each ``N``.

    ``log p(t | x_1 .. x_N) = N (<mean f, eta(t)> - log Z(t)) - log int exp(...) dt``, the integral as a sum over cells;
    the larger ``N`` of a draw contain the samples of the smaller. Since the mean of ``f`` has an error of
    ``N^(-1/2)``, so has the posterior; its norm adds ``log(N) / N``.

    Args:
        system: the family.
        grid: the nodes, in the parameters of its study.
        point: where the samples are drawn; moved to the nearest node.
        counts: the numbers ``N``, rising.
        draws: how often all is repeated with other samples.
        seed: of the samples.

    Raises:
        ValueError: unless the counts rise from at least one, and there is a draw.
    """
    numbers = np.asarray(counts)
    if len(numbers) == 0 or numbers[0] < 1 or np.any(np.diff(numbers) <= 0) or draws < 1:
        raise ValueError(
            f"counts are {list(counts)} and draws {draws}, must rise from at least 1 and be at least 1"
        )
    source = int(np.linalg.norm((grid.points - np.asarray(point)) / grid.spacing, axis=1).argmin())
    natural = system.natural(grid.points)
    log_z = system.log_partition(natural)
    mean = system.statistics_mean(natural[source : source + 1])[0]
    divergence = log_z - log_z[source] - (natural - natural[source]) @ mean
    posteriors = np.empty((draws, len(numbers), grid.size))
    log_cell = np.log(grid.spacing).sum()
    for draw in range(draws):
        means = _running_means(system, grid.points[source], numbers, draw, seed)
        weight = numbers[:, None] * (means @ natural.T - log_z)
        norm = logsumexp(weight, axis=1, keepdims=True) + log_cell
        posteriors[draw] = (weight - norm) / numbers[:, None]
    error = np.abs(np.exp(posteriors) - np.exp(-divergence))
    return Sharpening(
        counts=numbers,
        source=source,
        divergence=divergence,
        log_posterior=posteriors[0],
        supremum=error.max(axis=2),
        rms=np.sqrt((error**2).mean(axis=2)),
    )


def _running_means(
    system: SolvableSystem, point: Float[np.ndarray, "2"], counts: Int[np.ndarray, "k"], draw: int, seed: int
) -> Float[np.ndarray, "k 2"]:
    """Mean statistics of the first ``N`` samples of a draw, for each ``N``."""
    total = int(counts[-1])
    parts = []
    for start in range(0, total, BATCH):
        index = draw * total + np.arange(start, min(start + BATCH, total))
        states = system.sample(np.tile(point, (len(index), 1)), index, seed)
        parts.append(system.sufficient_statistics(states))
    sums = np.cumsum(np.concatenate(parts), axis=0)
    return sums[counts - 1] / counts[:, None]
