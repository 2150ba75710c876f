"""First arrival of a front in an anisotropic medium on a regular grid: the Riemannian eikonal equation, in one pass.

Unknown is the distance ``d`` from one point in a field ``M`` of positive matrices, ``grad d' M^-1 grad d = 1``.
A node is reached from six neighbours around it, ``+-u, +-v, +-(u + v)`` for the reduced basis ``(u, v)`` of the integer
lattice in its own matrix, so that neighbours in turn form acute angles: then the front never comes from a node that it
reaches later, and each node is settled once, in order of arrival (fast marching with lattice basis reduction, Mirebeau
2014). Within a triangle of a node and two neighbours the front is linear, less the curvature of the cone round the
source, which is known, in the units of the matrix that it has come to.

All lengths are in grid steps: node ``(i, j)`` lies at ``(i, j)``, ``M`` is in steps to the power -2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

from hessgeo.numerics.heap import pop, push

_SEEDS = 2  # lattice steps around the source within which nodes start from straight lines
_CURVATURE = 0.5  # of the length of a step: what the cone's curvature may take off it
_ROUNDING = 1e-13  # of a distance, relative: what is not shorter
ALONG_U = np.array([1, 1, 0, -1, -1, 0])  # neighbours in turn, in the basis
ALONG_V = np.array([0, 1, 1, 0, -1, -1])
AROUND = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])


@dataclass(frozen=True)
class Medium:
    """A field of matrices with the neighbours of every node.

    Attributes:
        shape: of the grid.
        matrix: ``(m_aa, m_ab, m_bb)`` of every node; of those that are closed a mean of the others.
        passable: whether a node is open.
        basis: the reduced basis ``(u_a, u_b, v_a, v_b)`` there.
        neighbours: of every node, six in turn; -1 for one that is closed, or outside of the grid.
        first, of, place: of each node which nodes have it as a neighbour, and as which one: ``of[k]`` and ``place[k]``
            for ``first[node] <= k < first[node + 1]``. From place six on they are nodes beside it, for one that misses
            a neighbour.
    """

    shape: tuple[int, int]
    matrix: Float[np.ndarray, "n 3"]
    passable: Bool[np.ndarray, "n"]
    basis: Int[np.ndarray, "n 4"]
    neighbours: Int[np.ndarray, "n 6"]
    first: Int[np.ndarray, "_"]
    of: Int[np.ndarray, "_"]
    place: Int[np.ndarray, "_"]


def medium(matrix: Float[np.ndarray, "na nb 2 2"]) -> Medium:
    """Neighbours of every node of a field of matrices.

    Args:
        matrix: at each node; one that is not positive definite, or not finite, closes its node.

    Raises:
        ValueError: if all are closed, or there are fewer than two nodes a side.
    """
    if matrix.ndim != 4 or matrix.shape[2:] != (2, 2) or min(matrix.shape) < 2:
        raise ValueError(
            f"a field of shape {matrix.shape} is not allowed; allowed: (na, nb, 2, 2), na, nb >= 2"
        )
    parts = np.ascontiguousarray(matrix, dtype=float).reshape(-1, 4)
    flat = np.stack([parts[:, 0], (parts[:, 1] + parts[:, 2]) / 2, parts[:, 3]], axis=1)
    # Stated as what must hold, so that what is not a number fails too.
    passable = (flat[:, 0] > 0) & (flat[:, 0] * flat[:, 2] > flat[:, 1] ** 2) & np.isfinite(flat).all(axis=1)
    if not passable.any():
        raise ValueError("the metric is positive definite at no node")
    flat[~passable] = flat[passable].mean(axis=0)
    na, nb = matrix.shape[:2]
    basis, neighbours = _neighbours(na, nb, flat, passable)
    return Medium((na, nb), flat, passable, basis, neighbours, *_reversed(na, nb, passable, neighbours))


def distances(
    field: Medium, source: Float[np.ndarray, "2"], *, until: Int[np.ndarray, "_"] | None = None
) -> Float[np.ndarray, "na nb"]:
    """Distances from a point, a node or not, to all nodes; first order in the grid step, infinite where no way leads.

    Args:
        field: the medium.
        source: in grid steps, within the grid.
        until: nodes by row that must be settled, after which the front stops: distances of others are not final; None
            for all.

    Raises:
        ValueError: if the source lies outside.
    """
    a, b = float(source[0]), float(source[1])
    if not (0 <= a <= field.shape[0] - 1 and 0 <= b <= field.shape[1] - 1):
        raise ValueError(
            f"source ({a:g}, {b:g}) lies outside the grid of {field.shape[0]} x {field.shape[1]} nodes"
        )
    awaited = np.zeros(len(field.matrix), bool)
    awaited[slice(0) if until is None else until] = True
    at, start = np.array(matrix_at(*field.shape, field.matrix, a, b)), np.array([a, b])
    reached, cone = np.full(len(awaited), inf), np.empty(len(awaited))
    _cone(*field.shape, at, start, cone)
    _seeds(*field.shape, field.matrix, field.passable, start, reached)
    return marched(field, awaited, reached, cone, at, start)


def marched(field: Medium, awaited: np.ndarray, reached: np.ndarray, *cone: np.ndarray) -> np.ndarray:
    """A front from the nodes that are reached to all awaited; ``cone``: its values, matrix and tip, or zeros."""
    return _march(
        field.shape[1], field.matrix, field.basis, field.neighbours, field.first, field.of, field.place,
        awaited, reached, *cone,
    ).reshape(field.shape)  # fmt: skip


@njit(cache=True)
def _product(matrix: np.ndarray, a: float, b: float, p: float, q: float) -> float:
    return matrix[0] * a * p + matrix[1] * (a * q + b * p) + matrix[2] * b * q


@njit(cache=True)
def reduced(matrix: np.ndarray, u_a: int, u_b: int, v_a: int, v_b: int) -> tuple[int, int, int, int]:
    """Lagrange's reduction of a basis of the lattice, so that ``u'Mu <= v'Mv`` and ``-u'Mu / 2 <= u'Mv <= 0``."""
    uu, uv = _product(matrix, u_a, u_b, u_a, u_b), _product(matrix, u_a, u_b, v_a, v_b)
    vv = _product(matrix, v_a, v_b, v_a, v_b)
    for _ in range(200):
        if vv < uu:
            u_a, u_b, v_a, v_b, uu, vv = v_a, v_b, u_a, u_b, vv, uu
        if 2 * abs(uv) <= uu * (1 + 1e-12):
            break
        times = int(np.floor(uv / uu + 0.5))
        v_a, v_b = v_a - times * u_a, v_b - times * u_b
        uv, vv = _product(matrix, u_a, u_b, v_a, v_b), _product(matrix, v_a, v_b, v_a, v_b)
    return (u_a, u_b, -v_a, -v_b) if uv > 0 else (u_a, u_b, v_a, v_b)


