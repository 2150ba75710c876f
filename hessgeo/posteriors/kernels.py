"""Embedding distances ``d``, and the kernels that make an unnormalised log-posterior of them, zero at ``d = 0``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float64, Int

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


def squared_distances(
    embedding: Float[np.ndarray, "n d"], sources: Int[np.ndarray, "s"]
) -> Float64[np.ndarray, "s n"]:
    """``|E_i - E_j|^2`` from each source to all samples in float64, exactly zero from a source to itself.

    Raises:
        ValueError: if the embedding is not a finite matrix, or a source is no sample.
    """
    check_embedding(embedding)
    sources = np.asarray(sources)
    if np.any(sources < 0) or np.any(sources >= len(embedding)):
        raise ValueError(f"sources must lie in 0..{len(embedding) - 1}, not {sources.min()}..{sources.max()}")
    centred = np.asarray(embedding, dtype=float) - np.mean(embedding, axis=0, dtype=float)
    norm = np.einsum("nd,nd->n", centred, centred)
    squared = norm[sources, None] + norm[None, :] - 2 * centred[sources] @ centred.T
    squared[np.arange(len(sources)), sources] = 0.0
    return np.maximum(squared, 0.0, out=squared)


def check_embedding(embedding: np.ndarray) -> None:
    """Refuse an embedding that is not a finite matrix of at least one row.

    Raises:
        ValueError: if it is not.
    """
    if np.ndim(embedding) != 2 or len(embedding) < 1:
        raise ValueError(
            f"embedding must be a matrix of at least one row, not of shape {np.shape(embedding)}"
        )
    if not np.isfinite(embedding).all():
        raise ValueError("embedding holds values that are not finite")
