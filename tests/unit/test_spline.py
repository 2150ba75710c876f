"""The convex fit against known potentials: accuracy, certificate, gauge, error slopes, coverage of its error bars."""

import numpy as np
import pytest
import torch
from potentials import POTENTIALS, exact_posterior, posterior_of_matrix

from hessgeo.evaluation.gauge import compare
from hessgeo.free_energies.convex import ConvexProblem
from hessgeo.free_energies.spline import fit_spline
from hessgeo.grids import Grid, bilinear_weights
from hessgeo.posteriors.base import Posterior, row_moments

GRID = Grid(((-1.0, 1.0), (-1.0, 1.0)), (24, 24))
SMOOTH = ["quadratic", "log_cosh", "beta_family", "three_phases_soft", "curie_weiss"]


@pytest.mark.parametrize("name", SMOOTH)
def test_known_potentials_are_recovered(name):
    truth = POTENTIALS[name]
    fit = fit_spline(exact_posterior(truth, GRID, resolution=20.0)[0], GRID, splines=(20, 20))
    error = compare(fit, truth, GRID.points)
    # The project's accuracy goals for noise-free posteriors, at a grid well below the default one.
    assert error.value_relative < 1e-3
    assert error.gradient_relative < 1e-2
    assert fit.certificate["converged"]
    assert fit.certificate["decrement"] < 1e-8
    assert fit.certificate["iterations"] < 20


def test_gradient_and_hessian_of_the_loss_match_finite_differences():
    posterior, _ = exact_posterior(
        POTENTIALS["three_phases_soft"], Grid(((-1, 1), (-1, 1)), (9, 8)), resolution=5.0
    )
    problem = ConvexProblem.of(posterior, Grid(((-1, 1), (-1, 1)), (9, 8)), (6, 5), "cpu")
    generator = torch.Generator().manual_seed(0)
    c, d = torch.randn(2, 30, generator=generator, dtype=torch.float64) / 10
    reduction = problem.reduce(c)
    _, p = exact_posterior(POTENTIALS["three_phases_soft"], Grid(((-1, 1), (-1, 1)), (9, 8)), resolution=5.0)
    log_q = torch.log_softmax(problem.logits(c, slice(None)), dim=1).numpy()
    assert reduction.loss == pytest.approx(-(p * log_q).sum(), rel=1e-12)
    # Central differences: error of second order in the step, 1e-8 here.
    step = 1e-4
    slope = (problem.reduce(c + step * d).loss - problem.reduce(c - step * d).loss) / (2 * step)
    assert float(reduction.gradient @ d) == pytest.approx(slope, rel=1e-6)
    turn = (problem.reduce(c + step * d).gradient - problem.reduce(c - step * d).gradient) / (2 * step)
    np.testing.assert_allclose(reduction.hessian @ d, turn, rtol=1e-5, atol=1e-6 * float(turn.abs().max()))


