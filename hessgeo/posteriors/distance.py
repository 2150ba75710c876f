"""The posterior of every sample from embedding distances (Eq. 19), reduced row block by row block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy.sparse import csr_matrix

from hessgeo.grids import Frame, Grid, bilinear_weights
from hessgeo.posteriors.base import Posterior, monomials
from hessgeo.posteriors.checks import check_amounts, check_parameters, check_resolution
from hessgeo.posteriors.factors import Factors
from hessgeo.posteriors.kernels import LogKernel, Rows, log_kernel, squared_distances
from hessgeo.posteriors.strips import BLOCK, BlockSums, whole_posterior

ROWS = BLOCK
STRIP = 128  # of whose rows of a tile there is a float64 copy
# Row blocks whose buffers ``memory_mb`` is to hold, whatever the threads: these are to change no byte.
BUFFERS = 8
# Logits lower than this under the row's maximum are raised to it: their share, 4e-31 each, is far under
# float32 rounding, and products with it stay clear of slow denormal numbers.
FLOOR = -70.0


def posterior(
    embedding: Float[np.ndarray, "n d"],
    t: Float[np.ndarray, "n axis"],
    *,
    kernel: str = "gaussian",
    resolution: float,
    exclude_self: bool = False,
    neighbours: int = 0,
    coarse: Grid | None = None,
    threads: int = 1,
    memory_mb: float = 256.0,
    progress: bool = False,
) -> Posterior:
    """Moments of the posterior ``P(t_j | t_i) = softmax_j log_kernel(|E_i - E_j|)`` of every sample.

    One product and one exponential per pair of samples; the ``n x n`` matrix never exists. Row blocks go side by
    side on ``threads`` threads, each with BLAS on one thread and a buffer of ``rows x n`` float32, and all buffers
    together hold at most ``memory_mb``. Besides them live one centred float32 copy of the embedding and a few float64
    rows of ``n`` a thread.

    Rounding: products and exponentials are float32, all reductions of a row float64. Distances are taken from
    the centred embedding, so the logits carry an error of about ``1e-7 N r^2`` with ``r`` the embedding's
    radius about its mean (Gaussian kernel; the Laplace kernel ``1e-7 N r^2 / d``, at most ``4e-4 N r``,
    between samples whose embeddings are equal); the distance of a sample to itself is exactly zero. The result has
    the same bytes whatever the number of threads; another ``memory_mb`` may change the rows of a block, and
    with them rounding alone.

    Args:
        embedding: embedding ``E_i`` of each sample.
        t: its parameters.
        kernel: ``gaussian``, ``-N/2 d^2``, or ``laplace``, ``-N d``.
        resolution: the resolution number ``N``.
        exclude_self: leave each sample out of its own posterior.
        neighbours: number of most probable samples to keep per row (the sample itself among them unless
            ``exclude_self``); 0 keeps none.
        coarse: grid onto which each row is spread bilinearly, or None. It must cover all ``t``.
        threads: threads that work at once.
        memory_mb: bound on the row buffers of all threads together, in MiB; a block's rows are those of which eight
            blocks fit.
        progress: show a progress bar of row blocks.

    Raises:
        ValueError: on shapes that do not match, values that are not finite, an unknown kernel, a number out
            of range, a ``coarse`` grid that does not cover ``t``, or ``memory_mb`` below eight rows.
    """
    check_amounts(len(t), neighbours, threads, exclude_self)
    about: dict[str, Any] = {"kernel": kernel, "resolution": resolution, "exclude_self": exclude_self}
    problem = distance_rows(embedding, t, **about, neighbours=neighbours, coarse=coarse, memory_mb=memory_mb)
    return whole_posterior(problem, t, threads=threads, progress=progress, **about)


def distance_rows(
    embedding: Rows,
    t: Float[np.ndarray, "n axis"],
    *,
    kernel: str,
    resolution: float,
    exclude_self: bool = False,
    neighbours: int = 0,
    coarse: Grid | None = None,
    memory_mb: float = 256.0,
    file: str | Path | None = None,
) -> DistanceRows:
    """The rows of :func:`posterior`, to be reduced block by block; arguments and errors as there.

    Embeddings may be read in slices, and their centred copy lies in ``file``, if one is named: then memory holds
    buffers and some numbers a sample, and the bytes of the result are the same.
    """
    check_parameters(embedding.shape[0], t, resolution, exclude_self)
    check_amounts(len(t), neighbours, 1, exclude_self)
    logarithm, rows = log_kernel(kernel), block_rows(len(t), memory_mb=memory_mb)
    buffers = int(memory_mb * 2**20 / (4 * len(t) * rows))
    factors, t = Factors.of(embedding, file=file), np.asarray(t, dtype=float)
    summed = np.column_stack([np.ones(len(t)), monomials(Frame.around(t).into(t))])
    spread = None if coarse is None else bilinear_weights(t, coarse).T.tocsr().astype(np.float32)
    problem = _Problem(
        factors, summed, logarithm, float(resolution), exclude_self, neighbours, spread, coarse
    )
    return DistanceRows(problem, rows, buffers)


def posterior_rows(
    embedding: Float[np.ndarray, "n d"],
    sources: Int[np.ndarray, "s"],
    *,
    kernel: str,
    resolution: float,
    exclude_self: bool = False,
) -> Float64[np.ndarray, "s n"]:
    """Whole posterior rows ``P(t_j | t_i)`` of a few sources ``i``, in float64.

    Args:
        embedding: embedding of each sample.
        sources: index of each source among the samples.
        kernel: as in :func:`posterior`.
        resolution: as in :func:`posterior`.
        exclude_self: give each source the probability zero in its own row.

    Raises:
        ValueError: on an unknown kernel, a resolution that is not positive, or a source that is no sample.
    """
    check_resolution(resolution)
    logit = log_kernel(kernel)(squared_distances(embedding, sources), resolution)
    if exclude_self:
        if len(embedding) < 2:
            raise ValueError("exclude_self needs at least two samples, not 1")
        logit[np.arange(len(sources)), sources] = -np.inf
    weight = np.exp(logit - logit.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


def block_rows(n: int, *, memory_mb: float) -> int:
    """Rows of a block: a power of two, at most ``ROWS``, such that the buffers of ``BUFFERS`` blocks fit.

    Raises:
        ValueError: if ``memory_mb`` holds less than one row each.
    """
    fitting = int(memory_mb * 2**20 / (BUFFERS * 4 * n))
    if fitting < 1:
        least = BUFFERS * 4 * n / 2**20
        raise ValueError(f"memory_mb={memory_mb} is less than {BUFFERS} rows of {n} samples: {least:.3g}")
    return min(ROWS, 1 << (fitting.bit_length() - 1))


@dataclass(frozen=True, eq=False)
class _Problem:
    """What every row block reads: samples centred and scaled, kernel, and what to keep."""

    factors: Factors
    monomials: Float64[np.ndarray, "n moment"]  # 1, u, v, u^2, u v, v^2 of the scaled parameters
    kernel: LogKernel
    resolution: float
    exclude_self: bool
    neighbours: int
    spread: csr_matrix | None  # node x sample
    coarse: Grid | None


@dataclass(frozen=True, eq=False)
class DistanceRows:
    """Rows of the posterior of all pairs, as ``strips.RowProblem``.

    Attributes:
        problem: what every block reads.
        rows: of a block.
        at_once: blocks whose buffers fit into memory.
    """

    problem: _Problem
    rows: int
    at_once: int
    _buffers: SimpleQueue[np.ndarray] = field(default_factory=SimpleQueue)

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.problem.factors.samples

    @property
    def blocks(self) -> int:
        """Number of row blocks."""
        return -(-self.samples // self.rows)

    def reduce(self, block: int) -> BlockSums:
        """All reductions of the rows of one block, in a buffer that later ones use again."""
        start, stop = block * self.rows, min((block + 1) * self.rows, self.samples)
        try:
            buffer = self._buffers.get_nowait()
        except Empty:
            buffer = np.empty((self.rows, self.samples), np.float32)
        try:
            return _reduce_rows(self.problem, start, buffer[: stop - start])
        finally:
            self._buffers.put(buffer)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the samples of each row, with weights ``w = exp(logit - peak)``."""

    moments: Float64[np.ndarray, "rows moment"]  # sum_j w_ij monomials_j
    logit: Float64[np.ndarray, "rows"]  # sum_j w_ij (logit_ij - peak_i)
    peak: Float32[np.ndarray, "rows"]


