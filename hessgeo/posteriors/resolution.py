"""The resolution number ``N`` of the posterior, chosen from the data by a stated rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from hessgeo.grids import Grid, parameter_points
from hessgeo.posteriors.base import PAIRS, row_moments
from hessgeo.posteriors.checks import check_parameters
from hessgeo.posteriors.kernels import LogKernel, Rows, log_kernel, squared_distances
from hessgeo.posteriors.widths import NARROW, least_variances

# Bracket of the search. Embeddings have unit norm, so at the lower end the posterior is flat over everything,
# and at the upper end it is narrower than the float32 rounding of the distances.
BRACKET = (1e-3, 1e7)
RELATIVE_TOLERANCE = 1e-4
_PART = 2**23  # distances that are looked at at once


def choose_resolution(
    embedding: Rows,
    t: Float[np.ndarray, "n axis"],
    *,
    kernel: str,
    cells: float,
    quantile: float,
    sources: int,
    seed: int,
    grid: Grid | None = None,
) -> float:
    """The largest ``N`` at which all but a share ``quantile`` of sources still spread over ``cells`` samples.

    The rule. Let ``c_i(N) = exp(H_i)``, with ``H_i`` the entropy of row ``i`` of the posterior, be the
    effective number of samples it spreads over. ``N`` is the largest number with ``quantile_i c_i(N) >=
    cells``.

    Its meaning. A larger ``N`` resolves finer features, but a posterior narrower than the spacing of the
    samples shows the sampling and not the system; the rule goes as far as it can without that, for the given
    share of the sources. On a regular grid a Gaussian posterior of standard deviation ``s`` grid steps covers
    ``2 pi e s^2`` cells: 17 for one step; along one axis the root of that, 4.1.

    Along a boundary a posterior may be long, and spread over many samples, though it is far narrower than a cell of
    ``grid``: its sums over nodes are then no integrals, and nothing determines the metric across. So ``N`` is lowered
    to where all but that share, the edge of the box apart, are at least ``sqrt(widths.NARROW)``, .36 cells, wide in
    every direction. Fewer samples than nodes make cells as much larger.

    Every ``c_i`` falls with ``N`` (``dH/dN = -N Var(cost)`` for logits ``-N cost``), so the quantile does too
    and bisection in ``log N`` finds the answer, to 1e-4 relative, from below. The sources are spread evenly
    over the box of ``t``: the samples nearest to a scrambled Sobol sequence. Each is held against all
    samples.

    Args:
        embedding: embedding of each sample, unit norm, in memory or read in slices. Besides a large one there are the
            ``sources x n`` distances in memory, and of what is made of them a part.
        t: its parameters.
        kernel: ``gaussian`` or ``laplace``, as in :func:`hessgeo.posteriors.distance.posterior`.
        cells: effective number of samples, above 1 and below ``n``.
        quantile: quantile over sources that is held to it, 0 (the narrowest posterior) to 1.
        sources: number of sources; all samples if it is at least their number.
        seed: seed of the sequence that chooses the sources.
        grid: the nodes that are to carry the posteriors; None for no condition on their width.

    Returns:
        ``N``, within ``BRACKET``.

    Raises:
        ValueError: on a number out of range, parameters of others than the samples, or if no ``N`` in the bracket is
            the answer: ``cells`` more than the flattest posterior has, or still reached by the sharpest (samples with
            equal embeddings), or samples that fill no more than a line of the plane.
    """
    _check(embedding.shape[0], cells, quantile, sources)
    check_parameters(embedding.shape[0], t, 1.0, exclude_self=False)
    t = np.asarray(t, dtype=float)
    chosen = _spread_sources(t, sources, seed)
    squared = squared_distances(embedding, chosen)
    logarithm = log_kernel(kernel)
    step = max(1, _PART // len(t))
    parts = [slice(start, start + step) for start in range(0, len(chosen), step)]

    def reaches(log_n: float) -> bool:
        found = [_effective_cells(squared[part], logarithm, np.exp(log_n)) for part in parts]
        return float(np.quantile(np.concatenate(found), quantile)) >= cells

    def wide(log_n: float) -> bool:
        if grid is None:
            return True
        least = [
            _least_variances(squared[part], logarithm, np.exp(log_n), t, chosen[part], grid) for part in parts
        ]
        return float(np.quantile(np.concatenate(least), quantile)) >= NARROW

    low, high = np.log(BRACKET)
    flat = reaches(high)
    if not reaches(low) or (flat and wide(high)):
        fault = "is still reached at the highest" if flat else "is not reached even at the lowest"
        raise ValueError(
            f"cells={cells} at quantile={quantile} {fault} resolution of {BRACKET}: no N to choose"
        )
    if grid is not None and not wide(low):
        raise ValueError(
            f"posteriors are narrower than a third of a cell of the grid {grid.shape} even at the lowest resolution of "
            f"{BRACKET}: the samples fill no more than a line, so there is no N to choose"
        )
    found = high if flat else _last(reaches, low, high)
    return float(np.exp(found if wide(found) else _last(wide, low, found)))


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The last place, from below, at which a condition holds that holds at ``low`` and not at ``high``."""
    while high - low > RELATIVE_TOLERANCE:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _effective_cells(
    squared: Float[np.ndarray, "s n"], logarithm: LogKernel, resolution: float
) -> Float[np.ndarray, "s"]:
    """``exp(entropy)`` of each source's row; its maximal logit is the zero of the source itself."""
    logit = logarithm(squared, resolution)
    weight = np.exp(logit)
    total = weight.sum(axis=1)
    return np.exp(np.log(total) - np.vecdot(weight, logit) / total)


def _least_variances(
    squared: Float[np.ndarray, "s n"],
    logarithm: LogKernel,
    resolution: float,
    t: Float[np.ndarray, "n axis"],
    chosen: Int[np.ndarray, "s"],
    grid: Grid,
) -> Float[np.ndarray, "source"]:
    """Least variance of each source's row, see ``widths.least_variances``; its own sample has the largest weight."""
    weight = np.exp(logarithm(squared, resolution))
    _, central = row_moments(weight / weight.sum(axis=1, keepdims=True), t)
    coarser = max(1.0, (grid.size / len(t)) ** (1 / t.shape[1]))
    return least_variances(t[chosen], central[:, PAIRS[t.shape[1]]], grid, coarser=coarser)


def _spread_sources(t: Float[np.ndarray, "n axis"], sources: int, seed: int) -> np.ndarray:
    """Distinct samples nearest to a Sobol sequence over the box of ``t``, in increasing order."""
    if sources >= len(t):
        return np.arange(len(t))
    low, high = t.min(axis=0), t.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    unit = parameter_points("sobol", Grid(((0.0, 1.0),) * t.shape[1], (2,) * t.shape[1]), sources, seed)
    _, nearest = cKDTree((t - low) / width).query(unit)
    return np.unique(nearest)


def _check(n: int, cells: float, quantile: float, sources: int) -> None:
    if not 1 < cells < n:
        raise ValueError(f"cells must lie between 1 and the number of samples, {n}, not {cells}")
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile must lie in 0..1, not {quantile}")
    if sources < 1:
        raise ValueError(f"sources must be at least 1, not {sources}")
