"""What the posterior of a study takes, by either method, from one block of pairs that is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hessgeo.pipeline.checks.sampling import THREADS
from hessgeo.posteriors import posterior
from hessgeo.posteriors.distance import ROWS

_TIMED = 1024  # samples whose pairs are timed


@dataclass(frozen=True)
class PosteriorCost:
    """What the posterior of embedding distances takes.

    Attributes:
        method: ``blocks`` or ``neighbours``.
        samples: of the study.
        dimension: of their embeddings; None if it is not known yet.
        pair_seconds: time of one pair on one thread; None where the dimension is not known.
        memory_mb: of the setting of that name.
    """

    method: str
    samples: int
    dimension: int | None
    pair_seconds: float | None
    memory_mb: float

    @property
    def seconds(self) -> float | None:
        """Of all pairs on the threads of the job; by neighbours the most that it can take."""
        return None if self.pair_seconds is None else self.samples**2 * self.pair_seconds / THREADS

    @property
    def memory_bytes(self) -> float | None:
        """The embeddings and a copy of them, weights of pairs, and by blocks a marginal of each block.

        By neighbours the embeddings are read in parts, and the copy lies in a file.
        """
        if self.dimension is None:
            return None
        kept = self.memory_mb * 2**20
        if self.method == "neighbours":
            return kept + 8 * self.samples * 16
        return kept + 8 * self.samples * self.dimension + 8 * self.samples * -(-self.samples // ROWS)


def posterior_cost(
    settings: Mapping[str, Any],
    samples: int,
    dimension: int | None,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> PosteriorCost | None:
    """The cost of a study's posterior; None of one by a network, which is no matter of pairs.

    Args:
        settings: ``posterior`` of the study.
        samples: their number.
        dimension: of their embeddings, or None.
        clock: seconds.
    """
    if settings["kind"] != "distance":
        return None
    pair = None
    if dimension is not None:
        rng = np.random.default_rng(0)
        embedding, t = rng.normal(size=(_TIMED, dimension)).astype(np.float32), rng.uniform(size=(_TIMED, 2))
        posterior(embedding[:64], t[:64], resolution=1.0)  # imports
        start = clock()
        posterior(embedding, t, resolution=1.0 / dimension)
        pair = (clock() - start) / _TIMED**2
    return PosteriorCost(settings["method"], samples, dimension, pair, settings["memory_mb"])