def _reduce_rows(problem: _Problem, start: int, weight: Float32[np.ndarray, "rows n"]) -> BlockSums:
    """All reductions of the rows from ``start`` on, in a buffer of as many."""
    sums = _weigh(problem, start, weight)
    total = sums.moments[:, 0]
    inverse = 1.0 / total
    # The few positive terms of a block sum to 1e-7 in float32; the many blocks are added in float64.
    marginal = (inverse.astype(np.float32) @ weight).astype(float)
    nearest, nearest_weight = _nearest(problem, weight, inverse)
    values = {
        "moments": sums.moments * inverse[:, None],
        "entropy": np.log(total) - sums.logit * inverse,
        "log_normaliser": np.log(total) + sums.peak,
        "neighbours": nearest,
        "neighbour_weights": nearest_weight,
        "coarse": _spread(problem, weight, inverse),
    }
    kept = {name: value for name, value in values.items() if value is not None}
    return BlockSums(np.arange(start, start + len(weight)), kept, [(slice(None), marginal)])


def _tiles(factors: Factors) -> Iterator[slice]:
    n, width = factors.samples, factors.width
    return (slice(start, min(start + width, n)) for start in range(0, n, width))


def _weigh(problem: _Problem, start: int, weight: Float32[np.ndarray, "rows n"]) -> _Sums:
    """Fill a row block with ``exp(logit - peak)``, tile by tile, and sum it up on the way."""
    rows = len(weight)
    source = problem.factors.sources(start, rows)
    peak = np.zeros(rows, np.float32)
    if problem.exclude_self:
        peak = _fill_logits(problem, source, start, weight)
    moments, mean_logit = np.zeros((rows, problem.monomials.shape[1])), np.zeros(rows)
    # Work space is kept from tile to tile: fresh pages for each would cost a tenth of the time.
    logits, weights = np.empty((2, rows, problem.factors.width), np.float32)
    wide = np.empty((min(STRIP, rows), problem.factors.width))
    for columns in _tiles(problem.factors):
        width = columns.stop - columns.start
        logit, tile = logits[:, :width], weights[:, :width]
        if problem.exclude_self:
            np.subtract(weight[:, columns], peak[:, None], out=logit)
        else:
            _logits(problem, source, start, columns, logit)
        np.clip(logit, FLOOR, 0.0, out=logit)
        np.exp(logit, out=tile)
        if problem.exclude_self:
            tile[_own(start, rows, columns)] = 0.0
        weight[:, columns] = tile
        mean_logit += np.vecdot(tile, logit)
        _add_product(moments, tile, problem.monomials[columns], wide[:, :width])
    return _Sums(moments, mean_logit, peak)


