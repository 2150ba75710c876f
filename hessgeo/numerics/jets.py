"""Exact second derivatives in two parameters, carried along a computation (truncated Taylor series).

A jet is an array whose first axis, of length 6, holds a quantity and its derivatives: value, d1, d2, d11, d12, d22.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

VALUE, D1, D2, D11, D12, D22 = range(6)
SIZE = 6


def exponential_jet(
    log_weight: Float[np.ndarray, "*any"],
    first: Float[np.ndarray, "*any"],
    second: Float[np.ndarray, "*any"],
) -> Float[np.ndarray, "6 *any"]:
    """The jet of ``exp(t1 first + t2 second)``, given its logarithm."""
    weight = np.exp(log_weight)
    factors = [np.ones_like(weight), first, second, first * first, first * second, second * second]
    return np.stack([weight * factor for factor in factors])


def multiply(
    a: Float[np.ndarray, "6 *left"],
    b: Float[np.ndarray, "6 *right"],
    product: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.multiply,
) -> Float[np.ndarray, "6 *any"]:
    """The jet of a product, by the rule of Leibniz; ``product`` may be any bilinear map."""
    return np.stack(
        [
            product(a[VALUE], b[VALUE]),
            product(a[VALUE], b[D1]) + product(a[D1], b[VALUE]),
            product(a[VALUE], b[D2]) + product(a[D2], b[VALUE]),
            product(a[VALUE], b[D11]) + 2 * product(a[D1], b[D1]) + product(a[D11], b[VALUE]),
            product(a[VALUE], b[D12])
            + product(a[D1], b[D2])
            + product(a[D2], b[D1])
            + product(a[D12], b[VALUE]),
            product(a[VALUE], b[D22]) + 2 * product(a[D2], b[D2]) + product(a[D22], b[VALUE]),
        ]
    )


def log_derivatives(
    partition: Float[np.ndarray, "6 n"],
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2 2"]]:
    """The logarithm of a positive jet, its gradient and its Hessian."""
    z = partition[VALUE]
    mean = partition[[D1, D2]] / z
    second = np.array([[partition[D11], partition[D12]], [partition[D12], partition[D22]]]) / z
    metric = second - mean[:, None] * mean[None, :]
    return np.log(z), mean.T.copy(), np.moveaxis(metric, 2, 0).copy()
