"""How much steeper the map from parameters to images is at the boundaries of phases than within them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from hessgeo.evaluation.model_differences import Blocks, Interval
from hessgeo.phases.segment import sides


def boundary_contrast(
    lipschitz: Float[np.ndarray, "*nodes"], label: Int[np.ndarray, "*nodes"], blocks: Blocks
) -> Interval | None:
    """Geometric mean of the Lipschitz numbers beside boundaries over that of all other nodes, without a unit.

    One where boundaries are no steeper than anything else, as of noise alone; what a sampler's noise takes from it is
    its smoothing. None where there is no boundary, no other node, or no slope at some node.

    Args:
        lipschitz: local Lipschitz number of each node.
        label: phase of each node, whose boundaries are meant: of this model or, held fast, of another.
        blocks: of nodes, for the interval.

    Raises:
        ValueError: if there is not one number a node.
    """
    if lipschitz.shape != label.shape:
        raise ValueError(f"lipschitz has shape {lipschitz.shape}, must be that of label, {label.shape}")
    beside = np.zeros(label.shape, dtype=bool)
    for (p, q), (bp, bq) in zip(sides(label), sides(beside), strict=True):
        np.logical_or(bp, p != q, out=bp)
        np.logical_or(bq, p != q, out=bq)
    if beside.all() or not beside.any() or not (lipschitz > 0).all():
        return None
    total, count = (
        np.stack([np.bincount(blocks.of[where], weights=values[where], minlength=blocks.draws.shape[1])
                  for where in (beside, ~beside)])
        for values in (np.log(lipschitz), np.ones(label.shape))
    )  # fmt: skip
    mean = total.sum(axis=1) / count.sum(axis=1)
    drawn = np.where(blocks.draws @ count.T > 0, blocks.draws @ count.T, np.nan)
    means = (blocks.draws @ total.T) / drawn
    return blocks.interval(float(np.exp(mean[0] - mean[1])), np.exp(means[:, 0] - means[:, 1]))
