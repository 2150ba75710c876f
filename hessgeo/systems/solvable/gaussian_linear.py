"""Noisy readings of a linear map: a Gaussian family with a flat metric, the simplest truth there is."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.special import ndtri

from hessgeo.systems.random_streams import uniforms
from hessgeo.systems.solvable.base import (
    Coordinates,
    Cumulants,
    Points,
    SolvableSystem,
    check_points,
    natural_coordinates,
)


class GaussianLinear(SolvableSystem):
    """``x = A t + s noise``; an exponential family in ``t`` with the statistics ``A^T x / s^2``.

    ``log Z = |A t|^2 / (2 s^2)``, relative to the density at ``t = 0``; the metric ``A^T A / s^2`` is the same
    everywhere.

    Args:
        matrix: ``A``, of shape (dimension, 2).
        noise: standard deviation ``s`` of each reading.
        coordinates: parameters of the study, ``t`` itself unless given.

    Raises:
        ValueError: on a matrix of another shape or one not finite, or noise that is not positive.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        matrix: Float[np.ndarray, "dimension 2"],
        *,
        noise: float,
        coordinates: Coordinates | None = None,
    ) -> None:
        matrix = np.asarray(matrix, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != 2 or not np.isfinite(matrix).all():
            raise ValueError(f"matrix has shape {matrix.shape}, must be finite and of shape (dimension, 2)")
        if not 0 < noise < math.inf:
            raise ValueError(f"noise is {noise}, must be positive")
        self.matrix, self.noise = matrix, float(noise)
        self.coordinates = coordinates or natural_coordinates("t1", "t2")
        self.sample_shape = (len(matrix),)

    def sample(
        self, t: Float[np.ndarray, "n 2"], index: Int[np.ndarray, "n"], seed: int
    ) -> Float32[np.ndarray, "n dimension"]:
        """Draw one reading at each point, see ``System.sample``."""
        numbers = uniforms(index, seed, count=len(self.matrix))
        # Zero would be an infinite reading.
        normal = ndtri(np.maximum(numbers, 2.0**-54))
        return (self.natural(t) @ self.matrix.T + self.noise * normal).astype(np.float32)

    def sufficient_statistics(self, states: Float[np.ndarray, "n dimension"]) -> Points:
        """``A^T x / s^2`` of each reading."""
        return states.astype(np.float64) @ self.matrix / self.noise**2

    def cumulants(self, natural: Points) -> Cumulants:
        """See ``SolvableSystem``."""
        natural = check_points(natural)
        metric = self.matrix.T @ self.matrix / self.noise**2
        mean = natural @ metric
        stacked = np.broadcast_to(metric, (len(natural), 2, 2)).copy()
        return Cumulants((mean * natural).sum(axis=1) / 2, mean, stacked)
