"""The normaliser of the exponential-family network for statistics as they are: a convex problem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hessgeo.free_energies.reweighting_problem import Reweighting
from hessgeo.grids import Grid
from hessgeo.learned.exponential import ExponentialNetwork, Natural
from hessgeo.numerics.factor import cholesky
from hessgeo.numerics.newton import minimise

ROWS = 2048  # states at once, which share one draw of the nodes
# Prior on the third derivatives of A: those of a free energy of a nat a site over the box, rounded.
SMOOTHNESS = 1.0
_FIRST, _START_TOLERANCE, _START_STEPS = (
    4096,
    1.0,
    100,
)  # samples, nats over all of them, and steps of the start


class CellDraws:
    """One point drawn uniformly in each cell of a grid; a state's own parameter takes the place of its cell's point.

    Among the points so drawn the one that made ``x`` is as likely to lie in any cell, and given all of them it is
    ``j`` with a probability proportional to ``p(x | t_j)``, whatever the width of the cells: the likelihood of
    that choice is a consistent loss at any resolution (noise contrast, Gutmann and Hyvarinen 2012, stratified).

    Args:
        cells: their middles.
        natural: from the parameters of the study to natural ones.
    """

    def __init__(self, cells: Grid, natural: Natural) -> None:
        self.cells, self.natural = cells, natural
        self.spacing = np.array(cells.spacing)

    def draw(
        self, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "cell 2"], Float[np.ndarray, "cell 2"]]:
        """The points, and their natural parameters."""
        t = self.cells.points + (rng.random((self.cells.size, 2)) - 0.5) * self.spacing
        return t, self.natural(t)

    def cell(self, t: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n"]:
        """Number of the cell of each parameter."""
        position = np.rint((t - self.cells.points[0]) / self.spacing).astype(np.int64)
        position = position.clip(0, np.array(self.cells.shape) - 1)
        return position[:, 0] * self.cells.shape[1] + position[:, 1]


def fit_normaliser(
    network: ExponentialNetwork,
    f: Float[Tensor, "n d"],
    t: Float[np.ndarray, "n 2"],
    strata: CellDraws,
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 20,
    seed: int = 0,
) -> dict[str, float | int | bool]:
    """Put ``A`` where the posteriors of the statistics, as they are, have the highest likelihood.

    With ``A = c B(t)`` the loss, a log-sum-exp of functions linear in ``c`` less one of them, is convex. To it comes a
    prior on the third derivatives of ``A``, whose fine structure the posteriors, being wider, hardly show. Newton's
    method starts at the splines nearest to the values that reweighting finds for the cells, free of any splines.

    Args:
        network: changed in place.
        f: ``network.encoder`` of each state.
        t: parameter of each state.
        strata: of the nodes.
        tolerance: Newton decrement in nats a sample to stop at.
        max_iterations: of Newton's method.
        seed: of the nodes, drawn once.

    Returns:
        ``converged``, ``iterations``, ``decrement`` (nats a sample) and ``loss`` (nats a sample, without the prior).
    """
    problem = _Problem(network, f, t, strata, seed)
    found = minimise(
        _Point(problem, problem.start(t)), tolerance=tolerance * len(t), max_iterations=max_iterations,
        what="normaliser of the network", halvings=20,
    )  # fmt: skip
    point = found.point
    with torch.no_grad():
        network.potential.copy_(point.c.reshape(network.basis.shape))
    return {
        "converged": found.converged,
        "iterations": found.iterations,
        "decrement": found.decrement / len(t),
        "loss": (point.loss - problem.penalty(point.c)) / len(t),
    }


def _factor(hessian: Float[Tensor, "size size"]) -> Float[Tensor, "size size"]:
    """Cholesky factor; sums of single precision may leave what is flat slightly negative."""
    return cholesky(hessian, "normaliser of the network", firm=(1e-6, 1e-4))


class _Problem:
    """Statistics, nodes and the prior of the coefficients of ``A``."""

    def __init__(
        self,
        network: ExponentialNetwork,
        f: Float[Tensor, "n d"],
        t: Float[np.ndarray, "n 2"],
        strata: CellDraws,
        seed: int,
    ) -> None:
        self.network, self.f = network, f
        rng = np.random.default_rng([seed, 2])
        eta, self.own = self._points(t, strata.natural(t))
        self.own_logit = (f * eta).sum(dim=1)
        self.cell = torch.from_numpy(strata.cell(t))
        self.blocks = [slice(k, k + ROWS) for k in range(0, len(t), ROWS)]
        self.nodes = [self._points(*strata.draw(rng)) for _ in self.blocks]
        # F grows with the number of sites, and so do its derivatives. The constant, which nothing determines, goes
        # with the identity.
        weight = SMOOTHNESS / math.prod(network.config.state_shape) ** 2
        self.prior = weight * network.basis.third_difference_penalty() + 1e-6 * torch.eye(network.basis.size)

    def start(self, t: Float[np.ndarray, "n 2"]) -> Float[Tensor, "size"]:
        """Splines through the free energy at the middles of the cells, from some of the samples."""
        cells, few = self.network.config.cells, slice(0, _FIRST)
        with torch.no_grad():
            eta = self.network.standardised_eta(
                torch.from_numpy(cells.points), self.network.natural_cells.cpu()
            )
        f = self.f[few].double()
        weight = torch.full((cells.size,), len(f) / cells.size, dtype=torch.float64)
        problem = Reweighting(f, torch.ones(len(f), dtype=torch.float64), eta.double(), weight)
        start = torch.zeros_like(weight)
        fit = problem.minimise(start, tolerance=_START_TOLERANCE, max_iterations=_START_STEPS).point
        spline = self.network.basis.matrix(torch.from_numpy(cells.points))
        square = spline.T @ spline + self.prior
        return torch.linalg.solve(square, spline.T @ fit.values)

    def _points(self, t: np.ndarray, natural: np.ndarray) -> tuple[Tensor, Tensor]:
        """``eta`` and the splines at points, single precision."""
        points, image = torch.from_numpy(t), torch.from_numpy(natural)
        with torch.no_grad():
            eta = self.network.standardised_eta(points, image)
        return eta.float(), self.network.basis.matrix(points).float()

    def penalty(self, c: Float[Tensor, "size"]) -> float:
        return float(c @ self.prior @ c) / 2

    def _logits(
        self, c: Float[Tensor, "size"], block: int
    ) -> tuple[Float[Tensor, "rows node"], Float[Tensor, "rows"]]:
        """Of every node, the own one in the place of its cell, and of the own one alone."""
        rows, c = self.blocks[block], c.float()
        eta, spline = self.nodes[block]
        logits = torch.addmm(-(spline @ c), self.f[rows], eta.T)
        own = self.own_logit[rows] - self.own[rows] @ c
        return logits.scatter_(1, self.cell[rows, None], own[:, None]), own

    def loss(self, c: Float[Tensor, "size"]) -> float:
        total = 0.0
        for block in range(len(self.blocks)):
            logits, own = self._logits(c, block)
            total += float((logits.logsumexp(dim=1) - own).double().sum())
        return total + self.penalty(c)

    def derivatives(
        self, c: Float[Tensor, "size"]
    ) -> tuple[Float[Tensor, "size"], Float[Tensor, "size size"]]:
        """Gradient and Hessian of the loss; the second is the splines' covariance under the posterior."""
        gradient, hessian = torch.zeros_like(c), torch.zeros_like(self.prior)
        for block, rows in enumerate(self.blocks):
            logits, _ = self._logits(c, block)
            q = (logits - logits.logsumexp(dim=1)[:, None]).exp_()
            mine = q.gather(1, self.cell[rows, None])
            q.scatter_(1, self.cell[rows, None], 0.0)
            spline, at_own = self.nodes[block][1], self.own[rows]
            mean = q @ spline + mine * at_own
            gradient += (at_own - mean).sum(dim=0)
            hessian += (
                (q.sum(dim=0)[:, None] * spline).T @ spline + (mine * at_own).T @ at_own - mean.T @ mean
            )
        return gradient + self.prior @ c, hessian + self.prior


@dataclass(frozen=True)
class _Point:
    """Coefficients of ``A``; a ``newton.Point``."""

    problem: _Problem
    c: Float[Tensor, "size"]

    @cached_property
    def loss(self) -> float:
        return self.problem.loss(self.c)

    def newton(self) -> tuple[Float[Tensor, "size"], float]:
        gradient, hessian = self.problem.derivatives(self.c)
        step = -torch.cholesky_solve(gradient[:, None], _factor(hessian))[:, 0]
        return step, -float(gradient @ step) / 2

    def moved(self, step: Float[Tensor, "size"], length: float) -> _Point:
        return _Point(self.problem, self.c + length * step)
