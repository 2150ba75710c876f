"""Parameter boxes: regular grids, sampling designs and the bilinear map between points and grid nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix

Design = Literal["grid", "uniform", "sobol"]


@dataclass(frozen=True)
class Grid:
    """A regular grid of nodes over a two-parameter box, corners included.

    Node ``(i, j)`` has row ``i * shape[1] + j``: the first parameter, ``a``, is the slow one.

    Args:
        extent: ``((a_min, a_max), (b_min, b_max))`` in parameter units, each increasing.
        shape: number of nodes along ``a`` and ``b``, at least two each.
    """

    extent: tuple[tuple[float, float], tuple[float, float]]
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        if not all(np.isfinite(low) and np.isfinite(high) and low < high for low, high in self.extent):
            raise ValueError(f"extent {self.extent} must be finite and increase along both axes")
        if any(nodes < 2 for nodes in self.shape):
            raise ValueError(f"grid shape {self.shape} must have at least two nodes along both axes")

    @property
    def size(self) -> int:
        """Number of nodes."""
        return self.shape[0] * self.shape[1]

    @property
    def axes(self) -> tuple[Float[np.ndarray, "a"], Float[np.ndarray, "b"]]:
        """Node coordinates along each parameter."""
        (a0, a1), (b0, b1) = self.extent
        return np.linspace(a0, a1, self.shape[0]), np.linspace(b0, b1, self.shape[1])

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance between neighbouring nodes along each parameter."""
        (a0, a1), (b0, b1) = self.extent
        return (a1 - a0) / (self.shape[0] - 1), (b1 - b0) / (self.shape[1] - 1)

    @property
    def points(self) -> Float[np.ndarray, "node 2"]:
        """All nodes, row by row."""
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1).reshape(-1, 2)


def parameter_points(design: Design, grid: Grid, count: int, seed: int) -> Float[np.ndarray, "count 2"]:
    """Parameter points of a study; point ``i`` is a function of ``(design, grid, seed, i)`` alone.

    Args:
        design: ``grid`` (every node of ``grid``), ``uniform`` or ``sobol`` (scrambled, within the box of ``grid``).
        grid: the parameter box, and its nodes for ``grid``.
        count: number of points, at least one; must equal ``grid.size`` for the ``grid`` design.
        seed: seed of the random designs.

    Raises:
        ValueError: on an unknown design, or a count below one or one that a ``grid`` design does not have.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    if design == "grid":
        if count != grid.size:
            raise ValueError(f"a grid design over {grid.shape} has {grid.size} points, not {count}")
        return grid.points
    if design == "uniform":
        # One counter-based stream read in order: point i does not depend on how many follow it.
        unit = np.random.Generator(np.random.Philox(key=seed)).random((count, 2))
    elif design == "sobol":
        from scipy.stats import qmc  # takes a second to import, and nearly every job imports this module

        sampler = qmc.Sobol(2, scramble=True, rng=np.random.default_rng(seed))
        unit = sampler.random_base2(int(np.ceil(np.log2(max(count, 2)))))[:count]
    else:
        raise ValueError(f"design {design!r} is not one of grid, uniform, sobol")
    low, high = np.array(grid.extent).T
    return low + unit * (high - low)


def bilinear_weights(points: Float[np.ndarray, "n 2"], grid: Grid) -> csr_matrix:
    """Sparse weights ``W (n, node)`` that spread each point over the four grid nodes around it.

    Rows sum to one and ``W @ grid.points == points``: mass and first moments are kept. Points outside the box
    are an error, within a rounding of its edge they are moved onto it.

    Raises:
        ValueError: if a point lies outside the box.
    """
    low = np.array(grid.extent)[:, 0]
    position = (np.asarray(points, dtype=float) - low) / np.array(grid.spacing)
    last = np.array(grid.shape) - 1
    # Stated as what must hold, so that a point that is not a number fails too.
    if not np.all((position >= -1e-9) & (position <= last + 1e-9)):
        raise ValueError(f"points lie outside the box {grid.extent}")
    # A node reached up to rounding is that node: no crumbs of weight on nodes that no point touches.
    position = np.where(np.abs(position - position.round()) < 1e-9, position.round(), position).clip(0, last)
    cell = np.minimum(position.astype(int), last - 1)
    fraction = position - cell
    rows, columns, weights = [], [], []
    for da in (0, 1):
        for db in (0, 1):
            weight_a = fraction[:, 0] if da else 1 - fraction[:, 0]
            weight_b = fraction[:, 1] if db else 1 - fraction[:, 1]
            rows.append(np.arange(len(cell)))
            columns.append((cell[:, 0] + da) * grid.shape[1] + cell[:, 1] + db)
            weights.append(weight_a * weight_b)
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    matrix = csr_matrix(entries, shape=(len(cell), grid.size))
    matrix.eliminate_zeros()
    return matrix
