"""The noise of a dual solution: what posteriors drawn again would make of it, and how much to smooth for its sake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import uniform_filter
from scipy.stats import chi2

from hessgeo.free_energies.dual_problem import DualPoint
from hessgeo.free_energies.potential_problem import Misfit, Observations
from hessgeo.free_energies.smoothness import local_scatter
from hessgeo.grids import Grid
from hessgeo.numerics.bsplines import SplineBasis, derivatives
from hessgeo.numerics.row_matrices import column_sums, entries, with_entries

_DRAWS = 24  # their variances are averaged over neighbouring nodes, too
_LOW = 0.1  # share of the sources that show the least scatter
_NEIGHBOURS = 3  # nodes along each axis
_WEIGHTS = 10.0 ** np.arange(-8.0, 4.5, 0.5)  # of squared third differences, beside squared misfits
_BIAS_STEPS = 2  # of these weights, a factor of ten: what they still change is what smoothing has cost


@dataclass(frozen=True)
class Draws:
    """Deviations of potential and slopes in a number of repetitions, in the units of a ``DualPoint``."""

    phi: Float[np.ndarray, "node draw"]
    theta: Float[np.ndarray, "source axis draw"]


@dataclass(frozen=True)
class Smoothed:
    """What smoothing gives, and the mean squares of its errors at the nodes, in box units.

    Attributes:
        weight: of the third differences.
        value: of the errors of ``F``.
        gradient: of both components of its gradient.
        hessian: mean products of the errors of ``(F_aa, F_ab, F_bb)``, of one axis that of ``F_aa``.
        raw_gradient: what the unsmoothed slopes have of noise, at the sources.
    """

    weight: float
    value: Float[np.ndarray, "*nodes"]
    gradient: Float[np.ndarray, "*nodes axis"]
    hessian: Float[np.ndarray, "*nodes pair pair"]
    raw_gradient: Float[np.ndarray, "source"]


@dataclass(frozen=True)
class Dispersion:
    """Scatter of the means between neighbouring sources, relative to that of single draws.

    Attributes:
        noise: by a low quantile: what the sources with the least of it show. Kinks and bends that a polynomial between
            neighbours does not follow may be nearly everywhere, noise is everywhere.
        typical: by the median, of a quadratic.
    """

    noise: float
    typical: float

    @classmethod
    def of(cls, point: DualPoint, source: Float[np.ndarray, "source axis"]) -> Dispersion:
        """Of the sources of a solution, in box units."""
        dims = source.shape[1]
        eye = torch.eye(dims).to(point.mean)
        precision = torch.linalg.inv(point.covariance + point.problem.ridge * eye)
        lows, typical = [], 0.0
        for degree in (2, 4):
            scatter = local_scatter(source, point.problem.mean.cpu().numpy(), degree).to(point.mean)
            square = torch.einsum("ik,ikl,il->i", scatter, precision, scatter).cpu().numpy()
            low, half = (float(np.quantile(square, share) / chi2.ppf(share, dims)) for share in (_LOW, 0.5))
            lows.append(low)
            typical = half if degree == 2 else typical
        return cls(min(*lows, typical), typical)


def redrawn(point: DualPoint, noise: float, seed: int) -> Draws:
    r"""What posteriors known from ``1 / noise`` draws a source would add to a solution, to first order.

    A row off by ``sqrt(noise q) z - q sum sqrt(noise q) z`` with ``z`` standard normal, as a row of frequencies is,
    moves its mean and the sum over rows; Newton's matrix takes these to potential and slopes.
    """
    generator = torch.Generator().manual_seed(seed)
    (q, turned), nodes = point.seen, point.problem.nodes.float()
    root, ones = entries(q).sqrt() * noise**0.5, torch.ones_like(nodes[:, :1])
    marginals, means = [], []
    for _ in range(_DRAWS):
        off = with_entries(q, root * torch.randn(root.shape, generator=generator).to(root))
        total = off @ ones
        marginals.append(column_sums(off) - (turned @ total)[:, 0])
        means.append(off @ nodes - total * point.mean.float())
    marginal, mean = torch.stack(marginals, dim=-1).double(), torch.stack(means, dim=-1).double()
    phi, theta = point.response(-marginal, mean)
    return Draws(phi.cpu().numpy(), theta.cpu().numpy())


def smooth(data: Observations, basis: SplineBasis, grid: Grid, draws: Draws, unit: float) -> Smoothed:
    """The weight of third differences at which the metric's expected square error is least, and that error.

    Of a weight the error is noise, known from the draws, and bias, whose square is what the fit moves away from the one
    without smoothing, less what noise alone would move it: unbiased, as in Mallows' criterion.

    Args:
        data: values and slopes.
        basis: splines of the potential.
        grid: the nodes.
        draws: noise of both.
        unit: what a unit of ``data`` is in those of the draws.
    """
    order = [order for total in range(3) for order in derivatives(total, len(basis.shape))]
    designs = [basis.design(grid.unit.points, one) for one in order]
    fields = []
    for weight in _WEIGHTS:
        misfit = Misfit.of(basis, data, weight)
        c = misfit.least(_with_draws(misfit, data, draws, unit))
        fields.append(
            np.stack([design @ c for design in designs], axis=1)
        )  # node, derivative, data and draws
    second = [sum(one) == 2 for one in order]
    rough = fields[0][:, second]
    risks = [_risk(found[:, second], rough) for found in fields]
    best = int(np.argmin(risks))
    kept, less = fields[best], fields[max(best - _BIAS_STEPS, 0)]
    square = _products(kept[..., 1:]) + _bias(kept, less)
    raw = (draws.theta**2).sum(axis=1).mean(axis=1) / unit**2
    return Smoothed(float(_WEIGHTS[best]), **_local(square, order, grid), raw_gradient=raw)


def _with_draws(
    misfit: Misfit, data: Observations, draws: Draws, unit: float
) -> Float[np.ndarray, "row column"]:
    """Right sides of the data, then those of each draw."""
    drawn = misfit.side(draws.phi[data.some] / unit, draws.theta / unit)
    return np.column_stack([misfit.right, drawn])


def _risk(
    found: Float[np.ndarray, "node pair column"], rough: Float[np.ndarray, "node pair column"]
) -> float:
    moved = (found - rough) ** 2
    noise = (found[..., 1:] ** 2).mean(-1)
    return float((moved[..., 0] - moved[..., 1:].mean(-1) + noise).sum(axis=1).mean())


def _products(off: Float[np.ndarray, "node order draw"]) -> Float[np.ndarray, "node order order"]:
    return np.einsum("gid,gjd->gij", off, off) / off.shape[-1]


def _bias(
    kept: Float[np.ndarray, "node order column"], less: Float[np.ndarray, "node order column"]
) -> np.ndarray:
    """What ten times less smoothing changes, beyond what noise explains of it; its size alone, entry by entry."""
    off = kept - less
    square = (off[..., 0] ** 2 - (off[..., 1:] ** 2).mean(-1)).clip(min=0)
    return square[:, :, None] * np.eye(square.shape[1])


def _local(square: Float[np.ndarray, "node order order"], order: list[tuple[int, ...]], grid: Grid) -> dict:
    whole = square.reshape(*grid.shape, len(order), len(order))
    size = (*(min(_NEIGHBOURS, nodes) for nodes in grid.shape), 1, 1)
    whole = uniform_filter(whole, size=size, mode="nearest")
    first, second = ([k for k, one in enumerate(order) if sum(one) == total] for total in (1, 2))
    return {
        "value": whole[..., 0, 0],
        "gradient": np.stack([whole[..., k, k] for k in first], axis=-1),
        "hessian": whole[..., second, :][..., second],
    }
