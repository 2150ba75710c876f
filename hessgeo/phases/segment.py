"""Phases as basins between the ridges of the metric, their boundaries, meeting points and typical samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32
from scipy import ndimage
from skimage.morphology import local_minima, reconstruction
from skimage.segmentation import watershed

from hessgeo.grids import Grid
from hessgeo.phases.significance import noise_level, noise_persistence


@dataclass(frozen=True)
class PhaseMap:
    """Phases on a grid.

    Attributes:
        label: phase of each node, from 1, ordered by area (1 is the largest).
        ridge: strength of the boundary at each node that has a neighbour of another phase, zero elsewhere, in
            nats of the eigenvalue: the height of the smoothed ``log`` eigenvalue on the pair of nodes astride
            the boundary (the larger of the two) above the bottom of the shallower of the two phases; the
            largest over the node's unlike neighbours. ``exp(ridge)`` is the factor by which the metric
            exceeds its minimum in that phase.
        persistence: least rise of a boundary that was asked for, in nats: the one set, or what noise alone would show.
        noise: standard deviation of the ``log`` eigenvalue from node to node, nats.
        noise_persistence: rise that noise alone would show, nats; 0 where it is far below the persistence.
    """

    label: Int32[np.ndarray, "*nodes"]
    ridge: Float64[np.ndarray, "*nodes"]
    persistence: float = 0.0
    noise: float = 0.0
    noise_persistence: float = 0.0

    @property
    def count(self) -> int:
        """Number of phases."""
        return int(self.label.max())


def segment_phases(
    largest_eigenvalue: Float[np.ndarray, "*nodes"],
    grid: Grid,
    *,
    persistence: float,
    minimum_area: float,
    smoothing: float,
    confidence: float = 0.99,
) -> PhaseMap:
    """Phases of a metric: the basins between the ridges of its largest eigenvalue.

    Within a phase ``grad F`` is nearly constant and ``lambda_max(grad^2 F)`` small; along a boundary it has a
    ridge. On the smoothed ``h = log lambda_max``: minima shallower than ``persistence`` are filled
    (morphological reconstruction), the watershed of ``h`` from the remaining ones gives each node a phase,
    and phases smaller than ``minimum_area`` are merged, smallest first, with the neighbour across the lowest
    pass. Multiplying the eigenvalue by a constant changes nothing. Nodes are neighbours along the axes only.

    A field of noise has basins too. Its level is measured, see ``significance.noise_level``, and ``persistence`` raised
    to what all but one in a hundred fields of such noise alone stay below.

    Args:
        largest_eigenvalue: at each node of ``grid``; positive.
        grid: the grid.
        persistence: least rise of a boundary above the bottom of the shallower of its two phases, in nats: a
            ridge counts if the eigenvalue on it is ``exp(persistence)`` times that at the bottom, or more.
        minimum_area: least share of the nodes that a phase covers, in [0, 1).
        smoothing: standard deviation of the Gaussian filter on ``h``, in grid steps; 0 for none.
        confidence: share of fields of noise that have one phase; 0 to take ``persistence`` as it is.

    Raises:
        ValueError: if the shapes differ, an eigenvalue is not positive and finite, or a setting is out of
            range.
    """
    _check(largest_eigenvalue, grid, persistence, minimum_area, smoothing)
    if not 0 <= confidence < 1:
        raise ValueError(f"confidence must lie in [0, 1), not {confidence}")
    noise = noise_level(np.log(largest_eigenvalue, dtype=float)) if confidence else 0.0
    # What noise can show at most, ten deviations, is not worth a simulation where it is below the persistence.
    by_noise = 0.0
    if 10 * noise > persistence:
        by_noise = noise * noise_persistence(grid.shape, float(smoothing), confidence)
    persistence = max(persistence, by_noise)
    height = smoothed_height(largest_eigenvalue, smoothing)
    cross = ndimage.generate_binary_structure(height.ndim, 1)
    filled = reconstruction(height + persistence, height, method="erosion", footprint=cross)
    markers, count = ndimage.label(local_minima(filled, footprint=cross), structure=cross)
    # A field without any minimum but itself, being flat, has no marker at all.
    label = watershed(height, markers, connectivity=cross) if count else np.ones(grid.shape, np.int32)
    label = _by_area(_merge_small(label, height, minimum_area * label.size))
    return PhaseMap(label, ridge_strength(label, height), persistence, noise, by_noise)


def smoothed_height(
    largest_eigenvalue: Float[np.ndarray, "*nodes"], smoothing: float
) -> Float64[np.ndarray, "*nodes"]:
    """``h``, the logarithm of the eigenvalue after a Gaussian filter so many grid steps wide."""
    return ndimage.gaussian_filter(np.log(largest_eigenvalue, dtype=float), smoothing, mode="nearest")


def boundary_places(label: Int[np.ndarray, "*nodes"], pair: tuple[int, int]) -> Bool[np.ndarray, "*nodes"]:
    """The nodes of two phases that have a neighbour of the other."""
    found = np.zeros(label.shape, dtype=bool)
    for (p, q), (fp, fq) in zip(sides(label), sides(found), strict=True):
        astride = (np.minimum(p, q) == min(pair)) & (np.maximum(p, q) == max(pair))
        np.logical_or(fp, astride, out=fp)
        np.logical_or(fq, astride, out=fq)
    return found


def boundary_strengths(phases: PhaseMap) -> dict[tuple[int, int], tuple[float, float]]:
    """Strength of the boundary of each two neighbouring phases, in nats: at its lowest place, and the median."""
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    for (p, q), (rp, rq) in zip(sides(phases.label), sides(phases.ridge), strict=True):
        low, high, rise = np.minimum(p, q), np.maximum(p, q), np.minimum(rp, rq)
        for one, other in np.unique(np.stack([low, high], axis=-1)[low != high], axis=0).tolist():
            found.setdefault((one, other), []).append(rise[(low == one) & (high == other)])
    rises = {pair: np.concatenate(parts) for pair, parts in sorted(found.items())}
    return {pair: (float(rise.min()), float(np.median(rise))) for pair, rise in rises.items()}


def medoids(embedding: Float[np.ndarray, "n d"], label_of_sample: Int[np.ndarray, "n"]) -> dict[int, int]:
    """The sample of each phase with the least sum of squared embedding distances to the others of its phase.

    As ``sum_j |E_i - E_j|^2 = m |E_i - mean|^2 + const`` for a phase of ``m`` samples, it is the one closest
    to their mean; the first of equals.

    Returns:
        Index of the medoid among all samples, for each label in increasing order.

    Raises:
        ValueError: if there is not one label per sample.
    """
    if np.ndim(embedding) != 2 or np.shape(label_of_sample) != (len(embedding),):
        shape = np.shape(label_of_sample)
        raise ValueError(f"label_of_sample must be of shape ({len(embedding)},), not {shape}")
    chosen = {}
    for label in np.unique(label_of_sample):
        members = np.flatnonzero(label_of_sample == label)
        offset = embedding[members] - embedding[members].mean(axis=0, dtype=float)
        chosen[int(label)] = int(members[np.argmin(np.einsum("nd,nd->n", offset, offset))])
    return chosen


def _check(
    eigenvalue: np.ndarray, grid: Grid, persistence: float, minimum_area: float, smoothing: float
) -> None:
    if eigenvalue.shape != grid.shape:
        raise ValueError(f"largest_eigenvalue has shape {eigenvalue.shape}, the grid {grid.shape}")
    if not np.all(np.isfinite(eigenvalue) & (eigenvalue > 0)):
        bad = int(np.count_nonzero(~(np.isfinite(eigenvalue) & (eigenvalue > 0))))
        raise ValueError(f"largest_eigenvalue must be positive and finite; it is not at {bad} nodes")
    if not persistence > 0:
        raise ValueError(f"persistence must be positive, not {persistence}")
    if not 0 <= minimum_area < 1:
        raise ValueError(f"minimum_area must lie in [0, 1), not {minimum_area}")
    if not smoothing >= 0:
        raise ValueError(f"smoothing must not be negative, not {smoothing}")


def sides(values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Views of both nodes of every neighbouring pair, along one axis after the other."""
    yield values[:-1], values[1:]
    if values.ndim == 2:
        yield values[:, :-1], values[:, 1:]


