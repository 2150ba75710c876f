"""Systems of the second variation of curves: tangents are eliminated in each segment, points along each curve.

What is left couples neighbouring points by blocks of ``d x d``, and is factorised block by block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numba import njit
from torch import Tensor

from hessgeo.geodesics.mesh import Mesh
from hessgeo.numerics import block_tridiagonal


def solve(
    mesh: Mesh,
    hessian: Float[Tensor, "s 4*d 4*d"],
    gradient: Float[Tensor, "s 4*d"],
    fixed: Bool[Tensor, "p d"],
) -> tuple[Float[Tensor, "p d"], Float[Tensor, "s 2 d"], Bool[Tensor, "m"]]:
    """The step ``-H^-1 g`` of every curve, in ``O(n d^3)`` each, on whatever device.

    Args:
        mesh: of the curves.
        hessian: of each segment in its own unknowns: point and tangent where it starts, then where it ends.
        gradient: in the same.
        fixed: coordinates of points that do not move.

    Returns:
        Steps of points and tangents, and whether the matrix of each curve is positive definite; the step of one that is
        not means nothing.
    """
    if hessian.device.type != "cpu":
        return _on_device(mesh, hessian, gradient, fixed)
    parts = (mesh.curve, hessian, gradient, fixed)
    arrays: list[Any] = [*(part.contiguous().numpy() for part in parts), mesh.count]
    points, tangents, definite = _eliminate(*arrays)
    return torch.from_numpy(points), torch.from_numpy(tangents), torch.from_numpy(definite)


@njit(cache=True)
def _factorise(a: np.ndarray) -> bool:
    """Cholesky's factor in place of the lower triangle; False where there is none."""
    n = a.shape[0]
    for j in range(n):
        pivot = a[j, j]
        for k in range(j):
            pivot -= a[j, k] * a[j, k]
        if not pivot > 0 or not np.isfinite(pivot):
            return False
        root = np.sqrt(pivot)
        a[j, j] = root
        for i in range(j + 1, n):
            rest = a[i, j]
            for k in range(j):
                rest -= a[i, k] * a[j, k]
            a[i, j] = rest / root
    return True


@njit(cache=True)
def _forward(factor: np.ndarray, right: np.ndarray) -> None:
    """``L^-1 right`` in place of ``right``."""
    for i in range(right.shape[0]):
        for k in range(i):
            for c in range(right.shape[1]):
                right[i, c] -= factor[i, k] * right[k, c]
        for c in range(right.shape[1]):
            right[i, c] /= factor[i, i]


@njit(cache=True)
def _backward(factor: np.ndarray, right: np.ndarray) -> None:
    """``L^-T right`` in place of the vector ``right``."""
    for i in range(len(right) - 1, -1, -1):
        for k in range(i + 1, len(right)):
            right[i] -= factor[k, i] * right[k]
        right[i] /= factor[i, i]