def test_the_precision_of_a_source_is_that_of_its_row_spread_over_cells():
    grid = Grid(((-1, 1), (-1, 1)), (9, 6))  # cells of unequal sides
    posterior, _ = exact_posterior(POTENTIALS["log_cosh"], grid, resolution=400.0)
    problem = ConvexProblem.of(posterior, grid, (6, 5), "cpu")
    c = torch.randn(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / 10
    q = torch.softmax(problem.logits(c, slice(None)), dim=1).numpy()
    _, central = row_moments(q, grid.points)
    # A node stands for the cell about it, evenly filled: the variance of a uniform law of that width adds.
    spread = central[:, [[0, 1], [1, 2]]] + np.diag(np.array(grid.spacing) ** 2 / 12)
    np.testing.assert_allclose(problem.reduce(c).precision, np.linalg.inv(spread), rtol=1e-9, atol=1e-9)
    assert central[:, 2].min() < 0.1 * grid.spacing[1] ** 2 / 12  # rows on one node would have no inverse


def test_the_loss_is_blind_to_the_gauge():
    posterior, _ = exact_posterior(POTENTIALS["log_cosh"], GRID, resolution=20.0)
    problem = ConvexProblem.of(posterior, GRID, (8, 8), "cpu")
    c = torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 10
    shift = problem.basis.affine @ torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    assert problem.reduce(c + shift).loss == pytest.approx(problem.reduce(c).loss, rel=1e-10)


def test_error_falls_with_the_fourth_power_of_the_knot_spacing():
    truth, counts = POTENTIALS["log_cosh"], np.array([9, 12, 16])
    posterior, _ = exact_posterior(truth, Grid(((-1, 1), (-1, 1)), (32, 16)), resolution=20.0)
    grid = Grid(((-1, 1), (-1, 1)), (32, 16))
    errors = [
        compare(fit_spline(posterior, grid, splines=(k, 6), smoothness=1e-9), truth, grid.points).value
        for k in counts
    ]
    slope = np.polyfit(np.log(counts - 3.0), np.log(errors), 1)[0]
    # Cubic splines approximate a smooth function to fourth order; superconvergence at nodes may add to it.
    assert slope < -3.5


def test_fit_of_scattered_samples_converges_with_the_nodes_that_carry_them():
    truth = POTENTIALS["quadratic"]
    t = np.random.default_rng(1).uniform(-1, 1, (1500, 2))
    points = torch.from_numpy(t)
    p = torch.softmax(20.0 * (truth.gradient(points) @ points.T - truth.value(points)), dim=1).numpy()
    mean, central = row_moments(p, t)
    posterior = Posterior(
        t=t,
        mean=mean,
        central_moment=central,
        marginal=p.sum(axis=0),
        entropy=-(p * np.log(p)).sum(axis=1),
        log_normaliser=np.zeros(len(t)),
        resolution=20.0,
        kernel="matrix",
        exclude_self=False,
    )
    errors = []
    for nodes in (12, 24):
        fit = fit_spline(posterior, Grid(GRID.extent, (nodes, nodes)), splines=(8, 8), smoothness=1e-3)
        errors.append(compare(fit, truth, GRID.points).gradient_relative)
    # Bilinear spreading widens the posterior by O(spacing^2): a quarter for half the spacing.
    assert errors[1] < 0.4 * errors[0]
    assert errors[1] < 0.02


def _drawn(truth, grid, resolution, draws, generator):
    """A posterior known from a finite number of draws a source."""
    _, p = exact_posterior(truth, grid, resolution=resolution)
    counts = generator.multinomial(draws, p / p.sum(axis=1, keepdims=True))
    return posterior_of_matrix(counts / draws, grid, resolution=resolution)


def test_error_bars_cover_the_truth():
    truth, generator = POTENTIALS["three_phases_soft"], np.random.default_rng(5)
    t = torch.from_numpy(GRID.points)
    inside = (np.abs(GRID.points) < 0.8).all(axis=1)
    covered = []
    for _ in range(4):
        fit = fit_spline(_drawn(truth, GRID, 20.0, 50, generator), GRID, splines=(16, 16))
        deviation = (fit.hessian(t) - truth.hessian(t)).abs() / fit.hessian_error(t)
        covered.append((deviation.numpy()[inside] < 1.96).mean())
    # 4 x 400 correlated nodes: about 100 independent ones, so the share of 0.95 has a standard error near 0.02;
    # the error of the basis itself, which the bars also hold, adds to it where it is not small against the noise.
    assert 0.90 < np.mean(covered) < 0.995


def test_dispersion_is_that_of_the_draws_and_error_falls_with_their_root():
    truth, generator = POTENTIALS["quadratic"], np.random.default_rng(2)
    errors = []
    for draws in (10, 160):
        fit = fit_spline(_drawn(truth, GRID, 20.0, draws, generator), GRID, splines=(10, 10))
        # A mean of n draws scatters with a dispersion of 1 / n; 576 sources give it to about 5 %.
        assert fit.certificate["noise"] == pytest.approx(1 / draws, rel=0.2)
        assert fit.certificate["misfit"] == pytest.approx(1 / draws, rel=0.2)
        errors.append(compare(fit, truth, GRID.points).gradient)
    # 16 times the draws: a quarter of the error, give or take the luck of one data set.
    assert errors[1] < 0.5 * errors[0]


def test_smoothness_grows_with_the_noise():
    truth, generator = POTENTIALS["three_phases_soft"], np.random.default_rng(3)
    noisy, clean = (
        fit_spline(_drawn(truth, GRID, 20.0, n, generator), GRID, splines=(12, 12)) for n in (5, 500)
    )
    assert noisy.certificate["smoothness"] > clean.certificate["smoothness"]
    assert noisy.certificate["degrees_of_freedom"] < clean.certificate["degrees_of_freedom"]


def test_fit_does_not_depend_on_blocks(monkeypatch):
    posterior, _ = exact_posterior(POTENTIALS["curie_weiss"], GRID, resolution=10.0)
    whole = fit_spline(posterior, GRID, splines=(8, 8), smoothness=1e-6)
    monkeypatch.setattr("hessgeo.free_energies.convex._BLOCK_ENTRIES", 7 * GRID.size)
    parts = fit_spline(posterior, GRID, splines=(8, 8), smoothness=1e-6)
    torch.testing.assert_close(parts.coefficients, whole.coefficients, rtol=0, atol=1e-9)


def test_derivatives_of_the_fit_are_those_of_its_value():
    fit = fit_spline(exact_posterior(POTENTIALS["log_cosh"], GRID, resolution=20.0)[0], GRID, splines=(8, 8))
    t = torch.tensor([[0.21, -0.4], [0.5, 0.33]], dtype=torch.float64)
    torch.testing.assert_close(fit.gradient(t), torch.func.vmap(torch.func.grad(fit.value))(t))
    torch.testing.assert_close(fit.hessian(t), torch.func.vmap(torch.func.jacfwd(fit.gradient))(t))
    torch.testing.assert_close(fit.third(t), torch.func.vmap(torch.func.jacfwd(fit.hessian))(t))


def test_values_that_are_not_finite_are_refused():
    posterior, _ = exact_posterior(POTENTIALS["quadratic"], GRID, resolution=20.0)
    posterior.mean[3, 0] = np.nan
    with pytest.raises(ValueError, match=r"posterior\.mean"):
        fit_spline(posterior, GRID, splines=(8, 8))


def test_empty_nodes_carry_no_posterior():
    # Samples on every other node only: the others have weight zero in the model posterior, and the fit still stands.
    truth = POTENTIALS["quadratic"]
    coarse = Grid(GRID.extent, (12, 12))
    posterior, _ = exact_posterior(truth, coarse, resolution=20.0)
    fine = Grid(GRID.extent, (23, 23))
    assert (np.asarray(bilinear_weights(coarse.points, fine).sum(axis=0)) == 0).sum() == 23 * 23 - 144
    fit = fit_spline(posterior, fine, splines=(8, 8))
    assert compare(fit, truth, coarse.points).value_relative < 1e-3