def _add_product(
    total: Float64[np.ndarray, "rows moment"],
    tile: Float32[np.ndarray, "rows columns"],
    monomials: Float64[np.ndarray, "columns moment"],
    wide: Float64[np.ndarray, "strip columns"],
) -> None:
    """Add ``tile @ monomials`` in float64, strip by strip through the work space ``wide``.

    A covariance is a small difference of these sums: in float32 they would cost it three more digits.
    """
    for start in range(0, len(tile), len(wide)):
        strip = tile[start : start + len(wide)]
        product = wide[: len(strip)]
        product[...] = strip
        total[start : start + len(strip)] += product @ monomials


def _fill_logits(
    problem: _Problem, source: np.ndarray, start: int, logit: Float32[np.ndarray, "rows n"]
) -> Float32[np.ndarray, "rows"]:
    """Fill a row block with logits and return the largest of each row.

    Only rows without their own sample need this pass: in the others the largest logit is the zero at distance
    zero.
    """
    peak = np.full(len(logit), -np.inf, np.float32)
    for columns in _tiles(problem.factors):
        part = logit[:, columns]
        _logits(problem, source, start, columns, part)
        np.maximum(peak, part.max(axis=1), out=peak)
    return peak


def _logits(problem: _Problem, source: np.ndarray, start: int, columns: slice, out: np.ndarray) -> None:
    """Log-kernel of one tile, with the distance of a sample to itself exact."""
    np.matmul(source, problem.factors.tile(columns.start), out=out)
    problem.factors.release(columns.start)
    own = _own(start, len(source), columns)
    out[own] = 0.0
    problem.kernel(out, problem.resolution, out=out)
    if problem.exclude_self:
        out[own] = -np.inf


def _own(start: int, rows: int, columns: slice) -> tuple[np.ndarray, np.ndarray]:
    """Where the samples of a row block meet themselves in a tile."""
    own = np.arange(max(start, columns.start), min(start + rows, columns.stop))
    return own - start, own - columns.start


def _nearest(
    problem: _Problem, weight: Float32[np.ndarray, "rows n"], inverse: Float64[np.ndarray, "rows"]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Most probable samples of each row and their probabilities; equal ones in order of index."""
    if not problem.neighbours:
        return None, None
    index = np.sort(np.argpartition(-weight, problem.neighbours - 1, axis=1)[:, : problem.neighbours], axis=1)
    chosen = np.take_along_axis(weight, index, axis=1)
    order = np.argsort(-chosen, axis=1, kind="stable")
    probability = np.take_along_axis(chosen, order, axis=1) * inverse[:, None]
    return np.take_along_axis(index, order, axis=1).astype(np.int64), probability.astype(np.float32)


def _spread(
    problem: _Problem, weight: Float32[np.ndarray, "rows n"], inverse: Float64[np.ndarray, "rows"]
) -> np.ndarray | None:
    """Rows spread over the coarse grid."""
    if problem.spread is None or problem.coarse is None:
        return None
    on_grid = (problem.spread @ weight.T).T * inverse[:, None]
    return on_grid.reshape(len(weight), *problem.coarse.shape).astype(np.float32)
