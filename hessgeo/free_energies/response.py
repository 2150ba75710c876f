"""The response metric: how the slopes themselves turn with the parameters, and whether they are a gradient at all.

For an exponential family in the given coordinates ``eta = grad F``, and ``d eta / d t`` is the Fisher metric. Of other
families its antisymmetric part and ``eta - grad F`` do not vanish; they say in the data's own units how far from one a
family is, where the Codazzi residual of a fit only sees what the fit lets through.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from hessgeo.grids import Grid

FEWEST = 5  # nodes along an axis, for differences of fourth order
_CENTRAL = {
    1: (-0.5, 0.0, 0.5),
    2: (1 / 12, -2 / 3, 0.0, 2 / 3, -1 / 12),
}  # by the reach, steps to either side
_CLOSE = 2  # times as many samples round a node as a local polynomial has coefficients


@dataclass(frozen=True)
class Response:
    """``d eta / d t`` at the nodes of a grid.

    Attributes:
        metric: its symmetric part, in the units of the parameters.
        metric_error: how far differences of second order and of fourth lie apart there: what the step hides.
        antisymmetric: Frobenius norm of the antisymmetric part over that of the symmetric one, in box units.
        mismatch: ``eta - grad F`` at the nodes, ``F`` differenced; NaN without values.
        mismatch_error: of those differences.
        share: norm of all antisymmetric parts over that of all symmetric ones, weighted.
        share_error: the same of what the step hides: a share that is not above it is none.
    """

    metric: Float[np.ndarray, "*nodes axis axis"]
    metric_error: Float[np.ndarray, "*nodes axis axis"]
    antisymmetric: Float[np.ndarray, "*nodes"]
    mismatch: Float[np.ndarray, "*nodes axis"]
    mismatch_error: Float[np.ndarray, "*nodes axis"]
    share: float
    share_error: float


def response(
    grid: Grid,
    t: Float[np.ndarray, "n axis"],
    slopes: Float[np.ndarray, "n axis"],
    *,
    values: Float[np.ndarray, "*nodes"] | None = None,
    weights: Float[np.ndarray, "*nodes"] | None = None,
) -> Response:
    """The response of slopes at sources, at the nodes of a grid.

    Where the sources are the nodes, central differences of second order, one-sided at the edges, held against those of
    fourth; second differences leave the metric of a monotone map positive along the axes where fourth ones overshoot.
    Of scattered sources, local least squares: a linear function of the nearest, held against a quadratic one.

    Args:
        grid: the nodes.
        t: sources, in the box.
        slopes: ``eta`` at each.
        values: ``F`` at the nodes, in the gauge of the slopes.
        weights: of the nodes in ``share``, by default alike.

    Raises:
        ValueError: if there are fewer than five nodes along an axis, or too few sources for a local polynomial.
    """
    if min(grid.shape) < FEWEST:
        raise ValueError(
            f"response: a grid of {grid.shape} has an axis of fewer than {FEWEST} nodes: nothing to difference"
        )
    half = np.array(grid.frame.half)
    eta = slopes * half  # box units from here
    if grid.are_nodes(t):
        on_nodes = eta.reshape(*grid.shape, -1)
        rough, fine = (_jacobian(on_nodes, grid, reach) for reach in (1, 2))
    else:
        on_nodes, rough = _local_fit(grid, t, eta, 1)
        fine = _local_fit(grid, t, eta, 2)[1]
    share, field = antisymmetric_share(rough, weights)
    hidden = fine - rough
    share_error = _norm(hidden - np.swapaxes(hidden, -1, -2), weights) / _norm(
        rough + np.swapaxes(rough, -1, -2), weights
    )
    mismatch, mismatch_error = np.full((2, *on_nodes.shape), np.nan)
    if values is not None:
        second, fourth = (_jacobian(values[..., None], grid, reach)[..., 0, :] for reach in (1, 2))
        mismatch, mismatch_error = (on_nodes - fourth) / half, np.abs(fourth - second) / half
    units = np.outer(half, half)
    return Response(
        metric=(rough + np.swapaxes(rough, -1, -2)) / 2 / units,
        metric_error=np.abs(hidden + np.swapaxes(hidden, -1, -2)) / 2 / units,
        antisymmetric=field,
        mismatch=mismatch,
        mismatch_error=mismatch_error,
        share=share,
        share_error=share_error,
    )


def slopes_at_nodes(
    grid: Grid, t: Float[np.ndarray, "n axis"], slopes: Float[np.ndarray, "n axis"]
) -> Float[np.ndarray, "*nodes axis"]:
    """The slopes at the nodes: their own, or of scattered sources those of local lines."""
    if grid.are_nodes(t):
        return slopes.reshape(*grid.shape, -1)
    return _local_fit(grid, t, slopes, 1)[0]


def _jacobian(
    field: Float[np.ndarray, "*nodes part"], grid: Grid, reach: int
) -> Float[np.ndarray, "*nodes part axis"]:
    """``d field_i / d t_j`` in box units, by differences that reach so many nodes to either side."""
    steps = grid.unit.spacing
    along = [_difference(field, axis, reach) / step for axis, step in enumerate(steps)]
    return np.stack(along, axis=-1)


def _difference(
    field: Float[np.ndarray, "*nodes part"], axis: int, reach: int
) -> Float[np.ndarray, "*nodes part"]:
    """First differences of order ``2 reach`` along an axis; near the edges of as many nodes, off the centre."""
    moved = np.moveaxis(field, axis, 0)
    count, width = len(moved), 2 * reach + 1
    matrix = np.zeros((count, count))
    for row in range(count):
        first = min(max(row - reach, 0), count - width)
        centred = row - first == reach
        weights = _CENTRAL[reach] if centred else _weights(np.arange(width) - (row - first))
        matrix[row, first : first + width] = weights
    return np.moveaxis(np.tensordot(matrix, moved, axes=1), 0, axis)


def _weights(offsets: Float[np.ndarray, "place"]) -> Float[np.ndarray, "place"]:
    """Weights of the first derivative at zero that are exact for polynomials through all offsets."""
    powers = np.vander(offsets, increasing=True).T
    return np.linalg.solve(powers, np.eye(len(offsets))[1])


def _local_fit(
    grid: Grid, t: Float[np.ndarray, "n axis"], eta: Float[np.ndarray, "n axis"], degree: int
) -> tuple[Float[np.ndarray, "*nodes axis"], Float[np.ndarray, "*nodes axis axis"]]:
    """Value and Jacobian at the nodes of polynomials fitted to the sources nearest to each, nearer ones more."""
    dims = len(grid.shape)
    unknowns = comb(dims + degree, degree)
    # As many for either degree, of which the higher needs more.
    near = _CLOSE * comb(dims + 2, 2)
    if len(t) < near:
        raise ValueError(f"response: {len(t)} sources are too few, local least squares need {near}")
    cell = np.array(grid.unit.spacing)
    tree = cKDTree(grid.frame.into(t) / cell)
    distance, chosen = tree.query(grid.unit.points / cell, k=near)
    scale = distance[:, -1:].clip(min=1e-12)
    offset = (grid.frame.into(t)[chosen] - grid.unit.points[:, None]) / (scale[..., None] * cell)
    # Epanechnikov's kernel, least at the farthest.
    root = np.sqrt(1 - (distance / (1.001 * scale)) ** 2)[..., None]
    columns = [np.ones(offset.shape[:2]), *np.moveaxis(offset, -1, 0)]
    if degree == 2:
        columns += [offset[..., j] * offset[..., k] for j in range(dims) for k in range(j, dims)]
    design = np.stack(columns, axis=-1)[..., :unknowns]
    found = np.linalg.pinv(root * design, rcond=1e-8) @ (root * eta[chosen])
    jacobian = np.swapaxes(found[:, 1 : dims + 1], -1, -2) / (scale[..., None] * cell)
    return found[:, 0].reshape(*grid.shape, dims), jacobian.reshape(*grid.shape, dims, dims)


def antisymmetric_share(
    jacobian: Float[np.ndarray, "*nodes axis axis"], weights: Float[np.ndarray, "*nodes"] | None = None
) -> tuple[float, Float[np.ndarray, "*nodes"]]:
    """Norm of the antisymmetric part over that of the symmetric one: of all nodes together, and of each.

    Args:
        jacobian: ``d eta_i / d t_j`` in box units.
        weights: of the nodes, by default alike.
    """
    turned = np.swapaxes(jacobian, -1, -2)
    symmetric, antisymmetric = jacobian + turned, jacobian - turned
    norms = np.linalg.norm(symmetric, axis=(-2, -1))
    field = np.linalg.norm(antisymmetric, axis=(-2, -1)) / np.where(norms > 0, norms, np.nan)
    return _norm(antisymmetric, weights) / _norm(symmetric, weights), field


def _norm(field: Float[np.ndarray, "*nodes axis axis"], weights: Float[np.ndarray, "*nodes"] | None) -> float:
    """Mean Frobenius norm over the nodes."""
    return float(np.average(np.linalg.norm(field, axis=(-2, -1)), weights=weights))
