"""The conformal metric of a density, and lengths in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.generative.base import Density
from hessgeo.metrics.base import Metric

BLOCK = 2**18  # points whose density is asked for at once


@dataclass(frozen=True)
class ConformalMetric(Metric):
    """``g(x) = ((p0 + lam) / (p(x) + lam))^2 I`` (Kim et al. 2024), in any dimension.

    A step of length ``|dx|`` costs ``(p0 + lam) / (p(x) + lam) |dx|``: little where data are likely, up to
    ``(p0 + lam) / lam`` times its length where there are none. ``lam -> inf`` is Euclidean, ``lam = 0`` is
    ``(p0 / p)^2``. Everything is kept in logarithms, for densities of many dimensions over- and underflow.

    Args:
        density: ``p``.
        log_p0: ``log p0``, the density at which a step costs its Euclidean length; a common factor of all
            lengths and nothing else if ``lam`` is 0.
        log_lam: ``log lam``; minus or plus infinity for the two limits.

    Raises:
        ValueError: if ``log_p0`` is not finite, or ``log_lam`` is not a number.
    """

    density: Density
    log_p0: float
    log_lam: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.log_p0):
            raise ValueError(f"log_p0 is {self.log_p0}, must be finite")
        if math.isnan(self.log_lam):
            raise ValueError("log_lam is NaN, must be a number, or infinite for a limit")

    def log_speed(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """``log((p0 + lam) / (p(x) + lam))``, the logarithm of the cost of a unit step."""
        if self.log_lam == math.inf:
            return torch.zeros(x.shape[:-1], dtype=x.dtype, device=x.device)
        log_p = self.density.log_prob(x)
        if self.log_lam == -math.inf:
            return self.log_p0 - log_p
        lam = torch.tensor(self.log_lam, dtype=log_p.dtype, device=log_p.device)
        return float(np.logaddexp(self.log_p0, self.log_lam)) - torch.logaddexp(log_p, lam)

    def log_speed_and_gradient(
        self, x: Float[Tensor, "*batch d"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch d"]]:
        """``log_speed`` and its gradient ``-p / (p + lam) grad log p``, from the score of the density."""
        if self.log_lam == math.inf:
            return self.log_speed(x), torch.zeros_like(x)
        log_p = self.density.log_prob(x).detach()
        if self.log_lam == -math.inf:
            return self.log_p0 - log_p, -self.density.score(x)
        share = torch.sigmoid(log_p - self.log_lam)
        log_speed = float(np.logaddexp(self.log_p0, self.log_lam)) - torch.logaddexp(
            log_p, torch.tensor(self.log_lam, dtype=log_p.dtype, device=log_p.device)
        )
        return log_speed, -share[..., None] * self.density.score(x)

    def __call__(self, t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """The metric tensor at each point."""
        identity = torch.eye(t.shape[-1], dtype=t.dtype, device=t.device)
        return (2 * self.log_speed(t)).exp()[..., None, None] * identity

    @torch.no_grad()
    def segment_lengths(
        self, start: Float[Tensor, "m d"], end: Float[Tensor, "m d"], *, nodes: int = 4
    ) -> Float[Tensor, "m"]:
        """Lengths of straight segments by Gauss-Legendre quadrature.

        ``|x - y| sum_q w_q (p0 + lam) / (p(x + s_q (y - x)) + lam)``, the edge cost of Kim et al.; its error
        falls as the length of a segment to the power ``2 nodes``, relative to the scale of the density.

        Args:
            start: one end of each.
            end: the other.
            nodes: of the quadrature on each segment.

        Returns:
            The lengths; infinite where one is beyond the range of the floating-point type.

        Raises:
            ValueError: on less than one node, or a density that is NaN somewhere.
        """
        position, log_weight = _quadrature(nodes, start)
        parts = []
        rows = max(1, BLOCK // nodes)
        for first, last in zip(start.split(rows), end.split(rows), strict=True):
            points = first[:, None] + position[:, None] * (last - first)[:, None]
            mean = torch.logsumexp(log_weight + self.log_speed(points), dim=1)
            parts.append((mean + (last - first).norm(dim=-1).log()).exp())
        lengths = torch.cat(parts) if parts else start.new_zeros(0)
        if lengths.isnan().any():
            raise ValueError(f"{int(lengths.isnan().sum())} lengths are NaN: so is the density on their way")
        return lengths

    def length(self, path: Float[Tensor, "n d"], *, nodes: int = 4) -> float:
        """Length of a chain of straight segments."""
        return self.segment_lengths(path[:-1], path[1:], nodes=nodes).sum().item()


def _quadrature(nodes: int, like: Tensor) -> tuple[Float[Tensor, "q"], Float[Tensor, "q"]]:
    """Positions on [0, 1] and logarithms of the weights, which sum to one."""
    if nodes < 1:
        raise ValueError(f"nodes is {nodes}, must be at least 1")
    position, weight = np.polynomial.legendre.leggauss(nodes)
    return torch.from_numpy((position + 1) / 2).to(like), torch.from_numpy(np.log(weight / 2)).to(like)


def conformal_metric(
    density: Density,
    data: Float[Tensor, "n d"],
    *,
    lam: float | None = None,
    quantile: float | None = None,
    p0_quantile: float = 0.5,
) -> ConformalMetric:
    """The metric of a density with its two constants set by data.

    ``lam`` is compared with ``p``, whose scale nobody knows in many dimensions: a value that is not a quantile
    of ``p`` over the data makes the metric Euclidean, or ``lam`` irrelevant, without a sign of it.

    Args:
        density: ``p``.
        data: points where the density is typical.
        lam: the constant by value, or
        quantile: as a quantile of ``p`` over the data, between 0 and 1.
        p0_quantile: the quantile of ``p`` over the data that becomes ``p0``.

    Raises:
        ValueError: unless exactly one of ``lam`` and ``quantile`` is given, on a negative ``lam`` or a quantile
            outside [0, 1].
    """
    if (lam is None) == (quantile is None):
        raise ValueError("lam is given by value or by quantile: exactly one of them is needed")
    if lam is not None and not lam >= 0:
        raise ValueError(f"lam is {lam}, must not be negative")
    for name, level in (("quantile", quantile), ("p0_quantile", p0_quantile)):
        if level is not None and not 0 <= level <= 1:
            raise ValueError(f"{name} is {level}, must be between 0 and 1")
    with torch.no_grad():
        log_p = density.log_prob(data).cpu().numpy()
    log_lam = math.log(lam) if lam else -math.inf
    if quantile is not None:
        log_lam = float(np.quantile(log_p, quantile))
    return ConformalMetric(density, float(np.quantile(log_p, p0_quantile)), log_lam)
