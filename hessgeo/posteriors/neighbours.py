"""The posterior of every sample from its neighbourhood alone, with a bound on the mass that lies outside.

Samples are sorted into tiles (``tiles``). A tile ``J`` in a ball of radius ``r_J`` about ``c_J`` adds at most
``|J| k(|E_i - c_J| - r_J)`` to the sum ``S_i = sum_j k(|E_i - E_j|)`` of a sample ``i``, for the kernels ``k`` fall
with the distance. Tiles are summed from near to far, twice as many each time, until for every sample the bounds of
all others are at most a stated share of what is summed. Where distances do not tell tiles apart that is all of them,
and the posterior is exact. Nothing is estimated: the bound holds of every row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from scipy.sparse import csc_matrix
from torch import Tensor

from hessgeo.grids import Frame, Grid, bilinear_weights
from hessgeo.posteriors.base import Posterior, monomials
from hessgeo.posteriors.checks import check_amounts, check_parameters
from hessgeo.posteriors.kernels import Rows, log_kernel
from hessgeo.posteriors.strips import BlockSums, whole_posterior
from hessgeo.posteriors.tiles import TILE, Cut, Tiles, make_tiles

GROUP = 4  # tiles whose distances are taken at once


def neighbour_posterior(
    embedding: Rows,
    t: Float[np.ndarray, "n axis"],
    *,
    kernel: str = "gaussian",
    resolution: float,
    missing: float = 1e-6,
    exclude_self: bool = False,
    neighbours: int = 0,
    coarse: Grid | None = None,
    threads: int = 1,
    memory_mb: float = 256.0,
    tile: int = TILE,
    file: str | Path | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> Posterior:
    """Moments of the posterior ``P(t_j | t_i) = softmax_j log_kernel(|E_i - E_j|)``, up to a stated share of each row.

    Of each row at most the share ``missing`` is left out, so that it is within ``missing`` of the whole row in total
    variation: a mean within ``missing`` times the extent of ``t``, ``log_normaliser`` within ``missing``. The
    marginal may lack the same share once more. Both are zero where all samples were summed.

    Rounding: products and exponentials are float32, distances are taken about the centre of the sample's own
    tile, reductions of a row are float64. The result has the same bytes whatever the number of threads and however
    the embedding is read. Memory: the copy of the embedding (in ``file``, if one is named), some numbers a sample, and
    weights of tiles, ``memory_mb`` of them; what does not fit is computed twice.

    Args:
        embedding: embedding ``E_i`` of each sample, in memory or read in slices.
        t: its parameters.
        kernel: ``gaussian``, ``-N/2 d^2``, or ``laplace``, ``-N d``.
        resolution: the resolution number ``N``.
        missing: share of a row's mass that may be left out, above 0 and at most 0.01.
        exclude_self: leave each sample out of its own posterior.
        neighbours: number of most probable samples to keep per row, exact among those that are more probable than
            ``missing``; of equally probable ones any. 0 keeps none.
        coarse: grid onto which each row is spread bilinearly, or None. It must cover all ``t``.
        threads: threads that work at once on a CPU; of another device one.
        memory_mb: bound on the weights that all threads keep, in MiB.
        tile: samples of a tile, at most.
        file: where to keep the sorted copy of the embedding; None: in memory.
        device: where to compute.
        progress: show a progress bar of tiles.

    Raises:
        ValueError: on shapes that do not match, values that are not finite, an unknown kernel, a number out
            of range, or a ``coarse`` grid that does not cover ``t``.
    """
    about: dict[str, Any] = {"kernel": kernel, "resolution": resolution, "exclude_self": exclude_self}
    problem = neighbour_rows(
        embedding, t, **about, missing=missing, neighbours=neighbours, coarse=coarse, threads=threads,
        memory_mb=memory_mb, tile=tile, file=file, device=device,
    )  # fmt: skip
    with single_threads():
        threads = threads if device == "cpu" else 1
        return whole_posterior(problem, t, threads=threads, progress=progress, **about)


def neighbour_rows(
    embedding: Rows,
    t: Float[np.ndarray, "n axis"],
    *,
    kernel: str,
    resolution: float,
    missing: float = 1e-6,
    exclude_self: bool = False,
    neighbours: int = 0,
    coarse: Grid | None = None,
    threads: int = 1,
    memory_mb: float = 256.0,
    tile: int = TILE,
    cut: Cut | None = None,
    file: str | Path | None = None,
    device: str = "cpu",
) -> NeighbourRows:
    """The rows of :func:`neighbour_posterior`, to be reduced tile by tile; arguments and errors as there.

    By ``cut``, if there is one, samples are sorted into tiles as jobs on several machines have agreed.
    """
    n = embedding.shape[0]
    check_parameters(n, t, resolution, exclude_self)
    check_amounts(n, neighbours, threads, exclude_self)
    if not 0 < missing <= 0.01:
        raise ValueError(f"missing must lie above 0 and at most at 0.01, not {missing}")
    log_kernel(kernel)
    tiles = make_tiles(embedding, tile=tile, cut=cut, file=file, device=device)
    kept = int(memory_mb * 2**20 / (threads * 4 * tile))
    t = np.asarray(t, dtype=float)[tiles.order]
    summed = np.column_stack([np.ones(n), monomials(Frame.around(t).into(t))])
    spread = None if coarse is None else bilinear_weights(t, coarse).T.tocsc().astype(np.float32)
    return NeighbourRows(
        tiles, torch.from_numpy(summed).to(tiles.rows.device), kernel, float(resolution), missing, exclude_self,
        neighbours, torch.arange(n), spread, coarse, kept,
    )  # fmt: skip


@contextmanager
def single_threads() -> Iterator[None]:
    """Operations of torch on one thread each, for a ``with`` block: the tiles go side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over some samples of each row, with weights ``w = exp(logit - peak)``."""

    peak: Float32[Tensor, "rows"]  # largest logit among them
    moments: Float64[Tensor, "rows moment"]  # sum_j w_ij monomials_j, the first of which is 1
    logit: Float64[Tensor, "rows"]  # sum_j w_ij (logit_ij - peak_i)

    @property
    def log_total(self) -> Float64[Tensor, "rows"]:
        """Logarithm of the kernel's sum."""
        return self.moments[:, 0].log() + self.peak

    def plus(self, other: _Sums) -> _Sums:
        """Sums over the samples of both."""
        peak = torch.maximum(self.peak, other.peak)
        moments, logit = torch.zeros_like(self.moments), torch.zeros_like(self.logit)
        for sums in (self, other):
            lower = (sums.peak - peak).double()
            scale = lower.exp()
            moments += scale[:, None] * sums.moments
            logit += scale * (sums.logit + lower * sums.moments[:, 0])
        return _Sums(peak, moments, logit)


