"""The conformal metric of a density: distances grow where data are rare (Kim et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.metrics.base import Box, Metric


class DensityMetric(Metric):
    r"""``g(t) = ((p0 + lambda) / (p(t) + lambda))^2 I`` (Kim et al. 2024, arXiv 2407.11244), computed in logarithms.

    ``lambda = 0`` is ``(p0 / p)^2``; the larger ``lambda``, the nearer to Euclidean, which an infinite one is. The
    distance is the least ``integral (p0 + lambda) / (p + lambda) |dt|``.

    Args:
        log_density: ``log p(t)`` of each point, natural logarithm; differentiable by torch for geodesics.
        log_lambda: ``log lambda`` in the same units, ``-inf`` for 0 and ``inf`` for the Euclidean limit; take it from
            the data by ``log_quantile``, for a ``lambda`` far above all of ``p`` is Euclidean, too.
        log_reference: ``log p0``, which sets the unit of length: it is the Euclidean one where ``p = p0``.
        box: where the density is known; None for the whole plane.

    Raises:
        ValueError: if ``log_lambda`` is no number, or ``log_reference`` not finite.
    """

    def __init__(
        self,
        log_density: Callable[[Tensor], Tensor],
        *,
        log_lambda: float,
        log_reference: float = 0.0,
        box: Box | None = None,
    ) -> None:
        if math.isnan(log_lambda) or not math.isfinite(log_reference):
            raise ValueError(
                f"log_lambda is {log_lambda}, log_reference {log_reference}: must be numbers, the second finite"
            )
        self.log_density, self.log_lambda, self.log_reference, self.box = (
            log_density,
            log_lambda,
            log_reference,
            box,
        )

    def log_factor(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """``log((p0 + lambda) / (p(t) + lambda))``: the logarithm of the length of a unit step."""
        log_p = self.log_density(t)
        if self.log_lambda == math.inf:
            return torch.zeros_like(log_p)
        floor = log_p.new_tensor(self.log_lambda)
        return torch.logaddexp(log_p.new_tensor(self.log_reference), floor) - torch.logaddexp(log_p, floor)

    def __call__(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """The metric at each point."""
        return (2 * self.log_factor(t)).exp()[..., None, None] * torch.eye(2, dtype=t.dtype, device=t.device)


def log_quantile(log_density: Float[Tensor, "n"], quantile: float) -> float:
    """``log lambda`` such that a share ``quantile`` of the data has a density below ``lambda``.

    Raises:
        ValueError: if the quantile is not in [0, 1].
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile is {quantile}, must be in [0, 1]")
    return float(torch.quantile(log_density.double(), quantile))
