"""The metric that a density alone defines (Kim et al. 2024): distances grow where data are rare.

A step of length ``|dx|`` costs ``(p0 + lam) / (p(x) + lam) |dx|``: little where data are likely, up to
``(p0 + lam) / lam`` times its length where there are none. Everything is kept in logarithms, for densities of many
dimensions over- and underflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.metrics.base import Box, Metric
from hessgeo.numerics.quadrature import BLOCK, MEASURED, gauss_legendre, integrate

TOLERANCE = 1e-7  # of a length, relative
_MOST_CELLS = 64  # that a segment starts with

PointFunction = Callable[[Tensor], Tensor]


def gradient(function: PointFunction, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """Gradient of a function of points, each by itself, by reverse differentiation."""
    with torch.enable_grad():
        point = x.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(function(point).sum(), point)
    return slope


class DensityMetric(Metric):
    """``g(x) = ((p0 + lam) / (p(x) + lam))^2 I`` (Kim et al. 2024, arXiv 2407.11244), in any dimension.

    ``lam = 0`` is ``(p0 / p)^2``; the larger ``lam``, the nearer to Euclidean. An infinite one is Euclidean whatever
    the density, which is then not asked.

    Args:
        log_density: ``log p(x)`` of each point in nats; for geodesics of the plane torch must differentiate it.
        log_p0: ``log p0``, the density at which a step costs its Euclidean length; a common factor of all
            lengths and nothing else if ``lam`` is 0.
        log_lam: ``log lam``; minus or plus infinity for the two limits. Take it from the data (``quantile_constants``),
            for a ``lam`` far above all of ``p`` is Euclidean, too.
        score: ``grad log p(x)``, if it is known better than by differentiation.
        box: where the density is known; None for the whole space.

    Raises:
        ValueError: if ``log_p0`` is not finite, or ``log_lam`` is not a number.
    """

    def __init__(
        self,
        log_density: PointFunction,
        *,
        log_p0: float,
        log_lam: float,
        score: PointFunction | None = None,
        box: Box | None = None,
    ) -> None:
        if not math.isfinite(log_p0):
            raise ValueError(f"log_p0 is {log_p0}, must be finite")
        if math.isnan(log_lam):
            raise ValueError("log_lam is NaN, must be a number, or infinite for a limit")
        self.log_density, self.log_p0, self.log_lam, self.box = log_density, log_p0, log_lam, box
        self.score = score or (lambda x: gradient(log_density, x))

    def log_speed(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """``log((p0 + lam) / (p(x) + lam))``, the logarithm of the cost of a unit step."""
        if self.log_lam == math.inf:
            return torch.zeros_like(x[..., 0])
        return self._log_speed(self.log_density(x))

    def _log_speed(self, log_p: Tensor) -> Tensor:
        if self.log_lam == -math.inf:
            return self.log_p0 - log_p
        level = float(np.logaddexp(self.log_p0, self.log_lam))
        return level - torch.logaddexp(log_p, log_p.new_tensor(self.log_lam))

    def log_speed_and_gradient(
        self, x: Float[Tensor, "*batch d"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch d"]]:
        """``log_speed`` and its gradient ``-p / (p + lam) grad log p``, from the score of the density."""
        if self.log_lam == math.inf:
            return self.log_speed(x), torch.zeros_like(x)
        log_p = self.log_density(x).detach()
        share = torch.sigmoid(log_p - self.log_lam)  # one where lam is 0
        return self._log_speed(log_p), -share[..., None] * self.score(x)

    def __call__(self, t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """The metric tensor at each point."""
        identity = torch.eye(t.shape[-1], dtype=t.dtype, device=t.device)
        return (2 * self.log_speed(t)).exp()[..., None, None] * identity

    @torch.no_grad()
    def segment_lengths(
        self,
        start: Float[Tensor, "m d"],
        end: Float[Tensor, "m d"],
        *,
        nodes: int | None = None,
        tolerance: float = TOLERANCE,
        scale: float | None = None,
    ) -> Float[Tensor, "m"]:
        """Lengths of straight segments, ``|x - y| int (p0 + lam) / (p(x + s (y - x)) + lam) ds``.

        By adaptive quadrature (``numerics.quadrature``), or by fixed nodes as Kim et al. do: then the error falls as
        the length of a segment to the power ``2 nodes``, relative to the scale of the density, and nobody knows it.

        Args:
            start: one end of each.
            end: the other.
            nodes: of Gauss-Legendre quadrature on each segment; None for adaptive quadrature.
            tolerance: of each length by adaptive quadrature, relative.
            scale: distance on which the density changes: no cell to start with is longer. What is narrower than a
                seventh of a cell may be passed over; None for four cells a segment.

        Returns:
            The lengths; infinite where one is beyond the range of the floating-point type.

        Raises:
            ValueError: on less than one node, a density that is NaN somewhere, or a length that is not found to the
                tolerance.
        """
        if nodes is not None:
            return self._fixed_lengths(start, end, nodes)
        apart = (end - start).norm(dim=-1)
        cells = torch.full_like(apart, 4) if scale is None else (apart / scale).ceil().clamp(1, _MOST_CELLS)
        cells = 2 ** cells.log2().ceil().int()
        lengths = torch.zeros_like(apart)
        for count in torch.unique(cells).tolist():
            rows = torch.nonzero(cells == count)[:, 0]
            lengths[rows] = self._measured(start[rows], end[rows], count, tolerance)
        return lengths

    def _measured(
        self, start: Float[Tensor, "m d"], end: Float[Tensor, "m d"], cells: int, tolerance: float
    ) -> Float[Tensor, "m"]:
        """Lengths by adaptive quadrature from so many cells each."""
        step, share = end - start, torch.linspace(0, 1, 5).to(start)[:, None]
        unknown = torch.zeros(len(start), dtype=torch.bool, device=start.device)

        def log_speed(x: Tensor) -> Tensor:
            return torch.cat([self.log_speed(part) for part in x.flatten(0, -2).split(BLOCK)]).reshape(
                x.shape[:-1]
            )

        # The logarithm of a large cost is taken out, for the cost itself may be beyond all numbers.
        large = log_speed(start[:, None] + share * step[:, None]).nan_to_num(0, 0, 0).amax(dim=1)

        def rate(piece: Tensor, s: Tensor) -> Tensor:
            logarithm = log_speed(start[piece][:, None] + s[..., None] * step[piece][:, None])
            unknown[piece[logarithm.isnan().any(dim=1)]] = True
            return (logarithm - large[piece][:, None]).exp()

        every = torch.arange(len(start), device=start.device)
        found = integrate(rate, every, len(start), cells=cells, tolerance=tolerance, rule=7, like=start)
        if bool(unknown.any()):
            raise ValueError(f"{int(unknown.sum())} lengths are NaN: so is the density on their way")
        missed = (found.error > max(MEASURED, 10 * tolerance) * found.value) & (start.dtype == torch.float64)
        if bool(missed.any()):
            raise ValueError(
                f"{int(missed.sum())} lengths are not found to {MEASURED:g} of themselves: the density is singular or "
                "broken on their way"
            )
        lengths = (found.value.log() + large + step.norm(dim=-1).log()).exp()
        return lengths.nan_to_num(torch.inf, torch.inf)  # without a number: beyond all of them

    def _fixed_lengths(
        self, start: Float[Tensor, "m d"], end: Float[Tensor, "m d"], nodes: int
    ) -> Float[Tensor, "m"]:
        position, weight = (part.to(start) for part in gauss_legendre(nodes))
        parts = []
        rows = max(1, BLOCK // nodes)
        for first, last in zip(start.split(rows), end.split(rows), strict=True):
            points = first[:, None] + position[:, None] * (last - first)[:, None]
            mean = torch.logsumexp(weight.log() + self.log_speed(points), dim=1)
            parts.append((mean + (last - first).norm(dim=-1).log()).exp())
        lengths = torch.cat(parts) if parts else start.new_zeros(0)
        if lengths.isnan().any():
            raise ValueError(f"{int(lengths.isnan().sum())} lengths are NaN: so is the density on their way")
        return lengths

    def length(
        self, path: Float[Tensor, "n d"], *, nodes: int | None = None, tolerance: float = TOLERANCE
    ) -> float:
        """Length of a chain of straight segments, see ``segment_lengths``."""
        return self.segment_lengths(path[:-1], path[1:], nodes=nodes, tolerance=tolerance).sum().item()


def quantile_constants(
    log_density: Float[np.ndarray, "n"] | Float[Tensor, "n"], quantile: float, *, p0_quantile: float = 0.5
) -> tuple[float, float]:
    """``log_p0`` and ``log_lam`` of a ``DensityMetric`` as quantiles of ``log p`` over the data.

    ``lam`` is compared with ``p``, whose scale nobody knows in many dimensions: a value that is not a quantile
    of ``p`` over the data makes the metric Euclidean, or ``lam`` irrelevant, without a sign of it.

    Args:
        log_density: ``log p`` where it is typical, such as at the data.
        quantile: the share of the data with a density below ``lam``.
        p0_quantile: the share with one below ``p0``.

    Raises:
        ValueError: if a quantile is not in [0, 1].
    """
    for name, level in (("quantile", quantile), ("p0_quantile", p0_quantile)):
        if not 0 <= level <= 1:
            raise ValueError(f"{name} is {level}, must be between 0 and 1")
    values = np.asarray(log_density, dtype=float)
    return float(np.quantile(values, p0_quantile)), float(np.quantile(values, quantile))
