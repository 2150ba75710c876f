"""The problem behind reweighting: statistics with their numbers of samples, nodes with theirs, and the loss between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from hessgeo.free_energies.cells import Cells
from hessgeo.free_energies.standard_errors import NodeInverse, StandardErrors
from hessgeo.numerics import newton
from hessgeo.numerics.newton import Minimum

BLOCK = 2**23  # numbers in memory at once
LARGEST_CARRIED = 2**13  # distinct statistics that carry second derivatives and errors


class PlacedNodes(NamedTuple):
    """The nodes that stand for the samples' parameters.

    Attributes:
        points: natural parameters.
        weight: samples at each.
        potential: a first guess of ``F`` there.
        width: 90th percentile over samples of their cells' widths, in standard errors of ``t`` from one sample.
    """

    points: Float[np.ndarray, "node 2"]
    weight: Float[np.ndarray, "node"]
    potential: Float[np.ndarray, "node"]
    width: float


def reweighting_nodes(
    statistics: Float[np.ndarray, "n 2"], t: Float[np.ndarray, "n 2"], nodes: int
) -> PlacedNodes:
    """The samples' distinct parameters, or where they are more than ``nodes`` four for each cell of them."""
    cells = Cells.of(t, statistics - statistics.mean(axis=0), largest=max(nodes // 4, 1))
    points, weight = np.unique(t, axis=0, return_counts=True)
    width = 0.0
    if len(points) > nodes:
        points, weight = cells.nodes()
        width = float(np.quantile(cells.width, 0.9, weights=cells.count, method="inverted_cdf"))
    return PlacedNodes(points, weight, cells.potential(points), width)


@dataclass(frozen=True)
class Reweighting:
    """Statistics with their numbers of samples, and nodes with theirs."""

    statistics: Float[Tensor, "bin 2"]
    counts: Float[Tensor, "bin"]
    nodes: Float[Tensor, "node 2"]
    weight: Float[Tensor, "node"]

    @property
    def stride(self) -> int:
        """One in so many statistics carries second derivatives and errors; where they are sorted, a stratified part."""
        return max(1, len(self.counts) // LARGEST_CARRIED)

    def shares(self, values: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Blocks of statistics: ``log D``, and the posterior share ``q`` of each node."""
        step = self.stride * max(1, BLOCK // len(self.weight) // self.stride)
        for start in range(0, len(self.counts), step):
            part = slice(start, start + step)
            logits = self.statistics[part] @ self.nodes.T + (self.weight.log() - values)
            log_mixture = torch.logsumexp(logits, dim=1)
            yield part, log_mixture, (logits - log_mixture[:, None]).exp_()

    def carried(self, part: slice) -> Float[Tensor, "carried"]:
        """Numbers of samples of every ``stride``-th statistic, scaled to speak for all of the part."""
        few = self.counts[part][:: self.stride]
        return few * (self.counts[part].sum() / few.sum())

    def state(self, values: Float[Tensor, "node"]) -> State:
        """The loss and its derivatives."""
        log_mixtures, drawn = [], torch.zeros_like(values)
        overlap = values.new_zeros(len(values), len(values))
        for part, log_mixture, share in self.shares(values):
            log_mixtures.append(log_mixture)
            drawn += self.counts[part] @ share
            few = share[:: self.stride]
            overlap += few.T @ (self.carried(part)[:, None] * few)
        log_mixture = torch.cat(log_mixtures)
        loss = float(self.weight @ values + self.counts @ log_mixture)
        return State(self, values, loss, log_mixture, self.weight - drawn, overlap)

    def minimise(
        self,
        values: Float[Tensor, "node"],
        *,
        tolerance: float,
        max_iterations: int = 100,
        progress: bool = False,
    ) -> Minimum[State]:
        """Newton's method to the minimum, in the gauge where ``F`` is zero on average over the samples.

        Args:
            values: ``F`` at the nodes, to start from.
            tolerance: Newton decrement, in nats over all samples, to stop at.
            max_iterations: of Newton's method.
            progress: show the decrement on a progress bar.
        """
        with tqdm(total=max_iterations, desc="reweighting", disable=not progress) as bar:
            found = newton.minimise(
                self.state(values), tolerance=tolerance, max_iterations=max_iterations, what="reweighting",
                rounding=1e-10, prepare=State.matched, bar=bar,
            )  # fmt: skip
        return replace(found, point=found.point.centred())


@dataclass(frozen=True)
class State:
    """The loss at some node values, its gradient, and what its second derivative is made of; a ``newton.Point``."""

    problem: Reweighting
    values: Float[Tensor, "node"]
    loss: float
    log_mixture: Float[Tensor, "bin"]  # log D
    gradient: Float[Tensor, "node"]
    overlap: Float[Tensor, "node node"]  # sum_b n_b q_bg q_bh

    def newton(self) -> tuple[Float[Tensor, "node"], float]:
        """See ``newton.Point``."""
        inverse = NodeInverse.of(self.overlap, self.problem.weight)
        step = -inverse(self.gradient[:, None])[:, 0]
        return step, -float(self.gradient @ step) / 2

    def moved(self, step: Any, length: float) -> State:
        """See ``newton.Point``."""
        return self.problem.state(self.values + length * step)

    def matched(self) -> State:
        """The state at ``F_g = log sum_b n_b exp(<f_b, t_g>) / D_b`` where that of some node is far too high.

        Newton moves such a node by no more than a nat at a time, this at once; the loss never rises, since it
        minimises a majorant.
        """
        problem, values = self.problem, []
        if not bool((self.gradient > problem.weight / 2).any()):
            return self
        for few in torch.arange(len(problem.weight)).split(max(1, BLOCK // len(problem.counts))):
            logits = problem.nodes[few] @ problem.statistics.T + (problem.counts.log() - self.log_mixture)
            values.append(torch.logsumexp(logits, dim=1))
        return problem.state(torch.cat(values))

    def centred(self) -> State:
        """With ``F`` zero on average over the samples."""
        level = float(self.problem.weight @ self.values / self.problem.weight.sum())
        return replace(self, values=self.values - level, log_mixture=self.log_mixture + level)

    def on_cpu(self) -> State:
        """The same, its problem included, with its tensors on the CPU."""
        problem = Reweighting(*(tensor.cpu() for tensor in vars(self.problem).values()))
        tensors: dict[str, Any] = {name: x.cpu() for name, x in vars(self).items() if isinstance(x, Tensor)}
        return replace(self, problem=problem, **tensors)

    def errors(self) -> StandardErrors:
        """What errors follow from, at the minimum."""
        problem = self.problem
        share = torch.cat([share[:: problem.stride] for _, _, share in problem.shares(self.values)])
        return StandardErrors(
            statistics=problem.statistics[:: problem.stride],
            counts=problem.carried(slice(0, len(problem.counts))),
            log_mixture=self.log_mixture[:: problem.stride],
            share=share,
            nodes=problem.nodes,
            weight=problem.weight,
            overlap=self.overlap,
            inverse=NodeInverse.of(self.overlap, problem.weight),
        )
