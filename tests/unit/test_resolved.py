"""What a posterior on a grid can tell: bars that hold the basis's own error, and verdicts on what is not resolved."""

import numpy as np
import pytest
import torch
from potentials import KnownPotential, covered, exact_posterior, posterior_of_matrix

from hessgeo.free_energies.approximation import other_count
from hessgeo.free_energies.moments import fit_moments
from hessgeo.free_energies.reweighting import fit_reweighted
from hessgeo.free_energies.spline import fit_spline
from hessgeo.free_energies.statistics_map import fit_statistics_map
from hessgeo.free_energies.verdict import judge
from hessgeo.grids import Grid
from hessgeo.numerics.factor import DegenerateError, cholesky, in_words
from hessgeo.posteriors import posterior

BOX = ((-1.0, 1.0), (-1.0, 1.0))


def square(nodes):
    return Grid(BOX, (nodes, nodes))


def planes(sharpness):
    """Log-sum-exp of five planes, a potential with kinks that the sharpness rounds off."""
    angle = 2 * np.pi * np.arange(5) / 5 + np.array([0.6, 0.2, 0.1, 0.0, 0.8])
    slopes = torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    heights = torch.tensor([0.05, -0.02, 0.08, -0.07, 0.0], dtype=torch.float64)
    return KnownPotential(
        "planes", lambda t: torch.logsumexp(sharpness * (t @ slopes.T + heights), -1) / sharpness
    )


@pytest.mark.parametrize(
    ("sharpness", "resolution", "nodes", "splines"),
    [(3, 30.0, 24, 24), (3, 30.0, 40, 24), (10, 300.0, 32, 24), (3, 30.0, 16, 4), (3, 30.0, 24, 7)],
)
def test_bars_cover_what_the_basis_cannot_follow(sharpness, resolution, nodes, splines):
    """Noise-free posteriors: all of the error is that of the splines, and does not shrink with more nodes."""
    truth, grid = planes(sharpness), square(nodes)
    fit = fit_spline(exact_posterior(truth, grid, resolution=resolution)[0], grid, splines=(splines, splines))
    assert covered(fit, truth, grid) > 0.9
    t = torch.from_numpy(grid.points)
    error, bar = (fit.hessian(t) - truth.hessian(t)).norm(dim=(1, 2)), fit.hessian_error(t).norm(dim=(1, 2))
    # Nor are they so wide that they would say nothing: the difference to half the splines is several times the error.
    assert float((bar / error).median()) < 15
    fit.approximation = None
    assert covered(fit, truth, grid) < 1 if nodes == 24 else covered(fit, truth, grid) < 0.9


def test_splines_are_held_against_half_as_many_or_twice_as_many():
    assert [other_count(n) for n in (4, 5, 6, 7, 8, 24, 33)] == [5, 7, 9, 5, 5, 13, 18]


@pytest.mark.parametrize(("sharpness", "resolution"), [(3, 30.0), (10, 30.0), (10, 300.0)])
def test_rounded_kinks_are_resolved(sharpness, resolution):
    grid = square(24)
    fit = fit_spline(exact_posterior(planes(sharpness), grid, resolution=resolution)[0], grid)
    assert fit.certificate["resolved"]
    assert fit.certificate["verdict"] == "resolved"


@pytest.mark.parametrize("resolution", [30.0, 300.0])
def test_sharp_kinks_are_not_resolved_and_the_divergence_says_so(resolution):
    grid = square(24)
    certificate = fit_spline(exact_posterior(planes(300), grid, resolution=resolution)[0], grid).certificate
    assert certificate["converged"]
    assert not certificate["resolved"]
    assert "nats" in certificate["verdict"]
    assert certificate["mean_divergence"] > 0.1 > certificate["explained_divergence"]


@pytest.mark.parametrize("draws", [5, 50])
def test_noise_is_no_lack_of_resolution(draws):
    grid = square(24)
    _, p = exact_posterior(planes(3), grid, resolution=20.0)
    counts = np.random.default_rng(0).multinomial(draws, p / p.sum(axis=1, keepdims=True))
    certificate = fit_spline(
        posterior_of_matrix(counts / draws, grid, resolution=20.0), grid, splines=(12, 12)
    ).certificate
    assert certificate["mean_divergence"] > 1
    assert certificate["resolved"]


