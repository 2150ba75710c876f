"""Soft maxima of planes, and the convex potential that the slopes of all sources make so, without basis or fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_BLOCK = 2**22  # entries of (point, plane) at a time


@dataclass(frozen=True)
class MixturePotential:
    r"""``Phi(u) = log(sum_k exp(N <theta_k, u> + h_k)) / N``: a soft maximum of planes, sharp to ``1 / N``.

    Analytic and convex: its gradient is the mean slope of the planes given the point, its Hessian ``N`` times their
    covariance, positive definite wherever slopes of two directions are at hand.

    Attributes:
        slopes: ``theta_k``, nats per ``N``.
        heights: ``h_k``, nats.
        resolution: ``N``.
    """

    slopes: Float[Tensor, "plane axis"]
    heights: Float[Tensor, "plane"]
    resolution: float

    @classmethod
    def of(
        cls,
        nodes: Float[Tensor, "node axis"],
        log_weight: Float[Tensor, "node"],
        values: Float[Tensor, "node"],
        slopes: Float[Tensor, "source axis"],
        *,
        resolution: float,
    ) -> MixturePotential:
        r"""Of values at nodes and slopes at sources: ``-h_i`` is the log-normaliser of source ``i``.

        At the minimum of a dual fit every column of its posteriors sums to the marginal, and ``Phi`` at a node is
        therefore ``A_g + 1/N log(s_g / w_g)``: the fit's own values, but for the density of sources, continued between
        the nodes. A kink is as wide as the posteriors there, whatever the cells. Its price is a bias of the order
        ``1/N``, and beside the edge of the box, where sources are missing on one side, of a third and more. Unlike
        ``nearest_log_partition``, whose weights are fitted on a regular grid and continued beyond its edge, it asks for
        no grid: nodes lie where coordinates put them.

        Args:
            nodes: ``u_g``.
            log_weight: ``log w_g``.
            values: ``A_g``, nats per ``N``.
            slopes: ``theta_i``, in the gauge of the values.
            resolution: ``N``.
        """
        blocks = slopes.split(max(1, _BLOCK // len(nodes)))
        normalisers = [
            torch.logsumexp(log_weight + resolution * (block @ nodes.T - values), dim=1) for block in blocks
        ]
        return cls(slopes, -torch.cat(normalisers), resolution)

    def value(self, u: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """``Phi`` in nats per ``N``."""
        return self._each(u, lambda part: torch.logsumexp(self._nats(part), dim=-1)) / self.resolution

    def gradient(self, u: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """The mean slope given the point."""
        return self._each(u, lambda part: torch.softmax(self._nats(part), dim=-1) @ self.slopes.to(part))

    def hessian(self, u: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis"]:
        """``N`` times the covariance of the slopes."""
        return self.resolution * self._each(u, lambda part: self._central(part, 2))

    def third(self, u: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis axis"]:
        """``N^2`` times the third central moments of the slopes."""
        return self.resolution**2 * self._each(u, lambda part: self._central(part, 3))

    def _nats(self, u: Float[Tensor, "point axis"]) -> Float[Tensor, "point plane"]:
        return torch.addmm(self.heights.to(u), u, self.slopes.to(u).T, alpha=self.resolution)

    def _central(self, u: Float[Tensor, "point axis"], order: int) -> Tensor:
        """Central moments of the slopes, as sums of products of what is small: no digits are lost."""
        shares = torch.softmax(self._nats(u), dim=-1)
        slopes = self.slopes.to(u)
        off = slopes - (shares @ slopes)[:, None]
        weighted = (shares[..., None] * off).mT
        if order == 2:
            return weighted @ off
        squares = (off[..., :, None] * off[..., None, :]).flatten(-2)
        return (weighted @ squares).unflatten(-1, (u.shape[-1], u.shape[-1]))

    def _each(self, u: Float[Tensor, "*batch axis"], function: Callable[[Tensor], Tensor]) -> Tensor:
        """A function of points, some at a time."""
        points = u.reshape(-1, u.shape[-1])
        found = torch.cat([function(part) for part in points.split(max(1, _BLOCK // len(self.heights)))])
        return found.reshape((*u.shape[:-1], *found.shape[1:]))
