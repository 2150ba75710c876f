"""How accurate a reweighted free energy is, from the influence of each sample on what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.numerics.factor import cholesky


@dataclass(frozen=True)
class NodeInverse:
    """The inverse of ``H = diag(s) - K``, ``s_g = sum_h K_gh``, where ``F`` is zero on average over the samples."""

    root: Float[Tensor, "node"]
    factor: Float[Tensor, "node node"]

    @classmethod
    def of(cls, overlap: Float[Tensor, "node node"], weight: Float[Tensor, "node"]) -> NodeInverse:
        """Factor ``H``, with ``s`` no smaller than each node's samples, as it is at the minimum.

        Args:
            overlap: ``K = Q' n Q``.
            weight: samples of each node.
        """
        # A node that the potential all but hides would ask for a step without bound: its samples bound it.
        root = torch.maximum(overlap.sum(dim=1), weight).sqrt()
        scaled = -overlap / root[:, None] / root
        scaled.diagonal().add_(1 + 1e-12)
        constant = root / root.norm()
        return cls(root, cholesky(scaled + constant[:, None] * constant, "reweighting"))

    def __call__(self, right: Float[Tensor, "node m"]) -> Float[Tensor, "node m"]:
        """``H^+`` times each column."""
        solved = torch.cholesky_solve(right / self.root[:, None], self.factor) / self.root[:, None]
        share = self.root**2 / (self.root**2).sum()
        return solved - share @ solved


@dataclass(frozen=True)
class StandardErrors:
    """Standard errors of anything that the density of states tells.

    A quantity whose own weights are ``X_b`` for the statistic ``b`` changes with a sample by ``I = X + Q H^+ C``, with
    ``C = Q' n X`` its slope by the node values; the variance is ``sum_b n_b I_b^2 - sum_g w_g E_g[I]^2``.

    Attributes:
        statistics: those that carry the sums.
        counts: samples that each stands for.
        log_mixture: ``log D``.
        share: posterior share ``q`` of each node.
        nodes: parameters of each node.
        weight: samples of each node.
        overlap: ``Q' n Q``.
        inverse: ``H^+``.
    """

    statistics: Float[Tensor, "bin 2"]
    counts: Float[Tensor, "bin"]
    log_mixture: Float[Tensor, "bin"]
    share: Float[Tensor, "bin node"]
    nodes: Float[Tensor, "node 2"]
    weight: Float[Tensor, "node"]
    overlap: Float[Tensor, "node node"]
    inverse: NodeInverse

    def value_error(self, t: Float[Tensor, "point 2"]) -> Float[Tensor, "point"]:
        """Of ``F``."""
        return self._error(self._probability(t))

    def gradient_error(self, t: Float[Tensor, "point 2"]) -> Float[Tensor, "point 2"]:
        """Of the mean statistics."""
        p = self._probability(t)
        deviation = self._deviation(p)
        return torch.stack([self._error(p * deviation[..., k]) for k in range(2)], dim=-1)

    def hessian_error(
        self, t: Float[Tensor, "point 2"], jacobian: Float[Tensor, "point 4"]
    ) -> Float[Tensor, "point 2 2"]:
        """Of the entries of ``J' g J``."""
        p = self._probability(t)
        deviation = torch.einsum("bpi,pij->bpj", self._deviation(p), jacobian.reshape(-1, 2, 2))
        errors = []
        for i, j in ((0, 0), (0, 1), (1, 1)):
            product = deviation[..., i] * deviation[..., j]
            errors.append(self._error(p * (product - self.counts @ (p * product))))
        return torch.stack([errors[k] for k in (0, 1, 1, 2)], dim=-1).reshape(-1, 2, 2)

    def hessian_response(self, t: Float[Tensor, "point 2"]) -> Float[Tensor, "point 2 2 2 2"]:
        """``[i, j, k, c] = d g_ij / d E_kc`` when all statistics become ``f + E f`` and the density follows."""
        p, f, mean = self._probability(t), self.statistics, self.share @ self.nodes
        weight, deviation = self.counts[:, None] * p, self._deviation(p)
        squares = deviation[..., :, None] * deviation[..., None, :]
        metric = torch.einsum("bp,bpij->pij", weight, squares)
        response = metric.new_zeros(len(t), 2, 2, 2, 2)
        for k, c in ((0, 0), (0, 1), (1, 0), (1, 1)):
            moved = f[:, c : c + 1] * self.counts[:, None]
            slope = (moved.T @ self.share) * self.nodes[:, k] - (moved * mean[:, k : k + 1]).T @ self.share
            # Of the logarithm of a sample's probability: by its own statistic, and by the node values.
            score = f[:, c : c + 1] * (t[:, k] - mean[:, k : k + 1]) + self.share @ self.inverse(slope.T)
            score = score - (weight * score).sum(0)
            response[..., k, c] += torch.einsum("bp,bp,bpij->pij", weight, score, squares)
            response[:, k, :, k, c] += metric[:, c]
            response[:, :, k, k, c] += metric[:, :, c]
        return response

    def effective_samples(self, t: Float[Tensor, "point 2"]) -> Float[Tensor, "point"]:
        """``1 / sum_i p_i^2``."""
        return 1 / (self.counts @ self._probability(t) ** 2)

    def _probability(self, t: Float[Tensor, "point 2"]) -> Float[Tensor, "bin point"]:
        """Probability under ``t`` of each single sample."""
        logits = self.statistics @ t.T - self.log_mixture[:, None]
        return (logits - torch.logsumexp(logits + self.counts.log()[:, None], dim=0)).exp()

    def _deviation(self, p: Float[Tensor, "bin point"]) -> Float[Tensor, "bin point 2"]:
        mean = (self.counts[:, None] * p).T @ self.statistics
        return self.statistics[:, None] - mean

    def _error(self, own: Float[Tensor, "bin point"]) -> Float[Tensor, "point"]:
        weighted = self.counts[:, None] * own
        slope = self.share.T @ weighted
        moved = self.inverse(slope)
        carried = self.overlap @ moved
        total = (own * weighted).sum(0) + (moved * (2 * slope + carried)).sum(0)
        explained = ((slope + carried) ** 2 / self.weight[:, None]).sum(0)
        return (total - explained).clamp(min=0).sqrt()