@pytest.mark.parametrize(("resolution", "resolved"), [(2000.0, True), (3000.0, False), (5000.0, False)])
def test_a_posterior_narrower_than_a_cell_is_said(resolution, resolved):
    # E = t: F = |t|^2 / 2, standard deviation 1 / sqrt(N), .51 and .42 and .33 cells.
    grid = Grid(((0.0, 1.0), (0.0, 1.0)), (24, 24))
    fit = fit_spline(posterior(grid.points, grid.points, resolution=resolution), grid)
    assert fit.certificate["resolved"] is resolved
    assert resolved or "narrower" in fit.certificate["verdict"]
    g = fit.hessian(torch.from_numpy(grid.points))
    torch.testing.assert_close(g, torch.eye(2, dtype=g.dtype).expand_as(g), rtol=0, atol=1e-3)


LINE = np.linspace(-0.9, 0.9, 60)


@pytest.mark.parametrize(
    ("t", "words"),
    [
        (square(24).points, "one node or one line"),
        (np.array([[0.1, 0.2]]), "the posteriors of all sources are one"),
        (np.stack([LINE, 0.3 * LINE], axis=1), "one node or one line"),
        (np.stack([LINE, 0 * LINE], axis=1), "one node or one line"),
    ],
    ids=["one-hot", "one sample", "slanted line", "axis"],
)
def test_posteriors_that_tell_no_slope_are_refused_in_one_line(t, words):
    found = posterior(t, t, resolution=1e6 if len(t) == 576 else 10.0)
    with pytest.raises(ValueError, match=words) as refused:
        fit_spline(found, square(24))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("shape", "resolution"), [((2, 64), 5.0), ((3, 40), 20.0)])
def test_a_thin_grid_is_refused(shape, resolution):
    grid = Grid(BOX, shape)
    with pytest.raises(ValueError, match=r"\(2, 64\)|\(3, 40\)"):
        fit_spline(posterior(grid.points, grid.points, resolution=resolution), grid)


@pytest.mark.parametrize("shape", [(3, 40), (4, 40), (6, 48)])
def test_a_thin_grid_that_sees_between_its_nodes_is_right(shape):
    grid = Grid(BOX, shape)
    fit = fit_spline(posterior(grid.points, grid.points, resolution=5.0), grid)
    g = fit.hessian(torch.from_numpy(grid.points))
    torch.testing.assert_close(g, torch.eye(2, dtype=g.dtype).expand_as(g), rtol=0, atol=1e-4)
    assert fit.certificate["converged"]
    assert fit.basis.a.count == 2 * shape[0]  # two a node: the value and the slope


def test_a_matrix_without_factor_is_one_line():
    with pytest.raises(
        DegenerateError, match="things: the data do not determine all of its 2 unknowns"
    ) as found:
        cholesky(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "things")
    assert "\n" not in str(found.value)
    with pytest.raises(DegenerateError):
        cholesky(torch.full((2, 2), float("nan")), "things")


def test_a_verdict_names_every_reason():
    assert judge(0.0, 0.01, 0.0, 100.0).numbers["verdict"] == "resolved"
    both = judge(0.5, 0.3, 0.0, 100.0)
    assert len(both.reasons) == 2
    assert both.numbers["resolved"] is False
    # 1 / 50 of the variance of single draws, over 100 cells: log(1 + 4) nats are noise.
    assert judge(0.0, 1.6, 1 / 50, 100.0).numbers["resolved"]


def test_a_failed_factorisation_is_one_line():
    @in_words("a fit")
    def fails():
        return np.linalg.inv(np.zeros((2, 2)))

    with pytest.raises(DegenerateError, match="a fit: the data leave a direction undetermined") as found:
        fails()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("statistics", ["constant", "dependent"])
def test_statistics_that_tell_nothing_are_refused_in_one_line(statistics):
    rng = np.random.default_rng(0)
    t = rng.uniform(-1, 1, (80, 2))
    f = (
        np.ones((80, 2))
        if statistics == "constant"
        else np.repeat(t[:, :1] + rng.standard_normal((80, 1)), 2, axis=1)
    )
    for fit in (fit_reweighted, fit_statistics_map, lambda f, t: fit_moments(f, t, BOX, splines=(5, 5))):
        with pytest.raises((ValueError, ArithmeticError)) as found:
            fit(f, t)
        assert "\n" not in str(found.value)
