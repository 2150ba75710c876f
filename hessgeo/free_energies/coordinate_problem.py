"""The dual problem with the nodes' positions free: the loss in ``F``, slopes and coordinates, and its Newton step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.free_energies.coordinate_step import CoordinateStep
from hessgeo.free_energies.dual_problem import DualPoint, DualProblem

_DAMPING = 1e-3  # of Levenberg and Marquardt at the start, share of the diagonal
_EASED, _TIGHTENED = 0.25, 4.0  # what a whole step makes of it, and one that had to be halved
_DAMPING_RANGE = (1e-9, 1e3)

Step = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class CoordinateProblem:
    r"""The loss of ``DualProblem`` with nodes ``u_g = (t_g, 0) + sum_k d_k b_k(t_g)``, bent away from the parameters.

    The mean of a source in these coordinates is ``m_i = (E_P[t | t_i], 0) + sum_k d_k E_P[b_k | t_i]``, linear in
    ``d``: the posterior is read once, for the means of few splines. To the loss add ``smoothness / 2`` times the
    squared third differences of ``d``, and ``barrier`` times ``sum_g |J|^2 / 2 - log det J - 1``, ``J = du/dt`` at the
    nodes, first two components: zero where the map turns rigidly, infinite where it folds. The logarithm alone would
    reward a map that swells.

    Attributes:
        dual: nodes and means in the given coordinates, box units.
        bends: values ``b_k(t_g)``.
        mean_bends: ``E_P[b_k | t_i]``.
        slopes: derivatives of the bends at the nodes, by each parameter, box units.
        penalty: squared third differences.
        smoothness: weight of them, nats.
        barrier: weight of the distortion at one node, nats.
    """

    dual: DualProblem
    bends: Float[Tensor, "node bend"]
    mean_bends: Float[Tensor, "source bend"]
    slopes: Float[Tensor, "axis node bend"]
    penalty: Float[Tensor, "bend bend"]
    smoothness: float
    barrier: float

    @cached_property
    def stretch(self) -> Float[Tensor, "bend bend"]:
        """``sum_g <grad b_k, grad b_l>``."""
        return torch.einsum("agk,agl->kl", self.slopes, self.slopes)

    def at(
        self,
        d: Float[Tensor, "bend component"],
        phi: Float[Tensor, "node"],
        theta: Float[Tensor, "source component"],
    ) -> CoordinatePoint:
        """The loss and its derivatives at coordinates, a potential and slopes."""
        return CoordinatePoint(self, d, phi, theta)

    def moved_dual(self, d: Float[Tensor, "bend component"]) -> DualProblem:
        """The dual problem in the coordinates ``d``."""
        more = d.shape[1] - self.dual.nodes.shape[1]

        def padded(x: Tensor) -> Tensor:
            return torch.nn.functional.pad(x, (0, more))

        dual = self.dual
        return replace(
            dual,
            nodes=padded(dual.nodes) + self.bends @ d,
            mean=padded(dual.mean) + self.mean_bends @ d,
            reference=padded(dual.reference),
        )


class CoordinatePoint:
    """The loss at one map, potential and slopes, a ``newton.Point``."""

    def __init__(
        self, problem: CoordinateProblem, d: Tensor, phi: Tensor, theta: Tensor, damping: float = _DAMPING
    ) -> None:
        self.problem = problem
        self.d, self.phi, self.theta = d, phi, theta
        self.damping = damping

    @cached_property
    def dual(self) -> DualPoint:
        """The same point of the dual problem in its own coordinates."""
        return self.problem.moved_dual(self.d).at(self.phi, self.theta)

    @cached_property
    def jacobian(self) -> Float[Tensor, "node component axis"]:
        """Of the first two components at the nodes, box units."""
        bent = torch.einsum("agk,kc->gca", self.problem.slopes, self.d[:, :2])
        return bent + torch.eye(2).to(bent)

    @cached_property
    def distortion(self) -> float:
        """``sum_g |J|^2 / 2 - log det J - 1``; infinite where the map turns over."""
        determinant = torch.linalg.det(self.jacobian)
        if not bool((determinant > 0).all()):
            return math.inf
        return float((self.jacobian.square().sum((1, 2)) / 2 - determinant.log() - 1).sum())

    @cached_property
    def loss(self) -> float:
        """In nats, summed over sources; infinite where the map turns over."""
        if math.isinf(self.distortion):
            return math.inf
        p = self.problem
        rough = float((self.d * (p.penalty @ self.d)).sum())
        return self.dual.loss + p.smoothness / 2 * rough + p.barrier * self.distortion

    def newton(self) -> tuple[Step, float]:
        """See ``newton.Point``: Gauss and Newton's step, damped as Levenberg and Marquardt do.

        The loss is convex in the logits, and these are bilinear: of its second derivatives the ones of the logits
        are left out, which vanish as the fit follows the posterior.
        """
        return CoordinateStep(self).solve()

    def moved(self, step: Step, length: float) -> CoordinatePoint:
        """See ``newton.Point``; a step that had to be halved tightens the damping."""
        low, high = _DAMPING_RANGE
        damping = self.damping * (_EASED if length >= 1 else _TIGHTENED)
        d, phi, theta = self.d + length * step[0], self.phi + length * step[1], self.theta + length * step[2]
        return CoordinatePoint(self.problem, d, phi, theta, damping=min(max(damping, low), high))

    def grown(self, reach: float = 0.3) -> CoordinatePoint:
        """The same fit with one component more, from which the loss can fall.

        Its slopes are zero, so that no posterior changes; it is the bend whose means under the measured and the
        fitted posteriors differ most, against its variance under these: the generalised eigenvector of both.

        Args:
            reach: root mean square of the new component, box units.
        """
        p, rows = self.problem, self.dual.mean_of(self.problem.bends)
        off = p.mean_bends - rows
        spread = p.bends.T @ (self.dual.columns[:, None] * p.bends) - rows.T @ rows
        spread = spread + p.smoothness * p.penalty
        firm = 1e-6 * spread.diagonal().mean() * torch.eye(len(spread)).to(spread)
        factor = torch.linalg.cholesky((spread + spread.T) / 2 + firm)
        whitened = torch.linalg.solve_triangular(factor, off.T, upper=False)
        vector = torch.linalg.eigh(whitened @ whitened.T)[1][:, -1:]
        bend = torch.linalg.solve_triangular(factor.T, vector, upper=True)
        bend = bend * reach / (p.bends @ bend).square().mean().sqrt()
        # The sign of an eigenvector means nothing: it is fixed, so that results can be repeated.
        bend = bend * torch.sign(bend[bend.abs().argmax()])
        d = torch.cat([self.d, bend], dim=1)
        theta = torch.nn.functional.pad(self.theta, (0, 1))
        return CoordinatePoint(p, d, self.phi, theta)
