"""How many samples are made at once: no more than fit, and few of them for nothing."""

from __future__ import annotations

from math import ceil

SAMPLED_AT_ONCE = 1024  # images of paths, at most
MOST_WASTED = 0.03  # share of the samples of a shard that may be made to fill up its last batch


def even_batch(count: int, most: int) -> int:
    """The largest batch of at most ``most`` samples in which few of ``count`` are made for nothing.

    ``ceil(count / ceil(count / most))``: the batches that it takes anyway, made as even as they can be. Every pass has
    the same shape, so that the last one may be filled up; where that takes more than ``MOST_WASTED`` of ``count``,
    the same of the next smaller number that does not.

    Raises:
        ValueError: if there is nothing to make, or nothing may be made at once.
    """
    if min(count, most) < 1:
        raise ValueError(f"{count} samples cannot be made {most} at once: both must be at least 1")
    batch = ceil(count / ceil(count / most))
    while padded_count(count, batch) > (1 + MOST_WASTED) * count:
        batch = ceil(count / ceil(count / (batch - 1)))
    return batch


def padded_count(count: int, batch: int) -> int:
    """How many samples are made where ``count`` are asked for, in whole batches."""
    return ceil(count / batch) * batch