@njit(cache=True)
def _neighbours(na: int, nb: int, matrix: np.ndarray, passable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The basis of every node, from that of the one before, and its neighbours."""
    basis, neighbours = np.empty((na * nb, 4), np.int32), np.full((na * nb, 6), -1, np.int32)
    u_a, u_b, v_a, v_b, node = 1, 0, 0, 1, 0
    for i in range(na):
        for j in range(nb):
            u_a, u_b, v_a, v_b = reduced(matrix[node], u_a, u_b, v_a, v_b)
            basis[node, 0], basis[node, 1], basis[node, 2], basis[node, 3] = u_a, u_b, v_a, v_b
            for k in range(6):
                a = i + ALONG_U[k] * u_a + ALONG_V[k] * v_a
                b = j + ALONG_U[k] * u_b + ALONG_V[k] * v_b
                if 0 <= a < na and 0 <= b < nb and passable[node] and passable[a * nb + b]:
                    neighbours[node, k] = a * nb + b
            node += 1
    return basis, neighbours


@njit(cache=True)
def _beside(na: int, nb: int, passable: np.ndarray, node: int, k: int) -> int:
    """The node beside another, of eight, or -1."""
    i, j = node // nb + AROUND[k, 0], node % nb + AROUND[k, 1]
    if not (0 <= i < na and 0 <= j < nb and passable[node] and passable[i * nb + j]):
        return -1
    return i * nb + j


@njit(cache=True)
def _reversed(
    na: int, nb: int, passable: np.ndarray, neighbours: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each node the nodes that have it as a neighbour."""
    count = na * nb
    first = np.zeros(count + 1, np.int32)
    for node in range(count):
        whole = True
        for k in range(6):
            other = neighbours[node, k]
            whole &= other >= 0
            first[other + 1] += other >= 0
        for k in range(0 if whole else 8):
            other = _beside(na, nb, passable, node, k)
            first[other + 1] += other >= 0
    for node in range(count):
        first[node + 1] += first[node]
    of, place, free = np.empty(first[count], np.int32), np.empty(first[count], np.int8), first[:-1].copy()
    for node in range(count):
        whole = True
        for k in range(14):
            if k == 6 and whole:
                break
            other = neighbours[node, k] if k < 6 else _beside(na, nb, passable, node, k - 6)
            whole &= other >= 0
            if other >= 0:
                of[free[other]], place[free[other]] = node, k
                free[other] += 1
    return first, of, place


@njit(cache=True)
def through(near: float, far: float, nn: float, nf: float, ff: float) -> tuple[float, float]:
    """Arrival at the apex of a triangle of a front that is linear between two corners, and where between them it came.

    Infinite if it came over a corner.

    Args:
        near: arrival at one corner.
        far: at the other.
        nn: squared length of the side from the apex to the first corner.
        nf: product of both sides.
        ff: squared length of the other one.
    """
    rise, across = far - near, nn - 2 * nf + ff
    if rise * rise < across:
        s = (rise * (nn - nf) + sqrt((nn * ff - nf * nf) * (across - rise * rise))) / across
        if ff * s >= nf * (s - rise) and nn * (s - rise) >= nf * s:
            # Weights of both corners are as the components of the slope across the other side.
            first, second = ff * s - nf * (s - rise), nn * (s - rise) - nf * s
            return near + s, second / (first + second)
    return inf, 0.0


@njit(cache=True)
def matrix_at(na: int, nb: int, matrix: np.ndarray, a: float, b: float) -> tuple[float, float, float]:
    """The matrix at a point, bilinear between the nodes."""
    i, j = min(max(int(a), 0), na - 2), min(max(int(b), 0), nb - 2)
    x, y, node = a - i, b - j, i * nb + j
    w0, w1, w2, w3 = (1 - x) * (1 - y), (1 - x) * y, x * (1 - y), x * y
    aa = (
        w0 * matrix[node, 0]
        + w1 * matrix[node + 1, 0]
        + w2 * matrix[node + nb, 0]
        + w3 * matrix[node + nb + 1, 0]
    )
    ab = (
        w0 * matrix[node, 1]
        + w1 * matrix[node + 1, 1]
        + w2 * matrix[node + nb, 1]
        + w3 * matrix[node + nb + 1, 1]
    )
    bb = (
        w0 * matrix[node, 2]
        + w1 * matrix[node + 1, 2]
        + w2 * matrix[node + nb, 2]
        + w3 * matrix[node + nb + 1, 2]
    )
    return aa, ab, bb


@njit(cache=True)
def straight(na: int, nb: int, matrix: np.ndarray, a: float, b: float, to_a: float, to_b: float) -> float:
    """Length of a straight line between two points by Simpson's rule, a node of it at least every two grid steps."""
    step_a, step_b = to_a - a, to_b - b
    cells = 1 + int(max(abs(step_a), abs(step_b)) / 2)
    total = 0.0
    for k in range(2 * cells + 1):
        share = k / (2 * cells)
        aa, ab, bb = matrix_at(na, nb, matrix, a + share * step_a, b + share * step_b)
        speed = sqrt(aa * step_a * step_a + 2 * ab * step_a * step_b + bb * step_b * step_b)
        total += speed * (1 if k == 0 or k == 2 * cells else 4 if k % 2 else 2)
    return total / (6 * cells)


@njit(cache=True)
def _seeds(
    na: int, nb: int, matrix: np.ndarray, passable: np.ndarray, source: np.ndarray, reached: np.ndarray
) -> None:
    """Straight lines from the source to the nodes around it."""
    at = np.array(matrix_at(na, nb, matrix, source[0], source[1]))
    u_a, u_b, v_a, v_b = reduced(at, 1, 0, 0, 1)
    base_a, base_b = int(np.floor(source[0] + 0.5)), int(np.floor(source[1] + 0.5))
    for p in range(-_SEEDS, _SEEDS + 1):
        for q in range(-_SEEDS, _SEEDS + 1):
            i, j = base_a + p * u_a + q * v_a, base_b + p * u_b + q * v_b
            if 0 <= i < na and 0 <= j < nb and passable[i * nb + j]:
                reached[i * nb + j] = straight(na, nb, matrix, source[0], source[1], float(i), float(j))
    for i in range(int(source[0]), min(int(source[0]) + 2, na)):
        for j in range(int(source[1]), min(int(source[1]) + 2, nb)):
            if passable[i * nb + j]:
                reached[i * nb + j] = straight(na, nb, matrix, source[0], source[1], float(i), float(j))


@njit(cache=True)
def _cone(na: int, nb: int, at: np.ndarray, source: np.ndarray, cone: np.ndarray) -> None:
    """Length of the straight lines from the source to all nodes in its own matrix."""
    for i in range(na):
        for j in range(nb):
            x, y = i - source[0], j - source[1]
            cone[i * nb + j] = sqrt(max(_product(at, x, y, x, y), 0.0))


@njit(cache=True)
def _march(
    nb: int,
    matrix: np.ndarray,
    basis: np.ndarray,
    neighbours: np.ndarray,
    first: np.ndarray,
    of: np.ndarray,
    place: np.ndarray,
    awaited: np.ndarray,
    reached: np.ndarray,
    cone: np.ndarray,
    at: np.ndarray,
    source: np.ndarray,
) -> np.ndarray:
    keys, nodes, size = np.empty(1024), np.empty(1024, np.int32), 0
    for node in range(len(reached)):
        if reached[node] < inf:
            keys, nodes = push(keys, nodes, size, reached[node], node)
            size += 1
    left = awaited.sum()
    while size > 0:
        key, node = pop(keys, nodes, size)
        size -= 1
        if key > reached[node]:
            continue  # it was reached earlier since
        if awaited[node]:
            awaited[node] = False
            left -= 1
            if left == 0:
                break
        for entry in range(first[node], first[node + 1]):
            other = of[entry]
            if reached[other] <= key:
                continue
            new = _update(nb, matrix, basis, neighbours, reached, cone, at, source, node, other, place[entry])
            if new < reached[other] * (1 - _ROUNDING):
                reached[other] = new
                keys, nodes = push(keys, nodes, size, new, other)
                size += 1
    return reached


@njit(cache=True, error_model="numpy")
def _update(
    nb: int,
    matrix: np.ndarray,
    basis: np.ndarray,
    neighbours: np.ndarray,
    reached: np.ndarray,
    cone: np.ndarray,
    at: np.ndarray,
    source: np.ndarray,
    node: int,
    other: int,
    k: int,
) -> float:
    """Arrival at one node over another, its neighbour ``k``, and those beside this one that were reached before."""
    if k >= 6:
        return reached[node] + sqrt(mean_square(matrix, other, node, AROUND[k - 6, 0], AROUND[k - 6, 1]))
    u_a, u_b, v_a, v_b = basis[other, 0], basis[other, 1], basis[other, 2], basis[other, 3]
    # Slope of the cone round the source, along the basis.
    x, y, tip = other // nb - source[0], other % nb - source[1], cone[other]
    share = 1 / tip if tip > 0 else 0.0
    p, q = (at[0] * x + at[1] * y) * share, (at[1] * x + at[2] * y) * share
    scale = 1 / steepness(matrix[other], p, q)
    in_u, in_v = p * u_a + q * u_b, p * v_a + q * v_b
    a, b = ALONG_U[k] * u_a + ALONG_V[k] * v_a, ALONG_U[k] * u_b + ALONG_V[k] * v_b
    squared = mean_square(matrix, other, node, a, b)
    here = reached[node] + bent(scale * (tip - cone[node] + ALONG_U[k] * in_u + ALONG_V[k] * in_v), squared)
    best = inf
    for turn in (1, 5):
        side = k + turn - (6 if k + turn >= 6 else 0)
        beside = neighbours[other, side]
        if beside < 0 or reached[beside] > reached[node]:
            continue
        c, d = ALONG_U[side] * u_a + ALONG_V[side] * v_a, ALONG_U[side] * u_b + ALONG_V[side] * v_b
        aa = 0.5 * matrix[other, 0] + 0.25 * (matrix[node, 0] + matrix[beside, 0])
        ab = 0.5 * matrix[other, 1] + 0.25 * (matrix[node, 1] + matrix[beside, 1])
        bb = 0.5 * matrix[other, 2] + 0.25 * (matrix[node, 2] + matrix[beside, 2])
        nn, ff = aa * a * a + 2 * ab * a * b + bb * b * b, aa * c * c + 2 * ab * c * d + bb * d * d
        nf = aa * a * c + ab * (a * d + b * c) + bb * b * d
        bend = bent(scale * (tip - cone[beside] + ALONG_U[side] * in_u + ALONG_V[side] * in_v), ff)
        found, _ = through(here, reached[beside] + bend, nn, nf, ff)
        if found < best:
            best = found
    return best if best < inf else here + sqrt(squared)


@njit(cache=True)
def mean_square(matrix: np.ndarray, one: int, other: int, a: float, b: float) -> float:
    """Squared length of a step between two nodes, the mean in the matrices of both."""
    aa, ab = matrix[one, 0] + matrix[other, 0], matrix[one, 1] + matrix[other, 1]
    bb = matrix[one, 2] + matrix[other, 2]
    return 0.5 * (aa * a * a + 2 * ab * a * b + bb * b * b)


@njit(cache=True)
def steepness(matrix: np.ndarray, p: float, q: float) -> float:
    """Length of a gradient in a matrix; a front has one. What bends it is the cone's curvature over the cone's own."""
    adjugate = matrix[2] * p * p - 2 * matrix[1] * p * q + matrix[0] * q * q
    return sqrt(adjugate / (matrix[0] * matrix[2] - matrix[1] ** 2)) if adjugate > 0 else 1.0


@njit(cache=True)
def bent(bend: float, squared: float) -> float:
    """What a cone differs from its tangent a step off, held between zero and a share of that step's length."""
    if bend >= 0:
        return 0.0
    return bend if bend * bend < _CURVATURE**2 * squared else -_CURVATURE * sqrt(squared)
