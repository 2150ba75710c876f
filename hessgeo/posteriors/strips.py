"""A posterior strip by strip: what threads, jobs or workers of a cluster reduce, joined in one order.

Rows come in blocks, and blocks in at most ``STRIPS`` strips. The marginal, a sum over rows, is added up within a strip
in the order of its blocks and over strips in theirs, so that no byte depends on where or when a strip was made. What
waits to be added takes at most 2 kB a sample, as much as an embedding of 512 numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hessgeo.grids import Frame
from hessgeo.posteriors.base import Posterior, central_moments

STRIPS = 256
AHEAD = 2  # blocks a thread that may wait to be joined
BLOCK = 256  # rows of a block at most, of either method

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class BlockSums:
    """Reductions of a block of rows.

    Attributes:
        sources: the samples whose rows these are.
        values: of each row: ``moments`` (means of 1 and ``monomials`` in box units), ``entropy``,
            ``log_normaliser``, and what else a ``Posterior`` keeps of rows, by its name there.
        added: what the rows add to the marginal: samples, and how much to each.
    """

    sources: Int64[np.ndarray, "rows"]
    values: Mapping[str, Shaped[np.ndarray, "rows *item"]]
    added: Sequence[tuple[Int64[np.ndarray, "m"] | slice, Float64[np.ndarray, "m"]]]


@runtime_checkable
class RowProblem(Protocol):
    """A posterior whose rows can be reduced block by block, in any order and on any thread."""

    @property
    def samples(self) -> int:
        """Number of samples."""

    @property
    def blocks(self) -> int:
        """Number of blocks, which depends on nothing but samples and settings."""

    @property
    def at_once(self) -> int:
        """Blocks that fit into the memory that it was given."""

    def reduce(self, block: int) -> BlockSums:
        """Reductions of one block."""


@dataclass(frozen=True, eq=False)
class Strip:
    """Reductions of the rows of some blocks.

    Attributes:
        number: of the strip, among ``strip_count``.
        sources: as in ``BlockSums``.
        values: as in ``BlockSums``.
        marginal: what these rows add to the marginal.
    """

    number: int
    sources: Int64[np.ndarray, "rows"]
    values: Mapping[str, Shaped[np.ndarray, "rows *item"]]
    marginal: Float64[np.ndarray, "n"]


def strip_count(blocks: int) -> int:
    """Strips of so many blocks."""
    return min(STRIPS, blocks)


def share(part: int, parts: int, count: int) -> range:
    """Those of ``count`` things that are in one of ``parts`` parts, whose sizes differ by one at most."""
    return range(part * count // parts, (part + 1) * count // parts)


def reduced_strips(
    problem: RowProblem, strips: Sequence[int], *, threads: int = 1, progress: bool = False
) -> Iterator[Strip]:
    """Reduce some strips, one after another; the blocks of all of them go side by side.

    Args:
        problem: the rows.
        strips: numbers of the strips, in increasing order.
        threads: threads that work at once, as far as the problem's memory allows, each with BLAS on one thread.
        progress: show a progress bar of blocks.
    """
    count = strip_count(problem.blocks)
    own = [share(strip, count, problem.blocks) for strip in strips]
    threads = min(threads, problem.at_once)
    bar = tqdm(total=sum(map(len, own)), desc="posterior", unit="block", disable=not progress)
    with bar, threadpool_limits(limits=1, user_api="blas"):
        reduced = _in_order(problem.reduce, [block for blocks in own for block in blocks], threads)
        for strip, blocks in zip(strips, own, strict=True):
            sources, values, marginal = [], [], np.zeros(problem.samples)
            for sums in islice(reduced, len(blocks)):
                sources.append(sums.sources)
                values.append(sums.values)
                for places, added in sums.added:
                    marginal[places] += added
                bar.update()
            joined = {name: np.concatenate([one[name] for one in values]) for name in values[0]}
            yield Strip(strip, np.concatenate(sources), joined, marginal)


def _in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Results in the order of the items, few of which are worked on or wait at any time."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def joined_posterior(
    strips: Iterable[Strip],
    t: Float[np.ndarray, "n axis"],
    *,
    kernel: str,
    resolution: float,
    exclude_self: bool,
) -> Posterior:
    """The posterior whose strips these are, all of them in their order.

    Raises:
        ValueError: if strips are missing, not in order, or not of these samples.
    """
    t = np.asarray(t, dtype=float)
    arrays: dict[str, np.ndarray] = {}
    marginal, rows = np.zeros(len(t)), np.zeros(len(t), int)
    for number, strip in enumerate(strips):
        if strip.number != number or len(strip.marginal) != len(t):
            raise ValueError(
                f"strip {strip.number} of {len(strip.marginal)} samples stands where strip {number} of {len(t)} must"
            )
        for name, value in strip.values.items():
            if name not in arrays:
                arrays[name] = np.zeros((len(t), *value.shape[1:]), value.dtype)
            arrays[name][strip.sources] = value
        marginal += strip.marginal
        rows[strip.sources] += 1
    if (wrong := np.flatnonzero(rows != 1)).size:
        raise ValueError(f"the row of sample {wrong[0]} is in {rows[wrong[0]]} of the strips, not in one")
    frame, moments = Frame.around(t), arrays.pop("moments")
    scale = np.array(frame.half)
    return Posterior(
        t=t,
        mean=np.array(frame.centre) + scale * moments[:, 1 : len(scale) + 1],
        central_moment=central_moments(moments[:, 1:], scale),
        marginal=marginal,
        resolution=float(resolution),
        kernel=kernel,
        exclude_self=exclude_self,
        **arrays,
    )


def whole_posterior(
    problem: RowProblem, t: Float[np.ndarray, "n axis"], *, threads: int, progress: bool, **about: Any
) -> Posterior:
    """All strips, reduced here and now; ``about`` as in ``joined_posterior``."""
    strips = range(strip_count(problem.blocks))
    return joined_posterior(reduced_strips(problem, strips, threads=threads, progress=progress), t, **about)
