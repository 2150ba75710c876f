"""What is learned from: states of a system at scattered parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Shaped

from hessgeo.grids import Extent, Grid
from hessgeo.systems.solvable.base import Coordinates

Geometry = Literal["torus", "ring", "open", "exchangeable", "none"]


@dataclass(frozen=True)
class Samples:
    """States drawn at scattered parameters, and the box over which something is to be learned of them.

    Attributes:
        states: one state a row, spins -1 and 1 or occupations 0 and 1.
        t: parameter point of each state, in the parameters of the study.
        grid: the box of the study, and the nodes at which estimates are wanted.
        coordinates: from the study's parameters to those in which the family is exponential, if it is one.
        geometry: how the sites of a state lie: on a torus, a ring, an open chain, all alike, or none at all (numbers
            that are no sites, each with a meaning of its own).
        statistics: the system's own sufficient statistics of each state, where they are known; for reference alone.
    """

    states: Shaped[np.ndarray, "n *sample"]
    t: Float[np.ndarray, "n 2"]
    grid: Grid
    coordinates: Coordinates
    geometry: Geometry
    statistics: Float[np.ndarray, "n 2"] | None = None

    @property
    def natural(self) -> Float[np.ndarray, "n 2"]:
        """Natural parameters of each state."""
        return self.coordinates.natural(self.t)

    @property
    def natural_extent(self) -> Extent:
        """The smallest box in natural parameters around the image of the study's box."""
        image = self.coordinates.natural(Grid(self.grid.extent, (65, 65)).points)
        (a0, b0), (a1, b1) = image.min(axis=0), image.max(axis=0)
        return (float(a0), float(a1)), (float(b0), float(b1))

    @property
    def sites(self) -> int:
        """Number of sites of a state."""
        return int(np.prod(self.states.shape[1:]))

    def first(self, count: int) -> Samples:
        """The first ``count`` samples alone.

        Raises:
            ValueError: if there are fewer.
        """
        if not 1 <= count <= len(self.t):
            raise ValueError(f"count is {count}, must lie in 1..{len(self.t)}, the number of samples")
        return self._rows(slice(count))

    def halves(self) -> tuple[Samples, Samples]:
        """The samples in two halves at random, the same ones for the same number of samples."""
        shuffled = np.random.default_rng(0).permutation(len(self.t))
        first, second = (self._rows(np.sort(part)) for part in np.array_split(shuffled, 2))
        return first, second

    def _rows(self, rows: slice | Int[np.ndarray, "m"]) -> Samples:
        known = None if self.statistics is None else self.statistics[rows]
        return replace(self, states=self.states[rows], t=self.t[rows], statistics=known)
