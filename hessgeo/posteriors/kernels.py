"""Kernels that turn an embedding distance ``d`` into an unnormalised log-posterior, zero at ``d = 0``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

LogKernel = Callable[..., np.ndarray]


def gaussian(
    squared_distance: Float[np.ndarray, "*shape"],
    resolution: float,
    *,
    out: Float[np.ndarray, "*shape"] | None = None,
) -> Float[np.ndarray, "*shape"]:
    """``-N/2 d^2``: the kernel of Eq. 19 with resolution number ``N``, from ``d^2``."""
    return np.multiply(squared_distance, -0.5 * resolution, out=out)


def laplace(
    squared_distance: Float[np.ndarray, "*shape"],
    resolution: float,
    *,
    out: Float[np.ndarray, "*shape"] | None = None,
) -> Float[np.ndarray, "*shape"]:
    """``-N d``, from ``d^2``; the paper's code has ``N = 10``."""
    # PAPER: its text prints the Gaussian kernel, its code runs this one; results name the kernel they used.
    distance = np.sqrt(np.maximum(squared_distance, 0.0, out=out), out=out)
    return np.multiply(distance, -float(resolution), out=out)


KERNELS: dict[str, LogKernel] = {"gaussian": gaussian, "laplace": laplace}


def log_kernel(name: str) -> LogKernel:
    """The kernel of that name; it takes ``(squared_distance, resolution, out=None)`` like a NumPy ufunc.

    Raises:
        ValueError: if there is no such kernel.
    """
    if name not in KERNELS:
        raise ValueError(f"kernel {name!r} is not one of {', '.join(KERNELS)}")
    return KERNELS[name]
