"""The one thing every system can do: draw samples at given parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float, Int, Shaped


class System(ABC):
    """A sampler of ``x ~ p(x | t)`` over a two-parameter box.

    Attributes:
        sample_shape: shape of one sample.
        dtype: its dtype, ``uint8`` for images (H, W, C) and ``int8`` for lattice states.
        array: name of the samples in the store, ``image`` or ``state``.
    """

    sample_shape: tuple[int, ...]
    dtype: np.dtype
    array: str = "image"

    @abstractmethod
    def sample(
        self, t: Float[np.ndarray, "n d"], index: Int[np.ndarray, "n"], seed: int
    ) -> Shaped[np.ndarray, "n *sample"]:
        """Draw one sample at each parameter point.

        Args:
            t: parameter points.
            index: global index of each sample in its study; the randomness of sample ``i`` comes from
                ``(seed, index[i])`` alone, so that neither batches nor shards change it.
            seed: seed of the study.
        """