@njit(cache=True)
def _minus_squares(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """``out - left' right`` in place of ``out``."""
    for k in range(left.shape[0]):
        for i in range(left.shape[1]):
            for j in range(right.shape[1]):
                out[i, j] -= left[k, i] * right[k, j]


@njit(cache=True)
def _to_ends(
    hessian: np.ndarray, gradient: np.ndarray, inner: np.ndarray, half: np.ndarray, ends: np.ndarray
) -> bool:
    """Eliminate the tangents of a segment: their factor, what points add to them, and what is left of the points."""
    d = len(inner) // 2
    of_points = np.concatenate((np.arange(d), np.arange(2 * d, 3 * d)))
    for i in range(2 * d):
        row = of_points[i] + d
        for j in range(2 * d):
            inner[i, j] = hessian[row, of_points[j] + d]
            half[i, j] = hessian[row, of_points[j]]
            ends[i, j] = hessian[of_points[i], of_points[j]]
        half[i, 2 * d] = -gradient[row]
        ends[i, 2 * d] = -gradient[of_points[i]]
    if not _factorise(inner):
        return False
    _forward(inner, half)
    _minus_squares(half[:, : 2 * d], half, ends)
    return True


@njit(cache=True)
def _eliminate(
    curve: np.ndarray, hessian: np.ndarray, gradient: np.ndarray, fixed: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    segments, d = len(curve), fixed.shape[1]
    definite = np.ones(count, dtype=np.bool_)
    inner, halves = np.empty((segments, 2 * d, 2 * d)), np.empty((segments, 2 * d, 2 * d + 1))
    factors, links = np.zeros((segments, d, d)), np.zeros((segments, d, d + 1))
    block, ends = np.zeros((d, d + 1)), np.empty((2 * d, 2 * d + 1))
    for s in range(segments):
        first = s + curve[s]
        if s == 0 or curve[s] != curve[s - 1]:
            block[:] = 0.0
        if not definite[curve[s]]:
            continue
        definite[curve[s]] = _to_ends(hessian[s], gradient[s], inner[s], halves[s], ends)
        for i in range(2 * d):
            if fixed[first + i // d, i % d]:
                ends[i, :] = 0.0
                ends[:, i] = 0.0
        factors[s] = block[:, :d] + ends[:d, :d]
        links[s, :, :d] = ends[:d, d : 2 * d]
        links[s, :, d] = block[:, d] + ends[:d, 2 * d]
        for i in range(d):
            if fixed[first, i]:
                factors[s, i, i] = 1.0
        definite[curve[s]] &= _factorise(factors[s])
        if definite[curve[s]]:
            _forward(factors[s], links[s])
            block[:] = ends[d:, d:]
            _minus_squares(links[s, :, :d], links[s], block)
    points, tangents = _substitute(curve, definite, inner, halves, factors, links)
    return points, tangents, definite


@njit(cache=True)
def _substitute(
    curve: np.ndarray,
    definite: np.ndarray,
    inner: np.ndarray,
    halves: np.ndarray,
    factors: np.ndarray,
    links: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Points from the last of each curve, which is its end and does not move, to the first; then tangents."""
    segments, d = len(curve), factors.shape[1]
    points, tangents = np.zeros((segments + len(definite), d)), np.zeros((segments, 2, d))
    for s in range(segments - 1, -1, -1):
        if not definite[curve[s]]:
            continue
        first = s + curve[s]
        step = links[s, :, d].copy()
        for i in range(d):
            for j in range(d):
                step[i] -= links[s, i, j] * points[first + 1, j]
        _backward(factors[s], step)
        points[first] = step
        slope = halves[s, :, 2 * d].copy()
        for i in range(2 * d):
            for j in range(2 * d):
                slope[i] -= halves[s, i, j] * points[first + j // d, j % d]
        _backward(inner[s], slope)
        tangents[s, 0], tangents[s, 1] = slope[:d], slope[d:]
    return points, tangents


def _on_device(
    mesh: Mesh, hessian: Tensor, gradient: Tensor, fixed: Tensor
) -> tuple[Float[Tensor, "p d"], Float[Tensor, "s 2 d"], Bool[Tensor, "m"]]:
    """The same by batched operations: curves side by side, the shorter ones filled up with points that do not move."""
    d, (m, longest) = fixed.shape[1], (mesh.count, int(mesh.segments.max()))
    parts = hessian.unflatten(1, (4, d)).unflatten(3, (4, d)).movedim(3, 2)  # s a b i j
    inside, across, outside = (
        parts[:, rows][:, :, columns].movedim(2, 3).flatten(3).flatten(1, 2)
        for rows, columns in (([1, 3], [1, 3]), ([1, 3], [0, 2]), ([0, 2], [0, 2]))
    )
    slopes = gradient.unflatten(1, (4, d))
    right = torch.cat([across, -slopes[:, [1, 3]].flatten(1)[..., None]], dim=-1)
    factor, info = torch.linalg.cholesky_ex(inside)
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    reduced = half[..., : 2 * d].mT @ half
    ends = outside - reduced[..., : 2 * d]
    force = -slopes[:, [0, 2]].flatten(1) - reduced[..., 2 * d]
    moves = (~fixed).to(ends)
    diagonal = mesh.to_points(ends[:, :d, :d].flatten(1), ends[:, d:, d:].flatten(1)).unflatten(1, (d, d))
    diagonal = diagonal * moves[:, :, None] * moves[:, None, :] + torch.diag_embed(1 - moves)
    upper = ends[:, :d, d:] * moves[mesh.first][:, :, None] * moves[mesh.first + 1][:, None, :]
    force = mesh.to_points(force[:, :d], force[:, d:]) * moves
    place = torch.arange(len(fixed), device=fixed.device) - (mesh.segments + 1).cumsum(0)[mesh.of_point]
    place = place + mesh.segments[mesh.of_point] + 1
    whole = torch.eye(d).to(ends).repeat(m, longest + 1, 1, 1)
    whole[mesh.of_point, place] = diagonal
    beside, forces = ends.new_zeros(m, longest, d, d), ends.new_zeros(m, longest + 1, d)
    beside[mesh.curve, place[mesh.first]], forces[mesh.of_point, place] = upper, force
    found, definite = block_tridiagonal.solve(whole, beside, forces)
    points = found[mesh.of_point, place]
    shift = torch.cat([points[mesh.first], points[mesh.first + 1]], dim=1)[..., None]
    tangents = torch.linalg.solve_triangular(
        factor.mT, half[..., 2 * d :] - half[..., : 2 * d] @ shift, upper=True
    )
    broken = mesh.total((info != 0).to(ends)) > 0
    return points, tangents[..., 0].unflatten(1, (2, d)), definite & ~broken
