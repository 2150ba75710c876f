"""Parameter boxes of one or two axes: regular grids, sampling designs, the bilinear map between points and nodes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

if TYPE_CHECKING:
    from torch import Tensor

    Coordinates = TypeVar("Coordinates", np.ndarray, Tensor)
else:
    Coordinates = TypeVar("Coordinates")  # torch is not imported for a name

Extent = tuple[tuple[float, float], ...]  # of one axis or two
AXES = ("a", "b")  # what parameters are called, in their order
Design = Literal["grid", "uniform", "sobol"]


@dataclass(frozen=True)
class Frame:
    """Box units: the affine map that takes a box to ``[-1, 1]^d``, so that nothing depends on units or on an offset.

    Differences to the centre are exact in floating point, as far as the parameters themselves are.

    Attributes:
        centre: of the box.
        half: half of its sides, positive.
    """

    centre: tuple[float, ...]
    half: tuple[float, ...]

    @classmethod
    def of(cls, extent: Extent) -> Frame:
        """The frame of a box ``((a_min, a_max), (b_min, b_max))``, or of one side."""
        halves = tuple((high - low) / 2 for low, high in extent)
        return cls(tuple(low + half for (low, _), half in zip(extent, halves, strict=True)), halves)

    @classmethod
    def around(cls, t: Float[np.ndarray, "n d"]) -> Frame:
        """The frame of the box that holds some points; of an axis along which they are all alike, half a side is 1."""
        low, high = np.min(t, axis=0).tolist(), np.max(t, axis=0).tolist()
        found = cls.of(tuple(zip(low, high, strict=True)))
        return cls(found.centre, tuple(half or 1.0 for half in found.half))

    def into(self, t: Coordinates) -> Coordinates:
        """Parameters in box units."""
        return (t - self._like(t, self.centre)) / self._like(t, self.half)

    def out_of(self, u: Coordinates) -> Coordinates:
        """Box units in parameters."""
        return self._like(u, self.centre) + u * self._like(u, self.half)

    def of_box(self, extent: Extent) -> Extent:
        """A box in these units."""
        return tuple(
            ((low - centre) / half, (high - centre) / half)
            for (low, high), centre, half in zip(extent, self.centre, self.half, strict=True)
        )

    def scale(self, like: Coordinates) -> Coordinates:
        """Half sides as an array of the same kind: a derivative by box units is one by parameters times these."""
        return self._like(like, self.half)

    @staticmethod
    def _like(t: Any, values: tuple[float, ...]) -> Any:
        return np.array(values) if isinstance(t, np.ndarray) else t.new_tensor(values)


@dataclass(frozen=True)
class Grid:
    """A regular grid of nodes over a box of one parameter or two, corners included.

    Node ``(i, j)`` has row ``i * shape[1] + j``: the first parameter, ``a``, is the slow one.

    Args:
        extent: ``((a_min, a_max), (b_min, b_max))`` in parameter units, each increasing; or ``((a_min, a_max),)``.
        shape: number of nodes along ``a`` and ``b``, at least two each; or along ``a`` alone.
    """

    extent: Extent
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        box, nodes = (np.array(value, dtype=object) for value in (self.extent, self.shape))
        numbers = all(isinstance(end, int | float | np.number) and np.isreal(end) for end in box.flat)
        if (
            not numbers
            or box.shape[1:] != (2,)
            or not all(isinstance(n, int | np.integer) for n in nodes.flat)
        ):
            raise ValueError(
                f"extent {self.extent} and grid shape {self.shape} must be pairs of numbers and whole numbers"
            )
        if not 1 <= len(self.shape) == len(self.extent) <= 2:
            raise ValueError(
                f"extent {self.extent} and grid shape {self.shape} must both be of one axis or of two"
            )
        if not all(low < high and np.isfinite(float(high) - float(low)) for low, high in self.extent):
            raise ValueError(f"extent {self.extent} must be finite and increase along each axis")
        if any(nodes < 2 for nodes in self.shape):
            raise ValueError(f"grid shape {self.shape} must have at least two nodes along each axis")
        if any(np.any(np.diff(axis) <= 0) for axis in self.axes):
            raise ValueError(
                f"extent {self.extent} is too narrow for a grid of {self.shape}: neighbouring nodes are one number"
            )

    @property
    def size(self) -> int:
        """Number of nodes."""
        return prod(self.shape)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of its parameters."""
        return AXES[: len(self.shape)]

    @property
    def axes(self) -> tuple[Float[np.ndarray, "_"], ...]:
        """Node coordinates along each parameter."""
        return tuple(np.linspace(*side, nodes) for side, nodes in zip(self.extent, self.shape, strict=True))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring nodes along each parameter."""
        sides = zip(self.extent, self.shape, strict=True)
        return tuple((high - low) / (nodes - 1) for (low, high), nodes in sides)

    @property
    def frame(self) -> Frame:
        """Units in which the box is ``[-1, 1]^d``."""
        return Frame.of(self.extent)

    @property
    def unit(self) -> Grid:
        """The same nodes in box units."""
        return Grid(((-1.0, 1.0),) * len(self.shape), self.shape)

    @property
    def square(self) -> Float[np.ndarray, "d"]:
        """Units that make the box a square of the same area: its sides over their geometric mean; 1 of one axis."""
        sides = np.ptp(np.array(self.extent), axis=1)
        return sides / np.exp(np.log(sides).mean())

    @property
    def rounding(self) -> Float[np.ndarray, "d"]:
        """How far a coordinate may be off by its rounding alone, in grid steps along each parameter."""
        return 4 * np.finfo(float).eps * np.abs(self.extent).max(axis=1) / np.array(self.spacing)

    @property
    def points(self) -> Float[np.ndarray, "node d"]:
        """All nodes, row by row."""
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1).reshape(-1, len(self.shape))

    def are_nodes(self, t: Float[np.ndarray, "m d"]) -> bool:
        """Whether points are the nodes, in their order, up to a rounding."""
        if len(t) != self.size:
            return False
        return bool((np.abs(t - self.points) <= (1e-6 + self.rounding) * np.array(self.spacing)).all())

    def nearest(self, t: Float[np.ndarray, "m d"]) -> Int[np.ndarray, "m"]:
        """Row of the node nearest to each point; of one outside the grid, the nearest on its edge."""
        low = np.array(self.extent)[:, 0]
        position = np.rint((t - low) / np.array(self.spacing)).astype(int)
        return np.ravel_multi_index(tuple(position.clip(0, np.array(self.shape) - 1).T), self.shape)


def parameter_points(design: Design, grid: Grid, count: int, seed: int) -> Float[np.ndarray, "count d"]:
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
        unit = np.random.Generator(np.random.Philox(key=seed)).random((count, len(grid.shape)))
    elif design == "sobol":
        from scipy.stats import qmc  # takes a second to import, and nearly every job imports this module

        sampler = qmc.Sobol(len(grid.shape), scramble=True, rng=np.random.default_rng(seed))
        unit = sampler.random_base2(int(np.ceil(np.log2(max(count, 2)))))[:count]
    else:
        raise ValueError(f"design {design!r} is not one of grid, uniform, sobol")
    low, high = np.array(grid.extent).T
    return low + unit * (high - low)


def bilinear_weights(points: Float[np.ndarray, "n d"], grid: Grid) -> csr_matrix:
    """Sparse weights ``W (n, node)`` that spread each point over the four grid nodes around it (two, of one axis).

    Rows sum to one and ``W @ grid.points == points``: mass and first moments are kept. Points outside the box
    are an error, within a rounding of its edge they are moved onto it.

    Raises:
        ValueError: if a point lies outside the box.
    """
    low = np.array(grid.extent)[:, 0]
    position = (np.asarray(points, dtype=float) - low) / np.array(grid.spacing)
    last, near = np.array(grid.shape) - 1, 1e-9 + grid.rounding
    # Stated as what must hold, so that a point that is not a number fails too.
    if not np.all((position >= -near) & (position <= last + near)):
        raise ValueError(f"points lie outside the box {grid.extent}")
    # A node reached up to rounding is that node: no crumbs of weight on nodes that no point touches.
    position = np.where(np.abs(position - position.round()) < near, position.round(), position).clip(0, last)
    cell = np.minimum(position.astype(int), last - 1)
    fraction = position - cell
    rows, columns, weights = [], [], []
    for corner in product((0, 1), repeat=len(grid.shape)):
        sides = [fraction[:, k] if far else 1 - fraction[:, k] for k, far in enumerate(corner)]
        rows.append(np.arange(len(cell)))
        columns.append(np.ravel_multi_index(tuple((cell + corner).T), grid.shape))
        weights.append(prod(sides[1:], start=sides[0]))
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    matrix = csr_matrix(entries, shape=(len(cell), grid.size))
    matrix.eliminate_zeros()
    return matrix
