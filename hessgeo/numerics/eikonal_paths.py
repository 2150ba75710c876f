"""Between the nodes of a front's first arrivals: when it reaches any point, and the way it came.

See ``numerics.eikonal``. All lengths are in grid steps.
"""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from hessgeo.numerics.eikonal import (
    ALONG_U,
    ALONG_V,
    AROUND,
    Medium,
    bent,
    matrix_at,
    mean_square,
    reduced,
    steepness,
    straight,
    through,
)

_STRIDE = 0.5  # grid steps of a path that is traced back
_LENGTH = 6  # of such a path, sides of the grid, after which it goes over nodes
_HOME = 2.0  # lattice steps from the source within which the way is straight


def around(field: Medium, point: Float[np.ndarray, "2"]) -> Int[np.ndarray, "_"]:
    """Rows of the nodes that the arrival at a point is read from; those that are closed are left out."""
    corners, _ = _corners(*field.shape, field.matrix, field.passable, float(point[0]), float(point[1]))
    return np.unique(corners[corners >= 0])


def arrival(
    field: Medium,
    reached: Float[np.ndarray, "na nb"],
    source: Float[np.ndarray, "2"],
    point: Float[np.ndarray, "2"],
) -> float:
    """Distance from the source to a point, from those to the nodes ``around`` it; infinite where no way leads."""
    ends = (*map(float, source), *map(float, point))
    return float(_arrival(*field.shape, field.matrix, field.passable, reached.ravel(), *ends))


def way(
    field: Medium,
    reached: Float[np.ndarray, "na nb"],
    source: Float[np.ndarray, "2"],
    point: Float[np.ndarray, "2"],
) -> Float[np.ndarray, "k 2"]:
    """The way of the front from the source to a point, both included, in steps of half a grid step or so.

    Follows the characteristics back; where they lead nowhere, as they may near points that are reached over two ways at
    once, it goes over nodes. Where no way leads, the straight line.
    """
    known = (*field.shape, field.matrix, field.passable, field.basis, field.neighbours, reached.ravel())
    found = _way(*known, *map(float, source), *map(float, point))
    return np.concatenate([np.asarray(point, float)[None], found, np.asarray(source, float)[None]])[::-1]


