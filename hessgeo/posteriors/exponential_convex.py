"""The last layer of the exponential-family network, where its loss is convex, by Newton's method."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hessgeo.grids import Grid
from hessgeo.posteriors.exponential import ExponentialNetwork, Natural

ROWS = 2048  # states at once, which share one draw of the nodes
# Prior on the third derivatives of A: those of a free energy of a nat a site over the box, rounded.
SMOOTHNESS = 1.0
_HALVINGS = 20


class Strata:
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


@dataclass(frozen=True)
class _State:
    loss: float
    gradient: Float[Tensor, "size"]
    hessian: Float[Tensor, "size size"]


def fit_last_layer(
    network: ExponentialNetwork,
    features: Float[Tensor, "n feature"],
    t: Float[np.ndarray, "n 2"],
    strata: Strata,
    *,
    ridge: float,
    tolerance: float = 1e-5,
    max_iterations: int = 20,
    seed: int = 0,
) -> dict[str, float | int | bool]:
    """Put the last linear maps of ``f``, and ``A``, where the loss is least for the features and ``eta`` as they are.

    With ``f = W phi(x)`` and ``A = c B(t)`` the loss, a log-sum-exp of functions linear in ``(W, c)`` less one of them,
    is convex. To it comes ``ridge / 2 |W|^2``, features being standardised, and a prior on the third derivatives of
    ``A``, whose fine structure the posteriors, being wider, hardly show. Constants in ``f`` are dropped: the splines of
    ``A`` hold them.

    Args:
        network: changed in place.
        features: ``network.encoder.features`` of each state.
        t: parameter of each state.
        strata: of the nodes.
        ridge: in nats, over all samples.
        tolerance: Newton decrement in nats a sample to stop at.
        max_iterations: of Newton's method.
        seed: of the nodes, drawn once.

    Returns:
        ``converged``, ``iterations``, ``decrement`` (nats a sample) and ``loss`` (nats a sample, without ridge).
    """
    problem = _Problem(network, features, t, strata, ridge, seed)
    theta = problem.start()
    state = problem.state(theta)
    iterations, decrement = 0, np.inf
    while iterations < max_iterations:
        step = -torch.cholesky_solve(state.gradient[:, None], _factor(state.hessian))[:, 0]
        slope = float(state.gradient @ step)
        decrement = -slope / 2 / len(t)
        if decrement <= tolerance:
            break
        length = 1.0
        for _ in range(_HALVINGS):
            trial = theta + length * step
            value = problem.loss(trial)
            if value <= state.loss + 1e-4 * length * slope:
                break
            length /= 2
        else:
            raise ArithmeticError("Newton's method found no decrease in the last layer")
        theta, iterations = trial, iterations + 1
        state = problem.state(theta)
    problem.finish(theta)
    return {
        "converged": decrement <= tolerance,
        "iterations": iterations,
        "decrement": decrement,
        "loss": (state.loss - problem.penalty(theta)) / len(t),
    }


def _factor(hessian: Float[Tensor, "size size"]) -> Float[Tensor, "size size"]:
    """Cholesky factor; sums of single precision may leave what is flat slightly negative."""
    firm = hessian.clone()
    firm.diagonal().add_(1e-6 * hessian.diagonal().mean())
    return torch.linalg.cholesky(firm)


class _Problem:
    """Features, nodes and the prior; parameters are the rows of ``W`` one after another, then ``c``."""

    def __init__(
        self,
        network: ExponentialNetwork,
        features: Float[Tensor, "n feature"],
        t: Float[np.ndarray, "n 2"],
        strata: Strata,
        ridge: float,
        seed: int,
    ) -> None:
        self.network, self.d = network, network.config.statistics
        self.features, self.ridge = features, ridge
        rng = np.random.default_rng([seed, 2])
        self.own = self._points(t, strata.natural(t))
        self.cell = torch.from_numpy(strata.cell(t))
        self.blocks = [slice(k, k + ROWS) for k in range(0, len(t), ROWS)]
        self.nodes = [self._points(*strata.draw(rng)) for _ in self.blocks]
        size, k = network.basis.size, self.d * features.shape[1]
        prior = torch.zeros(k + size, k + size, dtype=torch.float64)
        prior[:k, :k] = ridge * torch.eye(k, dtype=torch.float64)
        smooth = network.basis.third_difference_penalty()
        # F grows with the number of sites, and so do its derivatives. The constant, which nothing determines, goes
        # with the identity.
        weight = SMOOTHNESS / math.prod(network.config.state_shape) ** 2
        prior[k:, k:] = weight * smooth + 1e-6 * ridge * torch.eye(size)
        self.prior = prior

    def _points(self, t: np.ndarray, natural: np.ndarray) -> tuple[Tensor, Tensor]:
        """``eta`` and the splines at points, single precision."""
        points, image = torch.from_numpy(t), torch.from_numpy(natural)
        with torch.no_grad():
            eta = self.network.standardised_eta(points, image)
        return eta.float(), self.network.basis.matrix(points).float()

    def start(self) -> Float[Tensor, "size"]:
        encoder = self.network.encoder
        weight = torch.cat([encoder.linear.weight, encoder.last.weight], dim=1)
        return torch.cat([weight.detach().flatten(), self.network.potential.detach().flatten()]).double()

    def finish(self, theta: Float[Tensor, "size"]) -> None:
        """Write the parameters into the network."""
        encoder = self.network.encoder
        weight, c = self._split(theta)
        wide = encoder.linear.in_features
        with torch.no_grad():
            encoder.linear.weight.copy_(weight[:, :wide])
            encoder.last.weight.copy_(weight[:, wide:])
            encoder.linear.bias.zero_()
            encoder.last.bias.zero_()
            self.network.potential.copy_(c.reshape(self.network.basis.shape))

    def penalty(self, theta: Float[Tensor, "size"]) -> float:
        return float(theta @ self.prior @ theta) / 2

    def _split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        k = self.d * self.features.shape[1]
        return theta[:k].reshape(self.d, -1).float(), theta[k:].float()

    def _logits(
        self, theta: Float[Tensor, "size"], block: int
    ) -> tuple[Float[Tensor, "rows node"], Float[Tensor, "rows"]]:
        """Of every node, the own one in the place of its cell, and of the own one alone."""
        weight, c = self._split(theta)
        rows = self.blocks[block]
        f = self.features[rows] @ weight.T
        eta, spline = self.nodes[block]
        logits = torch.addmm(-(spline @ c), f, eta.T)
        own = (f * self.own[0][rows]).sum(dim=1) - self.own[1][rows] @ c
        return logits.scatter_(1, self.cell[rows, None], own[:, None]), own

    def loss(self, theta: Float[Tensor, "size"]) -> float:
        total = 0.0
        for block in range(len(self.blocks)):
            logits, own = self._logits(theta, block)
            total += float((logits.logsumexp(dim=1) - own).double().sum())
        return total + self.penalty(theta)

    def state(self, theta: Float[Tensor, "size"]) -> _State:
        """Loss, gradient and Hessian; the second is that of the nodes' covariance under the posterior."""
        d, p = self.d, self.features.shape[1]
        gradient, hessian = torch.zeros_like(theta), torch.zeros_like(self.prior)
        total = 0.0
        for block, rows in enumerate(self.blocks):
            logits, own = self._logits(theta, block)
            log_z = logits.logsumexp(dim=1)
            total += float((log_z - own).double().sum())
            q = (logits - log_z[:, None]).exp_()
            mine = q.gather(1, self.cell[rows, None])
            q.scatter_(1, self.cell[rows, None], 0.0)
            eta, spline = self.nodes[block]
            eta_own, spline_own = self.own[0][rows], self.own[1][rows]
            phi = self.features[rows]
            mean_eta = q @ eta + mine * eta_own
            mean_spline = q @ spline + mine * spline_own
            # d logit / d(W, c) = (phi eta', -B); covariances under q follow, block by block.
            gradient[: d * p] += ((mean_eta - eta_own).T @ phi).flatten()
            gradient[d * p :] += (spline_own - mean_spline).sum(dim=0)
            for k in range(d):
                weighted = q * eta[:, k]
                cross = weighted @ spline + mine * eta_own[:, k : k + 1] * spline_own
                cross -= mean_eta[:, k : k + 1] * mean_spline
                hessian[k * p : (k + 1) * p, d * p :] -= phi.T @ cross
                both = (
                    weighted @ eta
                    + mine * eta_own[:, k : k + 1] * eta_own
                    - mean_eta[:, k : k + 1] * mean_eta
                )
                for m in range(k, d):
                    hessian[k * p : (k + 1) * p, m * p : (m + 1) * p] += (phi * both[:, m : m + 1]).T @ phi
            mass = (q.sum(dim=0)[:, None] * spline).T @ spline
            hessian[d * p :, d * p :] += (
                mass + (mine * spline_own).T @ spline_own - mean_spline.T @ mean_spline
            )
        hessian = hessian.triu() + hessian.triu(1).T
        return _State(total + self.penalty(theta), gradient + self.prior @ theta, hessian + self.prior)