def _merge_small(label: np.ndarray, height: np.ndarray, least: float) -> np.ndarray:
    """Merge phases of fewer than ``least`` nodes, smallest first, each across its lowest pass."""
    label = label.copy()
    while True:
        names, areas = np.unique(label, return_counts=True)
        smallest = np.argmin(areas)
        if len(names) == 1 or areas[smallest] >= least:
            return label
        small, lowest, into = names[smallest], np.inf, 0
        for (p, q), (hp, hq) in zip(sides(label), sides(height), strict=True):
            astride = (p != q) & ((p == small) | (q == small))
            passes = np.where(astride, np.maximum(hp, hq), np.inf)
            where = np.unravel_index(np.argmin(passes), passes.shape)
            if passes[where] < lowest:
                lowest, into = passes[where], q[where] if p[where] == small else p[where]
        label[label == small] = into


def _by_area(label: np.ndarray) -> Int32[np.ndarray, "*nodes"]:
    """Labels from 1 in order of falling area; of equals, the first on the grid comes first."""
    _, first, inverse, areas = np.unique(label, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(areas), np.int32)
    rank[np.lexsort((first, -areas))] = np.arange(1, len(areas) + 1)
    return rank[inverse].reshape(label.shape)


def ridge_strength(
    label: Int[np.ndarray, "*nodes"], height: Float[np.ndarray, "*nodes"]
) -> Float64[np.ndarray, "*nodes"]:
    """Strength of the boundaries between phases at each node, as ``PhaseMap`` defines it, on any ``h``."""
    bottom = ndimage.minimum(height, label, index=np.arange(label.max() + 1))
    ridge = np.zeros(label.shape)
    pairs = zip(sides(label), sides(height), sides(ridge), strict=True)
    for (p, q), (hp, hq), (rp, rq) in pairs:
        rise = np.where(p != q, np.maximum(hp, hq) - np.maximum(bottom[p], bottom[q]), 0.0)
        np.maximum(rp, rise, out=rp)
        np.maximum(rq, rise, out=rq)
    return ridge
