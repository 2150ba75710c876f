r"""What the slopes take of the noise: the dual fit of few draws, without the bias of its many free slopes.

Each source brings a slope of its own, which the fit lays through the mean of its draws; around that mean they spread
less than around the true one, by one part in their number, and ``F`` would come out too curved by as much (Neyman and
Scott 1948). Given its mean, the draws of a source say nothing of its slope. Their likelihood then has, by the density
of a mean at its own expectation, a term for each source beside the loss (Barndorff-Nielsen 1983), with ``C_i`` the
covariance of the fitted posterior and ``1 / noise`` the number of draws:

    J - noise / 2 sum_i log det C_i.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.free_energies.dual_noise import Dispersion
from hessgeo.free_energies.dual_problem import DualPoint
from hessgeo.free_energies.dual_solution import DualSolution, solved_again

_ROUNDS = 3  # each leaves a share of the noise of what the one before it left
_LEAST = 2e-3  # noise below which a metric is off by less than any of its bars
_MOST = 0.5  # with fewer than two draws there is no spread about their mean


def without_bias(
    solution: DualSolution,
    noise: float,
    source: Float[np.ndarray, "source axis"],
    entropy: Float[np.ndarray, "source"],
    *,
    tolerance: float,
    max_iterations: int,
) -> tuple[DualSolution, float]:
    """The minimum of the loss with that term, from that of the loss alone; and the noise as it is measured there.

    The term is replaced by its slope in ``phi`` again and again, which is an addition to the marginal: the problem
    stays convex. The noise is measured again each time, in units of the covariances that are found.

    Args:
        solution: of the loss alone.
        noise: one over the number of draws of a source, as ``Dispersion`` measures it at that solution.
        source: parameters of the sources, in box units.
        entropy: of the measured posteriors, nats. Draws that scatter differ from what is fitted by a divergence too:
            without it what looks like noise is none.
        tolerance: Newton decrement to stop at, nats summed over sources.
        max_iterations: of Newton's method in each round.
    """
    most = noise_in_divergence(solution.point, entropy)
    if min(noise, most) < _LEAST or not solution.minimum.converged:
        return solution, noise
    marginal, point = solution.point.problem.marginal, solution.point
    for _ in range(_ROUNDS):
        added = min(noise, most, _MOST) / 2 * spread_by_means(point)
        solution = solved_again(
            solution, marginal + added, tolerance=tolerance, max_iterations=max_iterations
        )
        point = solution.point
        noise = Dispersion.of(point, source).noise
    return solution, noise


def noise_in_divergence(point: DualPoint, entropy: Float[np.ndarray, "source"]) -> float:
    """Twice the noise at which rows of draws diverge as much from fitted ones as the measured do.

    Those of ``1 / noise`` draws diverge by about ``log(1 + noise (c - 1))``, ``c`` the cells that a row spreads over,
    and somewhat less from what is fitted to them.
    """
    p, n = point.problem, len(point.theta)
    loss = float(point.loss - p.ridge / 2 * ((point.theta - p.reference) ** 2).sum()) / n
    return 2 * math.expm1(max(loss - float(entropy.mean()), 0.0)) / max(math.expm1(loss), 1.0)


def spread_by_means(point: DualPoint) -> Float[Tensor, "node"]:
    r"""Slope of ``-sum_i log det C_i`` in ``phi``, at means that are held: what is lacking far from the means.

    ``sum_i q_i (|u - m_i|^2 - d - <beta_i, u - m_i>)``, with lengths in ``C_i^-1`` and ``beta_i`` such that no mean
    moves.
    """
    p = point.problem
    ridge = p.ridge * torch.eye(p.nodes.shape[1], dtype=p.nodes.dtype, device=p.nodes.device)
    total = torch.zeros_like(point.phi)
    for block in point.blocks():
        q = point.rows(block)[0]
        off = p.nodes - point.mean[block, None]
        precision = torch.linalg.inv(point.covariance[block] + ridge)
        own = torch.einsum("igk,ikl->igl", off, precision)
        square = (own * off).sum(dim=2)
        square -= (q * square).sum(dim=1, keepdim=True)
        drift = torch.einsum("ig,ig,igk->ik", q, square, own)
        total += (q * (square - torch.einsum("igk,ik->ig", off, drift))).sum(dim=0)
    return total
