"""Spins on a square torus: what its models share, and the two ways to sample them."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int, Int8

from hessgeo.systems.random_streams import uniforms
from hessgeo.systems.solvable.base import Coordinates, Points, SolvableSystem, natural_coordinates
from hessgeo.systems.solvable.transfer import RowSampler

METHODS = ("cluster", "exact")
LARGEST_EXACT_SAMPLE = 10  # beyond this side an exact sample takes seconds


class Torus(SolvableSystem):
    """Spins of -1 and 1 on an L x L torus.

    Args:
        side: spins along each axis, at least 3.
        coordinates: parameters of the study, the natural ones unless given.
        method: ``cluster`` (Swendsen-Wang, for ferromagnets) or ``exact`` (rows from the transfer matrix; side <= 10).
        sweeps: Swendsen-Wang updates before a state is taken.

    Attributes:
        natural_names: of the two natural parameters.
        usual_method: the method unless given.

    Raises:
        ValueError: on an unknown method, or a side or number of sweeps that it cannot have.
    """

    natural_names: ClassVar[tuple[str, str]]
    usual_method: ClassVar[str] = "cluster"

    def __init__(
        self,
        side: int,
        *,
        coordinates: Coordinates | None = None,
        method: str | None = None,
        sweeps: int = 100,
    ) -> None:
        method = method or self.usual_method
        if method not in METHODS:
            raise ValueError(f"method is {method!r}, must be one of {', '.join(METHODS)}")
        if side < 3:
            raise ValueError(f"side is {side}, must be at least 3: on a smaller torus neighbours meet twice")
        if method == "exact" and side > LARGEST_EXACT_SAMPLE:
            raise ValueError(f"side is {side}, must be at most {LARGEST_EXACT_SAMPLE} for the method exact")
        if sweeps < 1:
            raise ValueError(f"sweeps is {sweeps}, must be at least 1")
        self.side, self.method, self.sweeps = side, method, sweeps
        self.coordinates = coordinates or natural_coordinates(*self.natural_names)
        self.sample_shape = (side, side)

    def sample(
        self, t: Float[np.ndarray, "n 2"], index: Int[np.ndarray, "n"], seed: int
    ) -> Int8[np.ndarray, "n side side"]:
        """Draw one state of spins -1 and 1 at each point, see ``System.sample``.

        Raises:
            ValueError: on couplings that clusters cannot sample, where the method is ``cluster``.
        """
        natural = self.natural(t)
        if self.method == "exact":
            rows = RowSampler(self._log_matrix, width=self.side, rows=self.side)
            return rows.sample(natural, uniforms(index, seed, count=self.side))
        return self._clusters(natural, index, seed)

    @abstractmethod
    def _log_matrix(self, natural: Float[np.ndarray, "2"]) -> Float[np.ndarray, "rows rows"]:
        """Logarithm of the transfer matrix between rows."""

    @abstractmethod
    def _clusters(
        self, natural: Points, index: Int[np.ndarray, "n"], seed: int
    ) -> Int8[np.ndarray, "n side side"]:
        """States by Swendsen-Wang updates."""
