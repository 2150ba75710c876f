"""Known potentials: convex functions with exact derivatives, and the noise-free posteriors they imply."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.free_energies.base import Certificate, FreeEnergy
from hessgeo.grids import Grid
from hessgeo.posteriors.base import Posterior, row_moments

Scalar = Callable[[Tensor], Tensor]


class KnownPotential(FreeEnergy):
    """A potential given by its formula; derivatives by automatic differentiation."""

    def __init__(self, name: str, formula: Scalar, *, kinked: bool = False) -> None:
        self.name = name
        self.formula = formula
        self.kinked = kinked
        self.resolution = float("nan")
        self.certificate: Certificate = {"converged": True}

    def value(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """``F(t)``."""
        return self.formula(t)

    def gradient(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """``grad F(t)``; on a kink, one of its subgradients."""
        return self._per_point(torch.func.grad(self.formula), t)

    def hessian(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """``grad^2 F(t)``, away from kinks."""
        return self._per_point(torch.func.hessian(self.formula), t)

    def third(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2 2"]:
        """Third derivatives, away from kinks."""
        return self._per_point(torch.func.jacfwd(torch.func.hessian(self.formula)), t)

    @staticmethod
    def _per_point(function: Scalar, t: Float[Tensor, "*batch 2"]) -> Tensor:
        flat = t.reshape(-1, 2)
        out = torch.vmap(function)(flat)
        return out.reshape(*t.shape[:-1], *out.shape[1:])


def _three_phases(sharpness: float) -> Scalar:
    def formula(t: Tensor) -> Tensor:
        a, b = t[..., 0], t[..., 1]
        heights = torch.stack([0.8 * a - 0.3 * b, -0.2 * a + 0.7 * b, -0.6 * a - 0.5 * b], dim=-1)
        return torch.logsumexp(sharpness * heights, dim=-1) / sharpness

    return formula


def _curie_weiss(t: Tensor) -> Tensor:
    # 24 spins: log of sum over magnetisations of binomial * exp(K M^2 / 2n + h M), K in [0, 2], h in [-.5, .5]
    n = 24
    m = torch.arange(-n, n + 1, 2, dtype=t.dtype, device=t.device)
    up = (n + m) / 2
    binomial = torch.lgamma(torch.tensor(n + 1.0)) - torch.lgamma(up + 1) - torch.lgamma(n - up + 1)
    coupling, field = 1 + t[..., :1], 0.5 * t[..., 1:]
    return torch.logsumexp(binomial + coupling * m**2 / (2 * n) + field * m, dim=-1) / n


def _dirichlet(t: Tensor) -> Tensor:
    # log-partition function of a Beta law in its natural parameters, shape parameters in [1, 3]
    alpha, beta = 2 + t[..., 0], 2 + t[..., 1]
    return (torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)) / 4


POTENTIALS: dict[str, KnownPotential] = {
    p.name: p
    for p in (
        KnownPotential(
            "quadratic", lambda t: 0.4 * t[..., 0] ** 2 + 0.1 * t[..., 0] * t[..., 1] + 0.2 * t[..., 1] ** 2
        ),
        KnownPotential(
            "log_cosh", lambda t: torch.logaddexp(3 * t[..., 0], -3 * t[..., 0]) / 6 + 0.1 * t[..., 1] ** 2
        ),
        KnownPotential("beta_family", _dirichlet),
        KnownPotential("curie_weiss", _curie_weiss),
        KnownPotential("three_phases_soft", _three_phases(6.0)),
        KnownPotential("three_phases_sharp", _three_phases(20.0)),
        KnownPotential(
            "ridge", lambda t: torch.abs(t[..., 0] - 0.13) / 2 + 0.1 * (t**2).sum(-1), kinked=True
        ),
        KnownPotential("three_phases_kinked", lambda t: _kinked(t), kinked=True),
    )
}


def _kinked(t: Tensor) -> Tensor:
    a, b = t[..., 0], t[..., 1]
    return torch.maximum(torch.maximum(0.8 * a - 0.3 * b, -0.2 * a + 0.7 * b), -0.6 * a - 0.5 * b)


def planes(count: int, sharpness: float, seed: int = 0) -> KnownPotential:
    """The soft maximum of planes drawn at random: kinks as sharp as one likes."""
    rng = np.random.default_rng(seed)
    slopes, heights = (
        torch.from_numpy(rng.normal(size=(count, 2))),
        torch.from_numpy(0.3 * rng.normal(size=count)),
    )

    def formula(t: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(sharpness * (t @ slopes.T + heights), dim=-1) / sharpness

    return KnownPotential(f"{count} planes", formula)


def largest_errors(
    value: Float[np.ndarray, "n"],
    gradient: Float[np.ndarray, "n 2"],
    truth: FreeEnergy,
    points: Float[np.ndarray, "n 2"],
) -> tuple[float, float]:
    """Largest errors of values and slopes, relative to the ranges of the truth, without an affine function."""
    t = torch.from_numpy(points)
    true_value, slope = truth.value(t).numpy(), truth.gradient(t).numpy()
    off, plane = value - true_value, np.column_stack([np.ones(len(t)), points])
    affine = np.linalg.lstsq(plane, off)[0]
    return (
        float(np.abs(off - plane @ affine).max() / np.ptp(true_value)),
        float(np.abs(gradient - slope - affine[1:]).max() / np.ptp(slope, axis=0).max()),
    )


def worst(fit: FreeEnergy, truth: FreeEnergy, points: Float[np.ndarray, "n 2"]) -> tuple[float, float]:
    """Largest errors of a fit and of its gradient."""
    t = torch.from_numpy(points)
    return largest_errors(fit.value(t).numpy(), fit.gradient(t).numpy(), truth, points)


def covered(fit: FreeEnergy, truth: FreeEnergy, grid: Grid) -> float:
    """Share of the components of the true metric at the nodes that lie inside bars of 95 %."""
    t = torch.from_numpy(grid.points)
    inside = (fit.hessian(t) - truth.hessian(t)).abs() <= 1.96 * fit.hessian_error(t)
    return float(inside[:, [0, 0, 1], [0, 1, 1]].double().mean())


def exact_posterior(
    potential: FreeEnergy, grid: Grid, *, resolution: float
) -> tuple[Posterior, Float[np.ndarray, "source node"]]:
    """The posterior that a potential implies on a grid, ``softmax_g N(<t_g, grad F(t_i)> - F(t_g))`` (Eq. 21).

    Returns:
        Its moments, every node being a source, and the full matrix (row: source).
    """
    t = torch.from_numpy(grid.points)
    # About the centre: far from the origin a row's constant, which tells nothing, would cost it digits.
    slope, centre = potential.gradient(t), t.mean(dim=0)
    logits = resolution * (slope @ (t - centre).T - potential.value(t))
    log_norm = torch.logsumexp(logits, dim=1) + resolution * slope @ centre
    p = torch.softmax(logits, dim=1).numpy()
    return posterior_of_matrix(p, grid, resolution=resolution, log_normaliser=log_norm.numpy()), p


def posterior_of_matrix(
    p: Float[np.ndarray, "source node"],
    grid: Grid,
    *,
    resolution: float,
    log_normaliser: Float[np.ndarray, "source"] | None = None,
) -> Posterior:
    """Moments of a posterior held as a matrix whose sources are all the nodes of a grid."""
    mean, central = row_moments(p, grid.points)
    entropy = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0).sum(axis=1)
    return Posterior(
        t=grid.points,
        mean=mean,
        central_moment=central,
        marginal=p.sum(axis=0),
        entropy=entropy,
        log_normaliser=np.zeros(len(mean)) if log_normaliser is None else log_normaliser,
        resolution=resolution,
        kernel="matrix",
        exclude_self=False,
    )
