"""Embedding distances ``d``, and the kernels that make an unnormalised log-posterior of them, zero at ``d = 0``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int

LogKernel = Callable[..., np.ndarray]

_READ = 2**21  # numbers of embeddings that are read at once
_WHOLE = 2**24  # and of those that are read whole


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


@runtime_checkable
class Rows(Protocol):
    """What embeddings are read from: an array of NumPy, Dask or Zarr, read a slice of rows at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples and features."""

    def __getitem__(self, rows: slice) -> Float[np.ndarray, "rows d"]:
        """A range of samples."""


def squared_distances(embedding: Rows, sources: Int[np.ndarray, "s"]) -> Float64[np.ndarray, "s n"]:
    """``|E_i - E_j|^2`` from each source to all samples in float64, exactly zero from a source to itself.

    Besides the result it holds a part of a large embedding at a time, which may be read in slices.

    Raises:
        ValueError: if the embedding is not a finite matrix, or a source is no sample.
    """
    if math.prod(embedding.shape) <= _WHOLE:
        embedding = np.asarray(embedding)
    mean, sources = mean_embedding(embedding), np.asarray(sources)
    n, d = embedding.shape
    if np.any(sources < 0) or np.any(sources >= n):
        raise ValueError(f"sources must lie in 0..{n - 1}, not {sources.min()}..{sources.max()}")
    step = max(1, _WHOLE // d)
    parts = [slice(start, min(start + step, n)) for start in range(0, n, step)]
    source = np.empty((len(sources), d))
    for part in parts:
        here = (sources >= part.start) & (sources < part.stop)
        source[here] = np.asarray(embedding[part])[sources[here] - part.start] - mean
    own, squared = np.einsum("nd,nd->n", source, source), np.empty((len(sources), n))
    for part in parts:
        centred = np.asarray(embedding[part], dtype=float) - mean
        norm = np.einsum("nd,nd->n", centred, centred)
        squared[:, part] = own[:, None] + norm[None, :] - 2 * source @ centred.T
    squared[np.arange(len(sources)), sources] = 0.0
    return np.maximum(squared, 0.0, out=squared)


def mean_embedding(embedding: Rows) -> Float64[np.ndarray, "d"]:
    """Mean of all samples, added up in their order in float64, however they are read.

    Raises:
        ValueError: if the embedding is not a finite matrix.
    """
    if len(np.shape(embedding)) != 2 or embedding.shape[0] < 1:
        check_embedding(np.asarray(embedding))
    n, d = embedding.shape
    total, step = np.zeros((1, d)), max(1, _READ // d)
    for start in range(0, n, step):
        block = np.asarray(embedding[start : start + step])
        check_embedding(block)
        total = np.concatenate([total, block.astype(float)]).sum(axis=0, keepdims=True)
    return total[0] / n


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