@dataclass(frozen=True, eq=False)
class _Group:
    """A few tiles, seen from the samples of one: weights relative to the peak of each row among them."""

    tiles: tuple[int, ...]
    sums: _Sums
    weight: Float32[Tensor, "rows m"] | None  # None: to be computed again


@dataclass(frozen=True, eq=False)
class _Rows:
    """Reductions of the rows of one tile."""

    sums: _Sums
    missing: Float64[np.ndarray, "rows"]
    seen: int  # samples that were summed
    marginal: list[tuple[Int64[np.ndarray, "m"], Float64[np.ndarray, "m"]]]  # places, and what is added there
    neighbours: Int64[np.ndarray, "rows k"] | None = None
    neighbour_weights: Float32[np.ndarray, "rows k"] | None = None
    coarse: Float32[np.ndarray, "rows *cells"] | None = None


@dataclass(frozen=True, eq=False)
class NeighbourRows:
    """Rows of the posterior by neighbours, as ``strips.RowProblem``: samples in tiles, kernel, and what to keep."""

    tiles: Tiles
    monomials: Float64[Tensor, "n moment"]  # 1, u, v, u^2, u v, v^2 of the parameters in box units, in places
    kernel: str
    resolution: float
    missing: float
    exclude_self: bool
    neighbours: int
    places: Int64[Tensor, "n"]
    spread: csc_matrix | None  # node x place
    coarse: Grid | None
    kept: int  # weights of as many columns are kept of the rows of a tile

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.places)

    @property
    def blocks(self) -> int:
        """Number of tiles."""
        return self.tiles.count

    @property
    def at_once(self) -> int:
        """Tiles at once: as many as there are, for what does not fit into memory is computed twice."""
        return self.tiles.count

    def reduce(self, block: int) -> BlockSums:
        """All reductions of the rows of one tile."""
        rows, order = self._reduce(block), self.tiles.order
        here, total = order[self.tiles.places(block)], rows.sums.moments[:, :1]
        log_total = total[:, 0].log()
        values = {
            "moments": (rows.sums.moments / total).cpu().numpy(),
            "entropy": (log_total - rows.sums.logit / total[:, 0]).clamp(min=0).cpu().numpy(),
            "log_normaliser": (log_total + rows.sums.peak).cpu().numpy(),
            "missing": rows.missing,
            "seen": np.full(len(here), rows.seen, np.int64),
            "neighbours": rows.neighbours,
            "neighbour_weights": rows.neighbour_weights,
            "coarse": rows.coarse,
        }
        kept = {name: value for name, value in values.items() if value is not None}
        return BlockSums(here, kept, [(order[places], added) for places, added in rows.marginal])

    def _reduce(self, own: int) -> _Rows:
        log_bound = self._log_mass_bounds(own)
        order = _near_to_far(own, log_bound)
        # What all tiles from each place of the order on can add; from the end on nothing.
        beyond = log_bound[:, order].flip(1).logcumsumexp(1).flip(1)
        beyond = torch.nn.functional.pad(beyond, (0, 1), value=-torch.inf)
        least = self._least(order)
        first = self._group(own, tuple(order[:least]))
        sums, groups, seen, wanted = first.sums, [first], least, least
        while True:
            settled = (beyond <= np.log(self.missing) + sums.log_total[:, None]).all(dim=0)
            wanted = min(2 * seen, int(settled.int().argmax()))
            if wanted <= seen:
                break
            for start in range(seen, wanted, GROUP):
                group = self._group(own, tuple(order[start : min(start + GROUP, wanted)]))
                sums = sums.plus(group.sums)
                groups += self._kept(group, sums, groups)
            seen = wanted
        missing = (beyond[:, seen] - sums.log_total).exp().cpu().numpy()
        columns = int(np.diff(self.tiles.starts)[order[:seen]].sum())
        return self._spread(own, groups, _Rows(sums, missing, columns, []))

    def _log_mass_bounds(self, own: int) -> Float64[Tensor, "rows tile"]:
        """Logarithm of the most that each tile can add to the kernel's sum of each sample of this one."""
        size = torch.from_numpy(np.diff(self.tiles.starts)).to(self.tiles.rows.device)
        return size.double().log() + self._log_kernel(self.tiles.distance_bounds(own) ** 2)

    def _log_kernel(self, squared: Tensor) -> Tensor:
        """The kernel of ``kernels.KERNELS``, of a tensor of squared distances."""
        if self.kernel == "gaussian":
            return squared * (-0.5 * self.resolution)
        return squared.sqrt() * -self.resolution

    def _least(self, order: list[int]) -> int:
        """Tiles to sum at least: enough to hold the neighbours that are to be kept."""
        held = np.cumsum(np.diff(self.tiles.starts)[order])
        return int(np.searchsorted(held, self.neighbours + self.exclude_self)) + 1

    def _group(self, own: int, some: tuple[int, ...]) -> _Group:
        """Weights of some tiles, and their sums."""
        peak, logit = self._below_peak(own, some)
        weight = logit.exp()
        # Of the sample itself, if it is left out, 0 times -inf.
        logit = logit.clamp(min=-200.0)
        moments = weight.double() @ torch.cat([self.monomials[self.tiles.places(tile)] for tile in some])
        return _Group(some, _Sums(peak, moments, torch.linalg.vecdot(weight, logit).double()), weight)

    def _below_peak(
        self, own: int, some: tuple[int, ...]
    ) -> tuple[Float32[Tensor, "rows"], Float32[Tensor, "rows m"]]:
        """The largest logit of each row among some tiles, and logits relative to it."""
        logit = self._logits(own, some)
        peak = logit.amax(1)
        return peak, logit.sub_(peak[:, None])

    def _logits(self, own: int, some: tuple[int, ...]) -> Float32[Tensor, "rows m"]:
        """Log-kernel of the rows of a tile and the samples of some, with the distance of a sample to itself exact."""
        rows, centre = self.tiles.rows, self.tiles.centre[own].float()
        source = rows[self.tiles.places(own)] - centre
        target = torch.cat([rows[self.tiles.places(tile)] for tile in some]).sub_(centre)
        squared = torch.addmm((target**2).sum(1), source, target.T, alpha=-2.0)
        squared += (source**2).sum(1)[:, None]
        squared.clamp_(min=0.0)
        self._itself(own, some, squared).fill_(0.0)
        logit = self._log_kernel(squared)
        if self.exclude_self:
            self._itself(own, some, logit).fill_(-torch.inf)
        return logit

    def _itself(self, own: int, some: tuple[int, ...], of: Tensor) -> Tensor:
        """A view of where the samples of a tile meet themselves among some tiles."""
        if own not in some:
            return of[:0]
        return of.diagonal(int(np.diff(self.tiles.starts)[list(some[: some.index(own)])].sum()))

    def _kept(self, group: _Group, sums: _Sums, before: list[_Group]) -> list[_Group]:
        """A group whose weights are needed again, with them as long as there is room; of negligible ones none.

        All groups whose mass is a negligible share of any row hold at most the share ``missing`` of it.
        """
        share = (group.sums.log_total - sums.log_total).amax()
        if share <= np.log(self.missing / self.tiles.count):
            return []
        held = sum(one.weight.shape[1] for one in before if one.weight is not None)
        width = 0 if group.weight is None else group.weight.shape[1]
        return [group if held + width <= self.kept else replace(group, weight=None)]

    def _spread(self, own: int, groups: list[_Group], found: _Rows) -> _Rows:
        """The second pass: what needs the weights once their sums are known."""
        nearest: tuple[Tensor, Tensor] | None = None
        coarse = None
        for group in groups:
            weight = self._below_peak(own, group.tiles)[1].exp() if group.weight is None else group.weight
            scale = (group.sums.peak - found.sums.peak).double().exp() / found.sums.moments[:, 0]
            places = torch.cat([self.places[self.tiles.places(tile)] for tile in group.tiles])
            found.marginal.append((places.numpy(), (scale.float() @ weight).double().cpu().numpy()))
            if not self.neighbours and self.spread is None:
                continue
            probability = (weight * scale.float()[:, None]).cpu()
            if self.spread is not None:
                part = (self.spread[:, places.numpy()] @ probability.numpy().T).T
                coarse = part if coarse is None else coarse + part
            if self.neighbours:
                if self.exclude_self:
                    self._itself(own, group.tiles, probability).fill_(-1.0)
                nearest = _most_probable(nearest, probability, places, self.neighbours)
        if nearest is not None:
            sample, chosen = self.tiles.order[nearest[1].numpy()], nearest[0].numpy()
            order = np.lexsort((sample, -chosen), axis=-1)
            found = replace(
                found,
                neighbours=np.take_along_axis(sample, order, axis=1),
                neighbour_weights=np.take_along_axis(chosen, order, axis=1),
            )
        if coarse is not None and self.coarse is not None:
            coarse = coarse.reshape(len(coarse), *self.coarse.shape).astype(np.float32)
        return replace(found, coarse=coarse)


def _near_to_far(own: int, log_bound: Float64[Tensor, "rows tile"]) -> list[int]:
    """Tiles in the order in which they are summed: the own one, then by the most they can add to any row."""
    most = log_bound.amax(0)
    most[own] = torch.inf
    return most.argsort(descending=True, stable=True).tolist()


def _most_probable(
    before: tuple[Float32[Tensor, "rows k"], Int64[Tensor, "rows k"]] | None,
    probability: Float32[Tensor, "rows m"],
    places: Int64[Tensor, "m"],
    k: int,
) -> tuple[Float32[Tensor, "rows k"], Int64[Tensor, "rows k"]]:
    """The ``k`` most probable samples of each row among those before and some more, with their places."""
    places = places.expand(len(probability), -1)
    if before is not None:
        probability = torch.cat([before[0], probability], dim=1)
        places = torch.cat([before[1], places], dim=1)
    most = probability.topk(k, dim=1)
    return most.values, places.gather(1, most.indices)