@njit(cache=True)
def _corners(
    na: int, nb: int, matrix: np.ndarray, passable: np.ndarray, a: float, b: float
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the lattice's parallelogram around a point in turn, then of its cell; -1 for one that is missing."""
    base = np.array(reduced(np.array(matrix_at(na, nb, matrix, a, b)), 1, 0, 0, 1))
    det = base[0] * base[3] - base[1] * base[2]
    p, q = (
        np.floor((base[3] * a - base[2] * b) / det + 1e-9),
        np.floor((base[0] * b - base[1] * a) / det + 1e-9),
    )
    found, places = np.full(8, -1, np.int64), np.zeros((8, 2))
    for k in range(8):
        if k < 4:
            x, y = p + (1 if k in (1, 2) else 0), q + (1 if k in (2, 3) else 0)
            i, j = int(x * base[0] + y * base[2]), int(x * base[1] + y * base[3])
        else:
            i, j = min(max(int(a), 0), na - 2) + (k - 4) // 2, min(max(int(b), 0), nb - 2) + k % 2
        if 0 <= i < na and 0 <= j < nb and passable[i * nb + j]:
            found[k] = i * nb + j
            places[k, 0], places[k, 1] = i, j
    return found, places


@njit(cache=True)
def _arrival(
    na: int,
    nb: int,
    matrix: np.ndarray,
    passable: np.ndarray,
    reached: np.ndarray,
    s_a: float,
    s_b: float,
    a: float,
    b: float,
) -> float:
    at, own = np.array(matrix_at(na, nb, matrix, s_a, s_b)), np.array(matrix_at(na, nb, matrix, a, b))
    x, y = a - s_a, b - s_b
    cone = sqrt(max(at[0] * x * x + 2 * at[1] * x * y + at[2] * y * y, 0.0))
    p, q = at[0] * x + at[1] * y, at[1] * x + at[2] * y
    slope = (p / cone, q / cone) if cone > 0 else (0.0, 0.0)
    scale = 1 / steepness(own, slope[0], slope[1])
    best = straight(na, nb, matrix, s_a, s_b, a, b) if _is_home(at, x, y) else inf
    nodes, places = _corners(na, nb, matrix, passable, a, b)
    for k in range(8):
        one = nodes[k]
        if one < 0:
            continue
        best = min(best, reached[one] + straight(na, nb, matrix, places[k, 0], places[k, 1], a, b))
        other = nodes[(k + 1) % 4]
        if k > 3 or other < 0:
            continue
        pair, mean = np.empty((2, 2)), np.empty(3)
        pair[0], pair[1] = places[k] - np.array((a, b)), places[(k + 1) % 4] - np.array((a, b))
        for n in range(3):
            mean[n] = own[n] / 2 + (matrix[one, n] + matrix[other, n]) / 4
        nn, nf, ff = (
            _square(mean, pair[0], pair[0]),
            _square(mean, pair[0], pair[1]),
            _square(mean, pair[1], pair[1]),
        )
        times = np.array((reached[one], reached[other]))
        for n in range(2):
            far = pair[n] + np.array((x, y))
            there = sqrt(max(_square(at, far, far), 0.0))
            bend = scale * (cone + slope[0] * pair[n, 0] + slope[1] * pair[n, 1] - there)
            times[n] += bent(bend, nn if n == 0 else ff)
        if nn * ff - nf * nf > 1e-12 * nn * ff and max(times[0], times[1]) < inf:
            best = min(best, through(times[0], times[1], nn, nf, ff)[0])
    return best


@njit(cache=True)
def _square(m: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    return (
        m[0] * one[0] * other[0] + m[1] * (one[0] * other[1] + one[1] * other[0]) + m[2] * one[1] * other[1]
    )


@njit(cache=True)
def _is_home(at: np.ndarray, x: float, y: float) -> bool:
    """Whether a point is so near to the source that the way is straight."""
    u_a, u_b, v_a, v_b = reduced(at, 1, 0, 0, 1)
    det = u_a * v_b - u_b * v_a
    return max(abs(v_b * x - v_a * y), abs(u_a * y - u_b * x)) <= _HOME * abs(det)


@njit(cache=True)
def _from(
    nb: int, matrix: np.ndarray, basis: np.ndarray, neighbours: np.ndarray, reached: np.ndarray, node: int
) -> tuple[float, float, int]:
    """The step to the place that the front reached a node from, and the node nearest to that; -1 of the first ones."""
    best, step_a, step_b, before = reached[node] * (1 + 1e-12), 0.0, 0.0, -1
    u_a, u_b, v_a, v_b = basis[node, 0], basis[node, 1], basis[node, 2], basis[node, 3]
    least = inf
    for k in range(6):
        one, other = neighbours[node, k], neighbours[node, (k + 1) % 6]
        if one < 0 or reached[one] >= best:
            continue
        a, b = ALONG_U[k] * u_a + ALONG_V[k] * v_a, ALONG_U[k] * u_b + ALONG_V[k] * v_b
        value = reached[one] + sqrt(mean_square(matrix, node, one, a, b))
        if value < least:
            least, step_a, step_b, before = value, a, b, one
        if other < 0 or reached[other] >= best:
            continue
        n = (k + 1) % 6
        c, d = ALONG_U[n] * u_a + ALONG_V[n] * v_a, ALONG_U[n] * u_b + ALONG_V[n] * v_b
        mean = np.empty(3)
        for part in range(3):
            mean[part] = matrix[node, part] / 2 + (matrix[one, part] + matrix[other, part]) / 4
        near, far = np.array((float(a), float(b))), np.array((float(c), float(d)))
        value, share = through(
            reached[one],
            reached[other],
            _square(mean, near, near),
            _square(mean, near, far),
            _square(mean, far, far),
        )
        if value < least:
            least, before = value, other if share > 0.5 else one
            step_a, step_b = a + share * (c - a), b + share * (d - b)
    if before < 0:
        i, j = node // nb, node % nb
        na = len(reached) // nb
        for k in range(8):
            a, b = AROUND[k]
            if 0 <= i + a < na and 0 <= j + b < nb:
                other = (i + a) * nb + j + b
                value = reached[other] + sqrt(mean_square(matrix, node, other, a, b))
                if reached[other] < reached[node] and value < least:
                    least, step_a, step_b, before = value, float(a), float(b), other
    return step_a, step_b, before


@njit(cache=True)
def _slope(
    na: int,
    nb: int,
    matrix: np.ndarray,
    basis: np.ndarray,
    neighbours: np.ndarray,
    reached: np.ndarray,
    a: float,
    b: float,
) -> tuple[float, float]:
    """The direction back at a point: of the corners of its cell that agree with the one it was reached over."""
    i, j = min(max(int(a), 0), na - 2), min(max(int(b), 0), nb - 2)
    steps, weights, least, lead = np.zeros((4, 2)), np.zeros(4), inf, 0
    for k in range(4):
        x, y = i + k // 2, j + k % 2
        node = x * nb + y
        if reached[node] == inf:
            continue
        step_a, step_b, before = _from(nb, matrix, basis, neighbours, reached, node)
        size = sqrt(step_a * step_a + step_b * step_b)
        if before < 0 or size == 0:
            continue
        steps[k, 0], steps[k, 1] = step_a / size, step_b / size
        weights[k] = (1 - abs(a - x)) * (1 - abs(b - y)) + 1e-9
        value = reached[node] + straight(na, nb, matrix, float(x), float(y), a, b)
        if value < least:
            least, lead = value, k
    to_a, to_b = 0.0, 0.0
    for k in range(4):
        if steps[k, 0] * steps[lead, 0] + steps[k, 1] * steps[lead, 1] > 0:
            to_a += weights[k] * steps[k, 0]
            to_b += weights[k] * steps[k, 1]
    size = sqrt(to_a * to_a + to_b * to_b)
    return (to_a / size, to_b / size) if size > 0 else (0.0, 0.0)


@njit(cache=True)
def _way(
    na: int,
    nb: int,
    matrix: np.ndarray,
    passable: np.ndarray,
    basis: np.ndarray,
    neighbours: np.ndarray,
    reached: np.ndarray,
    s_a: float,
    s_b: float,
    a: float,
    b: float,
) -> np.ndarray:
    at = np.array(matrix_at(na, nb, matrix, s_a, s_b))
    most = int(_LENGTH * (na + nb) / _STRIDE)
    path = np.empty((most, 2))
    start_a, start_b = a, b
    for k in range(most):
        if _is_home(at, a - s_a, b - s_b):
            return path[:k]
        to_a, to_b = _slope(na, nb, matrix, basis, neighbours, reached, a, b)
        x, y = a + _STRIDE / 2 * to_a, b + _STRIDE / 2 * to_b
        x, y = min(max(x, 0.0), na - 1.0), min(max(y, 0.0), nb - 1.0)
        to_a, to_b = _slope(na, nb, matrix, basis, neighbours, reached, x, y)
        if to_a == 0 and to_b == 0:
            break
        a, b = min(max(a + _STRIDE * to_a, 0.0), na - 1.0), min(max(b + _STRIDE * to_b, 0.0), nb - 1.0)
        path[k, 0], path[k, 1] = a, b
    return _over_nodes(na, nb, matrix, passable, basis, neighbours, reached, start_a, start_b)


@njit(cache=True)
def _over_nodes(
    na: int,
    nb: int,
    matrix: np.ndarray,
    passable: np.ndarray,
    basis: np.ndarray,
    neighbours: np.ndarray,
    reached: np.ndarray,
    a: float,
    b: float,
) -> np.ndarray:
    """From a point over nodes, each reached earlier than the one before."""
    corners, places = _corners(na, nb, matrix, passable, a, b)
    node, least = -1, inf
    for k in range(8):
        if corners[k] >= 0:
            value = reached[corners[k]] + straight(na, nb, matrix, places[k, 0], places[k, 1], a, b)
            if value < least:
                node, least = corners[k], value
    path, k = np.empty((na * nb, 2)), 0
    while node >= 0:
        path[k, 0], path[k, 1] = node // nb, node % nb
        k += 1
        _, _, node = _from(nb, matrix, basis, neighbours, reached, node)
    return path[:k]
