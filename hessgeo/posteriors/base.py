"""What a posterior over parameters leaves behind: its reductions per source, never the n x n matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64


@dataclass(frozen=True)
class Posterior:
    """Reductions of the posterior ``P(t_j | t_i)`` of every sample ``i`` over the samples ``j``.

    Rows of ``P`` sum to one, so ``marginal`` sums to the number of samples.

    Attributes:
        t: parameters of the samples.
        mean: ``E[t | t_i] = sum_j P(t_j | t_i) t_j``, in parameter units.
        second_moment: raw moments ``E[t_a t_a], E[t_a t_b], E[t_b t_b]`` given ``t_i``, about the origin.
        marginal: ``s_j = sum_i P(t_j | t_i)``.
        entropy: entropy of each row in nats, between 0 and ``log n``.
        log_normaliser: ``log sum_j exp(log_kernel(|E_i - E_j|))``, the row's log-partition sum.
        resolution: the resolution number ``N`` of the kernel.
        kernel: name of the kernel, a key of ``kernels.KERNELS``.
        exclude_self: whether a sample is left out of its own posterior.
        neighbours: indices of the most probable samples of each row, most probable first, or None.
        neighbour_weights: their probabilities, or None.
        coarse: the rows spread bilinearly over a coarser grid ``(ca, cb)``; each sums to one. Or None.
    """

    t: Float64[np.ndarray, "n 2"]
    mean: Float64[np.ndarray, "n 2"]
    second_moment: Float64[np.ndarray, "n 3"]
    marginal: Float64[np.ndarray, "n"]
    entropy: Float64[np.ndarray, "n"]
    log_normaliser: Float64[np.ndarray, "n"]
    resolution: float
    kernel: str
    exclude_self: bool
    neighbours: Int64[np.ndarray, "n k"] | None = None
    neighbour_weights: Float32[np.ndarray, "n k"] | None = None
    coarse: Float32[np.ndarray, "n ca cb"] | None = None

    @property
    def covariance(self) -> Float[np.ndarray, "n 2 2"]:
        """Posterior covariance ``E[t t^T | t_i] - m_i m_i^T`` in squared parameter units."""
        moment = self.second_moment[:, [[0, 1], [1, 2]]]
        return moment - self.mean[:, :, None] * self.mean[:, None, :]

    @property
    def effective_cells(self) -> Float[np.ndarray, "n"]:
        """Number of equally likely samples with the same entropy, ``exp(entropy)``."""
        return np.exp(self.entropy)
