r"""The free energy of an exponential family from samples of its statistics, by reweighting all of them at once.

Every sample says something of every parameter: under ``t`` the one drawn at ``t_i`` has the weight
``exp(<f_i, t - t_i>)`` up to a constant. With samples of many parameters together the most likely density of states
has one atom at each statistic seen,

    F(t) = log sum_i exp(<f_i, t>) / D_i,    D_i = sum_g w_g exp(<f_i, t_g> - F(t_g)),

with ``w_g`` samples at ``t_g`` (Vardi 1985; in physics the multiple-histogram method of Ferrenberg and Swendsen
1989, with a binless density Shirts and Chodera 2008). ``F`` is convex and analytic whatever the samples: no splines, no
smoothness to choose, no resolution but that of the samples' own overlap.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.free_energies.base import Certificate, FreeEnergy
from hessgeo.free_energies.reweighting_problem import BLOCK, Reweighting, reweighting_nodes
from hessgeo.free_energies.standard_errors import StandardErrors
from hessgeo.grids import Frame
from hessgeo.numerics.factor import check_independent, check_samples, in_words

CHECKED = 1024  # samples whose residuals are looked at
_EXPONENTS = ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))


class ReweightedFreeEnergy(FreeEnergy):
    """``F(t) = log sum_b rho_b exp <f_b, t>`` with the density ``rho`` of the states' statistics, and its errors.

    Attributes:
        frame: the box of the samples' parameters; all else is in its units, those of statistics their inverses.
        centre: the mean statistic; the others are counted from it.
        statistics: distinct values of ``f`` less ``centre``.
        log_density: ``log rho`` of each.
        errors: what the errors follow from.
    """

    knows_errors = True

    def __init__(
        self,
        frame: Frame,
        centre: Float[Tensor, "2"],
        statistics: Float[Tensor, "bin 2"],
        log_density: Float[Tensor, "bin"],
        errors: StandardErrors,
        *,
        certificate: Certificate,
    ) -> None:
        self.frame, self.centre, self.statistics, self.log_density = frame, centre, statistics, log_density
        self.errors = errors
        self.resolution = 1.0
        self.certificate = certificate

    def value(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """``F(t)`` in nats, zero on average over the samples' parameters."""
        return self._by_block(
            lambda part: torch.logsumexp(self._log_weights(part), 1) + part @ self.centre, self.frame.into(t)
        )

    def gradient(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """``grad F(t)``, the mean of the statistics."""
        return (self._cumulants(t, 1) + self.centre) / self.frame.scale(t)

    def hessian(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """``grad^2 F(t)``, the covariance of the statistics: never indefinite."""
        return self._cumulants(t, 2) / self._product(t, 2)

    def third(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2 2"]:
        """Third derivatives, the third cumulants of the statistics."""
        return self._cumulants(t, 3) / self._product(t, 3)

    def value_error(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """See ``FreeEnergy``."""
        return self._by_block(self.errors.value_error, self.frame.into(t))

    def gradient_error(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """See ``FreeEnergy``."""
        return self._by_block(self.errors.gradient_error, self.frame.into(t)) / self.frame.scale(t)

    def hessian_error(
        self, t: Float[Tensor, "*batch 2"], jacobian: Float[Tensor, "*batch 2 2"] | None = None
    ) -> Float[Tensor, "*batch 2 2"]:
        """See ``FreeEnergy``."""
        if jacobian is None:
            jacobian = torch.eye(2).to(t).expand(*t.shape, 2)
        inner = jacobian / self.frame.scale(t)[:, None]
        both = torch.cat([self.frame.into(t), inner.flatten(-2)], dim=-1)
        return self._by_block(lambda part: self.errors.hessian_error(part[:, :2], part[:, 2:]), both)

    def hessian_response(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2 2 2"]:
        """``[i, j, k, c] = d g_ij / d E_kc``: the metric of a fit to ``f + E f`` in place of ``f``, to first order."""
        half = self.frame.scale(t)
        response = self._by_block(self.errors.hessian_response, self.frame.into(t))
        return response * (half[:, None] / half) / self._product(t, 2)[..., None, None]

    def effective_samples(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """Samples that speak of ``t`` (Kish), ``1 / sum_i p_i^2`` for their weights ``p_i`` under ``t``."""
        return self._by_block(self.errors.effective_samples, self.frame.into(t))

    def _product(self, t: Tensor, rank: int) -> Tensor:
        """Half sides to the power of a tensor's rank, two or three: what box units multiply it by."""
        square = self.frame.scale(t)[:, None] * (half := self.frame.scale(t))
        return square if rank == 2 else square[..., None] * half

    def _log_weights(self, t: Float[Tensor, "point 2"]) -> Float[Tensor, "point bin"]:
        return t @ self.statistics.T.to(t) + self.log_density.to(t)

    def _by_block(self, function: Callable[[Tensor], Tensor], t: Float[Tensor, "*batch c"]) -> Tensor:
        flat = t.reshape(-1, t.shape[-1])
        results = [function(part) for part in flat.split(max(1, BLOCK // len(self.statistics)))]
        return torch.cat(results).reshape(t.shape[:-1] + results[0].shape[1:])

    def _cumulants(self, t: Float[Tensor, "*batch 2"], order: int) -> Tensor:
        """The symmetric tensor of cumulants of one order in box units, by moments about ``centre``."""
        a, b = self.statistics.to(t).unbind(1)
        powers = torch.stack([a**i * b**j for i, j in _EXPONENTS if i + j <= order], dim=1)

        def cumulants(part: Tensor) -> Tensor:
            m = torch.softmax(self._log_weights(part), dim=1) @ powers
            mean = m[:, :2]
            if order == 1:
                return mean
            square = mean[:, :, None] * mean[:, None, :]
            raw = m[:, [2, 3, 3, 4]].reshape(-1, 2, 2)
            if order == 2:
                return raw - square
            mixed = torch.einsum("nij,nk->nijk", raw, mean)
            mixed = mixed + mixed.permute(0, 2, 3, 1) + mixed.permute(0, 3, 1, 2)
            cubes = m[:, [5, 6, 6, 7, 6, 7, 7, 8]].reshape(-1, 2, 2, 2)
            return cubes - mixed + 2 * torch.einsum("nij,nk->nijk", square, mean)

        return self._by_block(cumulants, self.frame.into(t))


@in_words("reweighting")
def fit_reweighted(
    statistics: Float[np.ndarray, "n 2"],
    t: Float[np.ndarray, "n 2"],
    *,
    nodes: int = 512,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
    device: str = "cpu",
    progress: bool = False,
) -> ReweightedFreeEnergy:
    r"""The free energy most likely to have given samples of sufficient statistics.

    Minimises, by damped Newton over its values ``F_g`` at the nodes, the convex function

        sum_g w_g F_g + sum_i log sum_g w_g exp(<f_i, t_g> - F_g),

    whose minimum makes each node's share of the samples, as the statistics tell it, the share that was drawn. It is
    the profile of the likelihood over all densities of states, and the cross-entropy of Eq. 21 between parameters
    and statistics. Parameters at random points are gathered in cells no wider than the scatter of an estimate of ``t``
    from one sample, each of four nodes that keep its mean and covariance: an error of fourth order in the width.

    Errors are those of a stratified sample, ``sum_i Var[I(f_i) | t_i]`` with ``I`` the influence of a sample on what is
    asked, its own weight and its part in ``F_g`` (Kong et al. 2003); they take nothing of the law of the statistics
    but that the family is exponential, which ``pearson`` checks.

    Args:
        statistics: sufficient statistics ``f(x_i)``, one sample a row.
        t: natural parameter of each sample.
        nodes: at most so many carry ``w``; where the distinct parameters are no more they are the nodes themselves.
        tolerance: Newton decrement, in nats over all samples, to stop at.
        max_iterations: of Newton's method.
        device: where the sums of the fit run.
        progress: show the decrement on a progress bar.

    Returns:
        The fit, on the CPU. ``certificate`` has ``converged``, ``iterations``, ``decrement``, ``distinct``
        (statistics), ``nodes``, ``width`` (90th percentile over samples of their cells' widths, in standard errors of
        one sample; to be below 3) and ``pearson`` (mean of ``(f - grad F)' g^-1 (f - grad F) / 2``; 1 in a family).

    Raises:
        ValueError: on shapes that do not match, values that are not finite, or statistics that fall along ``t``.
        DegenerateError: if the statistics are constant or linearly dependent.
    """
    _check(statistics, t)
    frame, places, f = Frame.around(t), np.asarray(t, dtype=float), np.asarray(statistics, dtype=float)
    # In box units, to which the statistics are conjugate when they are multiplied by its half sides.
    f, u = f * np.array(frame.half), frame.into(places)
    centre, placed = f.mean(axis=0), reweighting_nodes(f, u, nodes)
    distinct, counts = np.unique(f, axis=0, return_counts=True)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=float)).to(device)

    problem = Reweighting(*map(tensor, (distinct - centre, counts, placed.points, placed.weight)))
    found = problem.minimise(
        tensor(placed.potential), tolerance=tolerance, max_iterations=max_iterations, progress=progress
    )
    state = found.point.on_cpu()
    free_energy = ReweightedFreeEnergy(
        frame,
        torch.from_numpy(centre),
        state.problem.statistics,
        # <centre, t> is on average over the samples what it is at their mean.
        state.problem.counts.log() - state.log_mixture - float(centre @ u.mean(axis=0)),
        state.errors(),
        certificate={**found.certificate, "distinct": len(distinct), "nodes": len(placed.points)},
    )
    free_energy.certificate |= {
        "width": placed.width,
        "pearson": _pearson(free_energy, f, places),
        "gauge": "zero on average over the samples",
    }
    return free_energy


def _pearson(
    free_energy: ReweightedFreeEnergy, f: Float[np.ndarray, "n 2"], t: Float[np.ndarray, "n 2"]
) -> float:
    """Mean of the squared standardised residuals of some of the statistics, which are in box units, over 2."""
    few = slice(None, None, max(1, len(t) // CHECKED))
    places = torch.from_numpy(t[few])
    half = free_energy.frame.scale(places)
    residual = torch.from_numpy(f[few]) - free_energy.gradient(places) * half
    metric = free_energy.hessian(places) * half[:, None] * half
    return float((residual * torch.linalg.solve(metric, residual)).sum(1).mean()) / 2


def _check(statistics: np.ndarray, t: np.ndarray) -> None:
    check_samples(statistics, t, "statistics")
    frame = Frame.around(t)
    u, f = frame.into(np.asarray(t, dtype=float)), statistics * np.array(frame.half)
    slope = np.linalg.lstsq(u - u.mean(axis=0), f - f.mean(axis=0), rcond=None)[0]
    check_independent(f, "reweighting")
    # The likelihood of the pooled statistics alone cannot tell f from -f.
    if np.linalg.eigvalsh(slope + slope.T)[-1] < 0:
        raise ValueError("the statistics fall along every parameter: their sign is not that of f")
