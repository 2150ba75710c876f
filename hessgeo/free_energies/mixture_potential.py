"""The convex potential that the slopes of all sources make together, without a basis and without a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_BLOCK_ENTRIES = 2**22  # entries of one block of points by sources


@dataclass(frozen=True)
class MixturePotential:
    r"""``Phi(u) = 1/N log sum_i exp N(<u, theta_i> - psi_i)``, ``psi_i`` the log-normaliser of source ``i`` over ``N``.

    At the minimum of a dual fit every column of its posteriors sums to the marginal, and ``Phi`` at a node is therefore
    ``A_g + 1/N log(s_g / w_g)``: the fit's own values, but for the density of sources, continued between the nodes. It
    is analytic and convex; its gradient is the mean slope of the sources given the point, and its Hessian ``N`` times
    their covariance, positive definite wherever slopes of two directions are at hand. A kink is as wide as the
    posteriors there, whatever the cells. Its price is a bias of the order ``1/N``, and beside the edge of the box,
    where sources are missing on one side, of a third and more. Unlike ``nearest_log_partition``, whose weights are
    fitted on a regular grid and continued beyond its edge, it asks for no grid: nodes lie where coordinates put them.

    Attributes:
        slopes: ``theta_i``, nats per ``N``.
        levels: ``psi_i``.
        resolution: ``N``.
    """

    slopes: Float[Tensor, "source axis"]
    levels: Float[Tensor, "source"]
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
        """Of values at nodes and slopes at sources.

        Args:
            nodes: ``u_g``.
            log_weight: ``log w_g``.
            values: ``A_g``, nats per ``N``.
            slopes: ``theta_i``, in the gauge of the values.
            resolution: ``N``.
        """
        blocks = slopes.split(max(1, _BLOCK_ENTRIES // len(nodes)))
        levels = [
            torch.logsumexp(log_weight + resolution * (block @ nodes.T - values), dim=1) for block in blocks
        ]
        return cls(slopes, torch.cat(levels) / resolution, resolution)

    def value(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """``Phi`` in nats per ``N``."""
        return self._each(t, lambda logits: torch.logsumexp(logits, dim=1) / self.resolution)

    def gradient(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """The mean slope of the sources given the point."""
        return self._each(t, lambda logits: torch.softmax(logits, dim=1) @ self.slopes.to(t))

    def hessian(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis"]:
        """``N`` times the covariance of these slopes."""
        slopes = self.slopes.to(t)

        def covariance(logits: Tensor) -> Tensor:
            share = torch.softmax(logits, dim=1)
            off = slopes - (share @ slopes)[:, None]
            return self.resolution * torch.einsum("ps,psk,psl->pkl", share, off, off)

        return self._each(t, covariance)

    def _each(self, t: Float[Tensor, "*batch axis"], function: Callable[[Tensor], Tensor]) -> Tensor:
        """A function of the logits of all sources, some points at a time."""
        slopes, levels = self.slopes.to(t), self.levels.to(t)
        points = t.reshape(-1, t.shape[-1])
        blocks = points.split(max(1, _BLOCK_ENTRIES // len(slopes)))
        found = torch.cat([function(self.resolution * (block @ slopes.T - levels)) for block in blocks])
        return found.reshape((*t.shape[:-1], *found.shape[1:]))
