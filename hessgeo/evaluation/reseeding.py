"""How far the images of one model lie apart when nothing changes that ought to matter: a null for its comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from hessgeo.grids import Grid
from hessgeo.systems.base import System
from hessgeo.systems.batches import SAMPLED_AT_ONCE

PROBED = 16  # images by which it is found whether a model's noise matters


@dataclass(frozen=True)
class Reseeded:
    """Distances between embeddings of the images of one model.

    Attributes:
        distance: of each cell that was drawn again.
        row: the cells.
        by: ``another seed``, or ``half a grid step`` of a model without noise.
    """

    distance: Float64[np.ndarray, "m"]
    row: Int[np.ndarray, "m"]
    by: str

    def threshold(self, share: float) -> float:
        """The distance that this share of the cells stays within."""
        return float(np.quantile(self.distance, share))


def reseeded(
    system: System,
    embed: Callable[[np.ndarray], np.ndarray],
    t: Float[np.ndarray, "n axis"],
    embedding: Float[np.ndarray, "n d"],
    grid: Grid,
    *,
    cells: int,
    seed: int,
) -> Reseeded:
    """Draw some cells of a study again by the same model, and measure how far their embeddings move.

    A model whose noise matters is given another seed at the same parameters. One that is a function of its latent would
    draw the same images again: it is moved by half a grid step along each axis, what the grid cannot tell apart.

    Args:
        system: the model on its slice.
        embed: images (n, h, w, c) to unit vectors.
        t: parameters of all samples.
        embedding: of all of them.
        grid: the nodes, whose box no parameter leaves.
        cells: how many are drawn again, at most.
        seed: of the study.
    """
    count = min(cells, len(t))
    row = np.sort(np.random.default_rng(seed).choice(len(t), count, replace=False))
    probe = row[:PROBED]
    another = (seed + 1) % 2**32
    same, changed = (system.sample(t[probe], probe, one) for one in (seed, another))
    noisy = not np.array_equal(same, changed)
    places = t[row] if noisy else _half_a_step(t[row], grid)
    made = _embedded(system, embed, places, row, another if noisy else seed)
    distance = np.linalg.norm(np.subtract(made, embedding[row], dtype=float), axis=1)
    return Reseeded(distance, row, "another seed" if noisy else "half a grid step")


def _half_a_step(t: Float[np.ndarray, "m axis"], grid: Grid) -> Float64[np.ndarray, "m axis"]:
    """Parameters half a grid step farther along each axis; back, where that leads out of the box."""
    half, high = np.array(grid.spacing) / 2, np.array(grid.extent)[:, 1]
    return np.where(t + half <= high + grid.rounding * half, t + half, t - half)


def _embedded(
    system: System,
    embed: Callable[[np.ndarray], np.ndarray],
    t: np.ndarray,
    row: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Embeddings of images that are drawn few at a time, in whole batches."""
    batch = getattr(system, "batch_size", 1)
    step = max(1, SAMPLED_AT_ONCE // batch) * batch
    parts = [slice(k, k + step) for k in range(0, len(t), step)]
    return np.concatenate([embed(system.sample(t[part], row[part], seed)) for part in parts])
