"""The cubic spline through values on a regular grid, knots at the nodes, twice continuously differentiable."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hessgeo.grids import Extent
from hessgeo.numerics.bsplines import SplineAxis, SplineBasis


def interpolating_basis(extent: Extent, shape: tuple[int, ...]) -> SplineBasis:
    """The splines with a knot at each node: two more than nodes along every axis."""
    sides = zip(extent, shape, strict=True)
    return SplineBasis(tuple(SplineAxis(*side, nodes + 2) for side, nodes in sides))


def interpolate(values: Float[np.ndarray, "*nodes"], axis: int) -> Float[np.ndarray, "*coefficients"]:
    """Coefficients of the cubic splines, knots at the nodes, that take these values along one axis.

    Two more splines than nodes: the fourth differences at either end vanish (not-a-knot).
    """
    nodes = values.shape[axis]
    system = np.zeros((nodes + 2, nodes + 2))
    rows = np.arange(nodes)
    for offset, weight in enumerate((1 / 6, 4 / 6, 1 / 6)):
        system[rows + 1, rows + offset] = weight
    ends = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
    system[0, :5], system[-1, -5:] = ends, ends
    moved = np.moveaxis(values, axis, 0)
    right = np.zeros((nodes + 2, *moved.shape[1:]))
    right[1:-1] = moved
    solved = np.linalg.solve(system, right.reshape(nodes + 2, -1)).reshape(right.shape)
    return np.moveaxis(solved, 0, axis)
