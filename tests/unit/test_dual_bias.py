"""Few draws a source do not make the metric larger: what the free slopes take of the noise is given back."""

import numpy as np
import pytest
import torch
from potentials import POTENTIALS, exact_posterior

from hessgeo.free_energies.dual import fit_dual
from hessgeo.free_energies.dual_bias import spread_by_means
from hessgeo.free_energies.dual_solution import solve_dual, solved_again
from hessgeo.grids import Grid
from hessgeo.posteriors.base import Posterior, row_moments


@pytest.mark.parametrize("draws", [3, 5, 20])
def test_curvature_of_a_parabola_from_few_draws(draws):
    grid, generator = Grid(((-1.0, 1.0),), (40,)), np.random.default_rng(draws)
    source = np.linspace(-0.8, 0.8, 800)[:, None]
    logit = 30.0 * (source @ grid.points.T - grid.points[:, 0] ** 2 / 2)
    p = np.exp(logit - logit.max(axis=1, keepdims=True))
    rows = generator.multinomial(draws, p / p.sum(axis=1, keepdims=True)) / draws
    mean, central = row_moments(rows, grid.points)
    entropy = -(rows * np.log(np.where(rows > 0, rows, 1))).sum(axis=1)
    posterior = Posterior(
        source,
        mean,
        central,
        rows.sum(axis=0),
        entropy,
        np.zeros(800),
        30.0,
        "matrix",
        False,
        support=grid.points,
    )
    fit = fit_dual(posterior, grid)
    t = torch.linspace(-0.7, 0.7, 29, dtype=torch.float64)[:, None]
    # Without it the metric is larger by 1 / (draws - 1).
    assert float(fit.hessian(t).mean()) == pytest.approx(1.0, abs=0.35 / (draws - 1))
    assert fit.certificate["noise"] == pytest.approx(1 / draws, rel=0.25)
    assert fit.certificate["converged"]


def test_the_term_is_the_slope_of_the_covariances_at_means_that_are_held():
    grid = Grid(((-1.0, 1.0), (-1.0, 1.0)), (7, 7))
    posterior, _ = exact_posterior(POTENTIALS["log_cosh"], grid, resolution=6.0)
    solution = solve_dual(posterior, grid, tolerance=1e-13, max_iterations=100)[-1]
    marginal, generator = solution.point.problem.marginal, torch.Generator().manual_seed(0)
    # Another potential is the one of another marginal, and the means are the data's at the minimum of both.
    off = solution.point.problem.without_gauge(
        torch.randn(grid.size, generator=generator, dtype=torch.float64)
    )
    off = 1e-4 * marginal.min() * off / off.abs().max()
    ends = [
        solved_again(solution, marginal + sign * off, tolerance=1e-13, max_iterations=100).point
        for sign in (-1, 1)
    ]
    assert float((ends[1].mean - ends[0].mean).abs().max()) < 1e-9
    change = torch.logdet(ends[0].covariance).sum() - torch.logdet(ends[1].covariance).sum()
    expected = spread_by_means(solution.point) @ (ends[1].phi - ends[0].phi)
    assert float(change) == pytest.approx(float(expected), rel=1e-4)
