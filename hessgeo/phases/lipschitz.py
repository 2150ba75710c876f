"""The local Lipschitz number of the map from parameters to embedded samples."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Real
from scipy.spatial import cKDTree

from hessgeo.grids import Frame, Grid

# Half of the eight neighbours of a node, or of the two on a line; each pair serves both of its ends.
_OFFSETS = {1: ((1,),), 2: ((0, 1), (1, 0), (1, 1), (1, -1))}


def lipschitz_field(
    embedding: Real[np.ndarray, "n d"],
    t: Float[np.ndarray, "n axis"],
    *,
    grid: Grid | None,
    neighbours: int = 8,
) -> Float64[np.ndarray, "n"]:
    """``max_j |E_i - E_j| / |t_i - t_j|`` over the neighbours ``j`` of each sample ``i``.

    A finite difference: a lower bound of the Lipschitz constant near ``t_i``, which it approaches from below
    as the spacing of the samples shrinks where ``E`` is smooth, and which grows as one over the spacing
    across a jump. Units: embedding distance per parameter unit, with the box made a square of the same area
    (``Grid.square``): which samples are neighbours, and which is the steepest way, depends on no units.

    Args:
        embedding: embedding of each sample.
        t: its parameters, no two alike.
        grid: if given, the samples are its nodes in order and the neighbours are the eight around each node,
            of a line the two (fewer on the edge of the box).
        neighbours: without a grid, the number of nearest samples in ``t`` to compare with.

    Raises:
        ValueError: if shapes do not match, ``t`` is not the grid's nodes, two samples have the same
            parameters, or there are not more than ``neighbours`` samples.
    """
    if np.ndim(embedding) != 2 or np.ndim(t) != 2 or len(t) != len(embedding) or t.shape[1] > 2:
        shapes = f"{np.shape(embedding)} and {np.shape(t)}"
        raise ValueError(f"embedding and t must be of shapes (n, d) and (n, 2), not {shapes}")
    if not np.isfinite(embedding).all():
        raise ValueError(f"embedding holds values that are not finite, of {len(embedding)} samples")
    if not np.issubdtype(embedding.dtype, np.floating):
        embedding = np.asarray(embedding, dtype=float)  # differences of whole numbers without sign would wrap
    return _nearest_field(embedding, t, neighbours) if grid is None else _grid_field(embedding, t, grid)


def _length(difference: Float[np.ndarray, "*shape d"]) -> Float64[np.ndarray, "*shape"]:
    """Norm along the last axis, summed in float64 without a float64 copy."""
    return np.sqrt(np.einsum("...d,...d->...", difference, difference, dtype=float))


def _grid_field(embedding: np.ndarray, t: np.ndarray, grid: Grid) -> np.ndarray:
    near = (1e-6 + grid.rounding) * grid.spacing
    if len(t) != grid.size or (np.abs(t - grid.points) > near).any():
        raise ValueError(f"t of {len(t)} samples must be the nodes of the {grid.shape} grid, in their order")
    field = np.zeros(grid.shape)
    on_grid = embedding.reshape(*grid.shape, -1)
    for offset in _OFFSETS[len(grid.shape)]:
        sides = list(zip(offset, grid.shape, strict=True))
        here = tuple(slice(max(0, -step), nodes - max(0, step)) for step, nodes in sides)
        there = tuple(slice(max(0, step), nodes - max(0, -step)) for step, nodes in sides)
        apart = np.hypot.reduce(np.array(offset) * grid.spacing / grid.square)
        slope = _length(on_grid[there] - on_grid[here]) / apart
        field[here] = np.maximum(field[here], slope)
        field[there] = np.maximum(field[there], slope)
    return field.ravel()


def _nearest_field(embedding: np.ndarray, t: np.ndarray, neighbours: int) -> np.ndarray:
    if not 1 <= neighbours < len(t):
        raise ValueError(f"neighbours must lie in 1..{len(t) - 1}, not {neighbours}")
    scaled = Frame.around(t).into(t)
    distance, index = cKDTree(scaled).query(scaled, k=neighbours + 1)
    if np.any(distance[:, 1] == 0):
        twins = int(np.count_nonzero(distance[:, 1] == 0))
        raise ValueError(f"t must hold distinct points, not {twins} samples that share theirs with another")
    sides, field = np.ptp(t, axis=0) / 2, np.zeros(len(t))
    side = np.exp(np.log(sides[sides > 0]).mean())  # samples may fill a line
    for k in range(1, neighbours + 1):
        slope = _length(embedding[index[:, k]] - embedding) / (side * _length(scaled[index[:, k]] - scaled))
        field = np.maximum(field, slope)
    return field
