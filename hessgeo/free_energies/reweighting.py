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

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from hessgeo.free_energies.base import FreeEnergy
from hessgeo.free_energies.influence import Accuracy, NodeInverse
from hessgeo.free_energies.strata import Strata
from hessgeo.grids import Frame
from hessgeo.numerics.factor import check_independent, in_words

# Numbers in memory at once; distinct statistics that carry second derivatives and errors; samples that are checked.
BLOCK, LARGEST_CARRIED, CHECKED = 2**23, 2**13, 1024
_EXPONENTS = ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))


class ReweightedFreeEnergy(FreeEnergy):
    """``F(t) = log sum_b rho_b exp <f_b, t>`` with the density ``rho`` of the states' statistics, and its errors.

    Attributes:
        frame: the box of the samples' parameters; all else is in its units, those of statistics their inverses.
        centre: the mean statistic; the others are counted from it.
        statistics: distinct values of ``f`` less ``centre``.
        log_density: ``log rho`` of each.
        accuracy: what the errors follow from.
    """

    def __init__(
        self,
        frame: Frame,
        centre: Float[Tensor, "2"],
        statistics: Float[Tensor, "bin 2"],
        log_density: Float[Tensor, "bin"],
        accuracy: Accuracy,
        *,
        certificate: dict[str, float | int | bool | str],
    ) -> None:
        self.frame, self.centre, self.statistics, self.log_density = frame, centre, statistics, log_density
        self.accuracy = accuracy
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
        """Standard error of ``F(t)``, in the gauge of ``value``."""
        return self._by_block(self.accuracy.value_error, self.frame.into(t))

    def gradient_error(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Standard errors of the gradient."""
        return self._by_block(self.accuracy.gradient_error, self.frame.into(t)) / self.frame.scale(t)

    def hessian_error(
        self, t: Float[Tensor, "*batch 2"], jacobian: Float[Tensor, "*batch 2 2"] | None = None
    ) -> Float[Tensor, "*batch 2 2"]:
        """Standard errors of the metric's entries.

        Args:
            t: where.
            jacobian: ``[i, j] = d t_i / d u_j``; the errors are then those of ``J' g J``, the metric in ``u``.
        """
        if jacobian is None:
            jacobian = torch.eye(2).to(t).expand(*t.shape, 2)
        inner = jacobian / self.frame.scale(t)[:, None]
        both = torch.cat([self.frame.into(t), inner.flatten(-2)], dim=-1)
        return self._by_block(lambda part: self.accuracy.hessian_error(part[:, :2], part[:, 2:]), both)

    def hessian_response(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2 2 2"]:
        """``[i, j, k, c] = d g_ij / d E_kc``: the metric of a fit to ``f + E f`` in place of ``f``, to first order."""
        half = self.frame.scale(t)
        response = self._by_block(self.accuracy.hessian_response, self.frame.into(t))
        return response * (half[:, None] / half) / self._product(t, 2)[..., None, None]

    def effective_samples(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """Samples that speak of ``t`` (Kish), ``1 / sum_i p_i^2`` for their weights ``p_i`` under ``t``."""
        return self._by_block(self.accuracy.effective_samples, self.frame.into(t))

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
    frame, t = Frame.around(t), np.asarray(t, dtype=float)
    # In box units, to which the statistics are conjugate when they are multiplied by its half sides.
    places, statistics = torch.from_numpy(t), np.asarray(statistics, dtype=float) * np.array(frame.half)
    t, centre = frame.into(t), statistics.mean(axis=0)
    placed = reweighting_nodes(statistics, t, nodes)
    distinct, counts = np.unique(statistics, axis=0, return_counts=True)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=float)).to(device)

    problem = Reweighting(
        tensor(distinct - centre), tensor(counts), tensor(placed.points), tensor(placed.weight)
    )
    start = tensor(placed.potential)
    fit, iterations, decrement = minimise(problem, start, tolerance, max_iterations, progress)
    problem, fit = _on_cpu(problem), _on_cpu(fit)
    free_energy = ReweightedFreeEnergy(
        frame,
        torch.from_numpy(centre),
        problem.statistics,
        # <centre, t> is on average over the samples what it is at their mean.
        problem.counts.log() - fit.log_mixture - float(centre @ t.mean(axis=0)),
        problem.accuracy(fit),
        certificate={},
    )
    few = slice(None, None, max(1, len(t) // CHECKED))
    places, half = places[few], frame.scale(places)
    residual = torch.from_numpy(statistics[few]) - free_energy.gradient(places) * half
    metric = free_energy.hessian(places) * half[:, None] * half
    square = (residual * torch.linalg.solve(metric, residual)).sum(1)
    free_energy.certificate = {
        "converged": decrement <= tolerance,
        "iterations": iterations,
        "decrement": decrement,
        "distinct": len(distinct),
        "nodes": len(placed.points),
        "width": placed.width,
        "pearson": float(square.mean()) / 2,
        "gauge": "zero on average over the samples",
    }
    return free_energy


class PlacedNodes(NamedTuple):
    """The nodes that stand for the samples' parameters.

    Attributes:
        points: natural parameters.
        weight: samples at each.
        potential: a first guess of ``F`` there.
        width: 90th percentile over samples of their cells' widths, in standard errors of ``t`` from one sample.
    """

    points: Float[np.ndarray, "node 2"]
    weight: Float[np.ndarray, "node"]
    potential: Float[np.ndarray, "node"]
    width: float


def reweighting_nodes(
    statistics: Float[np.ndarray, "n 2"], t: Float[np.ndarray, "n 2"], nodes: int
) -> PlacedNodes:
    """The samples' distinct parameters, or where they are more than ``nodes`` four for each cell of them."""
    strata = Strata.of(t, statistics - statistics.mean(axis=0), largest=max(nodes // 4, 1))
    points, weight = np.unique(t, axis=0, return_counts=True)
    width = 0.0
    if len(points) > nodes:
        points, weight = strata.nodes()
        width = float(np.quantile(strata.width, 0.9, weights=strata.count, method="inverted_cdf"))
    return PlacedNodes(points, weight, strata.potential(points), width)


def _check(statistics: np.ndarray, t: np.ndarray) -> None:
    if statistics.ndim != 2 or statistics.shape != t.shape or t.shape[1:] != (2,):
        raise ValueError(f"statistics {statistics.shape} and t {t.shape} must both have shape (n, 2)")
    if not (np.isfinite(statistics).all() and np.isfinite(t).all()):
        raise ValueError("statistics or t hold values that are not finite")
    frame = Frame.around(t)
    u, f = frame.into(np.asarray(t, dtype=float)), statistics * np.array(frame.half)
    slope = np.linalg.lstsq(u - u.mean(axis=0), f - f.mean(axis=0), rcond=None)[0]
    check_independent(f, "reweighting")
    # The likelihood of the pooled statistics alone cannot tell f from -f.
    if np.linalg.eigvalsh(slope + slope.T)[-1] < 0:
        raise ValueError("the statistics fall along every parameter: their sign is not that of f")


@dataclass(frozen=True)
class _State:
    """The loss at some node values, its gradient, and what its second derivative is made of."""

    values: Float[Tensor, "node"]
    loss: float
    log_mixture: Float[Tensor, "bin"]  # log D
    gradient: Float[Tensor, "node"]
    overlap: Float[Tensor, "node node"]  # sum_b n_b q_bg q_bh


@dataclass(frozen=True)
class Reweighting:
    """Statistics with their numbers of samples, and nodes with theirs."""

    statistics: Float[Tensor, "bin 2"]
    counts: Float[Tensor, "bin"]
    nodes: Float[Tensor, "node 2"]
    weight: Float[Tensor, "node"]

    @property
    def stride(self) -> int:
        """One in so many statistics carries second derivatives and errors; where they are sorted, a stratified part."""
        return max(1, len(self.counts) // LARGEST_CARRIED)

    def shares(self, values: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Blocks of statistics: ``log D``, and the posterior share ``q`` of each node."""
        step = self.stride * max(1, BLOCK // len(self.weight) // self.stride)
        for start in range(0, len(self.counts), step):
            part = slice(start, start + step)
            logits = self.statistics[part] @ self.nodes.T + (self.weight.log() - values)
            log_mixture = torch.logsumexp(logits, dim=1)
            yield part, log_mixture, (logits - log_mixture[:, None]).exp_()

    def carried(self, part: slice) -> Float[Tensor, "carried"]:
        """Numbers of samples of every ``stride``-th statistic, scaled to speak for all of the part."""
        few = self.counts[part][:: self.stride]
        return few * (self.counts[part].sum() / few.sum())

    def state(self, values: Float[Tensor, "node"]) -> _State:
        """The loss and its derivatives."""
        log_mixtures, drawn = [], torch.zeros_like(values)
        overlap = values.new_zeros(len(values), len(values))
        for part, log_mixture, share in self.shares(values):
            log_mixtures.append(log_mixture)
            drawn += self.counts[part] @ share
            few = share[:: self.stride]
            overlap += few.T @ (self.carried(part)[:, None] * few)
        log_mixture = torch.cat(log_mixtures)
        loss = float(self.weight @ values + self.counts @ log_mixture)
        return _State(values, loss, log_mixture, self.weight - drawn, overlap)

    def matched(self, state: _State) -> _State:
        """The state at ``F_g = log sum_b n_b exp(<f_b, t_g>) / D_b``, never higher: it minimises a majorant."""
        values = []
        for few in torch.arange(len(self.weight)).split(max(1, BLOCK // len(self.counts))):
            logits = self.nodes[few] @ self.statistics.T + (self.counts.log() - state.log_mixture)
            values.append(torch.logsumexp(logits, dim=1))
        return self.state(torch.cat(values))

    def accuracy(self, state: _State) -> Accuracy:
        """What errors follow from, at the minimum."""
        whole = slice(0, len(self.counts))
        share = torch.cat([share[:: self.stride] for _, _, share in self.shares(state.values)])
        return Accuracy(
            statistics=self.statistics[:: self.stride],
            counts=self.carried(whole),
            log_mixture=state.log_mixture[:: self.stride],
            share=share,
            nodes=self.nodes,
            weight=self.weight,
            overlap=state.overlap,
            inverse=NodeInverse.of(state.overlap, self.weight),
        )


_Part = TypeVar("_Part", _State, Reweighting)


def _on_cpu(part: _Part) -> _Part:
    """The same with its tensors on the CPU."""
    tensors: dict[str, Any] = {name: x.cpu() for name, x in vars(part).items() if isinstance(x, Tensor)}
    return replace(part, **tensors)


def minimise(
    problem: Reweighting, values: Float[Tensor, "node"], tolerance: float, max_iterations: int, progress: bool
) -> tuple[_State, int, float]:
    """Damped Newton to the minimum, with the number of its steps and the last decrement."""
    state, iterations = problem.state(values), 0
    with tqdm(total=max_iterations, desc="reweighting", disable=not progress) as bar:
        while True:
            # Newton moves a node whose F is far too high by no more than a nat at a time; matching moves it at once.
            if bool((state.gradient > problem.weight / 2).any()) and iterations < max_iterations:
                state = problem.matched(state)
            step = -NodeInverse.of(state.overlap, problem.weight)(state.gradient[:, None])[:, 0]
            decrement = -float(state.gradient @ step) / 2
            bar.set_postfix(decrement=f"{decrement:.1e}")
            if decrement <= tolerance or iterations >= max_iterations:
                break
            state, iterations = _line_search(problem, state, step, decrement), iterations + 1
            bar.update()
    # In the gauge where F is zero on average over the samples.
    level = float(problem.weight @ state.values / problem.weight.sum())
    state = replace(state, values=state.values - level, log_mixture=state.log_mixture + level)
    return state, iterations, decrement


def _line_search(
    problem: Reweighting, state: _State, step: Float[Tensor, "node"], decrement: float
) -> _State:
    """Armijo backtracking; a decrease below the loss's rounding is taken untested."""
    length = 1.0
    while length > 1e-10:
        trial = problem.state(state.values + length * step)
        if 2 * decrement < 1e-10 * abs(state.loss) or trial.loss <= state.loss - 2e-4 * length * decrement:
            return trial
        length /= 2
    raise ArithmeticError(f"Newton's line search found no decrease from a loss of {state.loss:.6g} nats")
