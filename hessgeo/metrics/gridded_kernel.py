"""The compiled evaluation of a gridded metric with its derivatives, point by point: what ``gridded`` does in torch.

A jet is an array of six: value, d1, d2, d11, d12, d22.
"""

from __future__ import annotations

from math import cosh, exp, floor, sinh, sqrt

import numpy as np
from jaxtyping import Float
from numba import njit

_SERIES, _TERMS = 0.5, 10  # see ``gridded``


def evaluate(
    t: Float[np.ndarray, "n 2"],
    coefficients: Float[np.ndarray, "ka kb 3"],
    axes: Float[np.ndarray, "2 3"],
    units: Float[np.ndarray, "2 2"],
    order: int,
) -> Float[np.ndarray, "n part 2 2"]:
    """The metric, and with ``order`` 2 its derivatives by a, b, aa, ab and bb.

    Args:
        t: the points.
        coefficients: of the splines of half the trace of the logarithm, half the difference of its diagonal, and what
            is off it.
        axes: ends and number of splines of both.
        units: that the metric is divided by.
        order: 0 or 2.
    """
    return _evaluate(t, coefficients, axes, units, order)


@njit(cache=True)
def _local(x: float, low: float, high: float, count: int, weights: np.ndarray) -> int:
    """First spline that is not zero; values, slopes and second derivatives of the four that are not."""
    spacing = (high - low) / (count - 3)
    u = (x - low) / spacing
    first = min(max(floor(u + 1e-9), 0), count - 4)
    r = u - first
    weights[0, 0] = (1 - r) ** 3 / 6
    weights[0, 1] = (4 - 6 * r**2 + 3 * r**3) / 6
    weights[0, 2] = (1 + 3 * r + 3 * r**2 - 3 * r**3) / 6
    weights[0, 3] = r**3 / 6
    weights[1, 0] = -((1 - r) ** 2) / 2 / spacing
    weights[1, 1] = (3 * r**2 - 4 * r) / 2 / spacing
    weights[1, 2] = (1 + 2 * r - 3 * r**2) / 2 / spacing
    weights[1, 3] = r**2 / 2 / spacing
    weights[2, 0] = (1 - r) / spacing**2
    weights[2, 1] = (3 * r - 2) / spacing**2
    weights[2, 2] = (1 - 3 * r) / spacing**2
    weights[2, 3] = r / spacing**2
    return first


@njit(cache=True)
def _hyperbolic(u: float) -> tuple[float, float, float, float]:
    """``cosh x``, ``sinh x / x`` and the first two derivatives of that in ``u = x^2``."""
    if u >= _SERIES:
        root = sqrt(u)
        even, odd = cosh(root), sinh(root) / root
        odd_1 = (even - odd) / (2 * u)
        return even, odd, odd_1, (odd / 2 - 3 * odd_1) / (2 * u)
    even, odd, odd_1, odd_2, factorial, power = 0.0, 0.0, 0.0, 0.0, 1.0, 1.0
    for k in range(_TERMS):
        odd_factorial = factorial * (2 * k + 1)
        even += power / factorial
        odd += power / odd_factorial
        next_one = odd_factorial * (2 * k + 2) * (2 * k + 3)
        odd_1 += (k + 1) * power / next_one
        odd_2 += (k + 1) * (k + 2) * power / (next_one * (2 * k + 4) * (2 * k + 5))
        factorial, power = odd_factorial * (2 * k + 2), power * u
    return even, odd, odd_1, odd_2


@njit(cache=True)
def _multiply(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """The rule of Leibniz."""
    out[0] = x[0] * y[0]
    out[1] = x[1] * y[0] + x[0] * y[1]
    out[2] = x[2] * y[0] + x[0] * y[2]
    out[3] = x[3] * y[0] + 2 * x[1] * y[1] + x[0] * y[3]
    out[4] = x[4] * y[0] + x[1] * y[2] + x[2] * y[1] + x[0] * y[4]
    out[5] = x[5] * y[0] + 2 * x[2] * y[2] + x[0] * y[5]


@njit(cache=True)
def _compose(value: float, first: float, second: float, u: np.ndarray, out: np.ndarray) -> None:
    """The jet of a function of one variable, given its value and derivatives at ``u``."""
    out[0] = value
    out[1] = first * u[1]
    out[2] = first * u[2]
    out[3] = first * u[3] + second * u[1] ** 2
    out[4] = first * u[4] + second * u[1] * u[2]
    out[5] = first * u[5] + second * u[2] ** 2


@njit(cache=True)
def _splines(
    x: np.ndarray,
    coefficients: np.ndarray,
    axes: np.ndarray,
    weights: np.ndarray,
    order: int,
    out: np.ndarray,
) -> None:
    """The jets of the three splines at a point."""
    i = _local(x[0], axes[0, 0], axes[0, 1], int(axes[0, 2]), weights[0])
    j = _local(x[1], axes[1, 0], axes[1, 1], int(axes[1, 2]), weights[1])
    for part in range(3):
        place = 0
        for total in range(order + 1):
            for q in range(total + 1):
                whole = 0.0
                for k in range(4):
                    row = 0.0
                    for m in range(4):
                        row += weights[1, q, m] * coefficients[i + k, j + m, part]
                    whole += weights[0, total - q, k] * row
                out[part, place] = whole
                place += 1


@njit(cache=True)
def _evaluate(
    t: np.ndarray, coefficients: np.ndarray, axes: np.ndarray, units: np.ndarray, order: int
) -> np.ndarray:
    parts = 6 if order else 1
    result, jets = np.empty((len(t), parts, 2, 2)), np.zeros((3, 6))
    weights, square, work = np.zeros((2, 3, 4)), np.zeros(6), np.zeros((5, 6))
    even, odd, scale, tilt, cross = work[0], work[1], work[2], work[3], work[4]
    for n in range(len(t)):
        _splines(t[n], coefficients, axes, weights, order, jets)
        mean, half, off = jets[0], jets[1], jets[2]
        _multiply(half, half, square)
        _multiply(off, off, cross)
        square += cross
        c, s, s_1, s_2 = _hyperbolic(square[0])
        # With u the square: d cosh(sqrt u) / du = s / 2.
        _compose(c, s / 2, s_1 / 2, square, tilt)
        size = exp(mean[0])
        _compose(size, size, size, mean, scale)
        _multiply(scale, tilt, even)
        _compose(s, s_1, s_2, square, cross)
        _multiply(scale, cross, odd)
        _multiply(odd, half, tilt)
        _multiply(odd, off, cross)
        for k in range(parts):
            result[n, k, 0, 0] = (even[k] + tilt[k]) / units[0, 0]
            result[n, k, 0, 1] = cross[k] / units[0, 1]
            result[n, k, 1, 0] = cross[k] / units[1, 0]
            result[n, k, 1, 1] = (even[k] - tilt[k]) / units[1, 1]
    return result
