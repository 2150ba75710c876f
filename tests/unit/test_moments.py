"""The fit to sufficient statistics, on chains of spins whose metric is known."""

import numpy as np
import pytest
import torch
from truths import drawn_statistics, interior, metric_errors

from hessgeo.free_energies import moments
from hessgeo.free_energies.moments import NotConvexError, fit_moments
from hessgeo.numerics.factor import DegenerateError
from hessgeo.systems.solvable.ising_chain import IsingChain

EXTENT = ((0.0, 0.5), (-0.4, 0.4))
CHAIN = IsingChain(64)


def draw(n, seed=0):
    return drawn_statistics(CHAIN, EXTENT, n, seed)


def errors(fit):
    return metric_errors(fit, CHAIN, interior(EXTENT, 12))


@pytest.fixture(scope="module")
def fits():
    """The fit to 1,000 and to 16,000 states."""
    return {n: fit_moments(*draw(n), EXTENT, splines=(7, 7)) for n in (1_000, 16_000)}


def test_the_metric_is_found_and_gets_better_with_samples(fits):
    few, many = (np.median(errors(fits[n])[0]) for n in (1_000, 16_000))
    assert many < 0.04
    # A factor of sixteen in samples is four in noise, less what the spline's own error takes of it.
    assert 2 < few / many < 8
    for fit in fits.values():
        assert fit.certificate["converged"]
        assert fit.certificate["pearson"] == pytest.approx(1, abs=0.05)
        assert (np.linalg.eigvalsh(fit.hessian(torch.from_numpy(interior(EXTENT, 12))).numpy()) > 0).all()


def test_most_of_the_truth_lies_within_the_error_bars(fits):
    _, standardised = errors(fits[16_000])
    # Bars of 95 %; the entries of neighbouring nodes are far from independent.
    assert (np.abs(standardised) < 1.96).mean() > 0.8


def ridge(t, sharpness):
    """Gradient and Hessian of ``|t|^2 / 2`` and a rounded kink along a tilted line."""
    across = np.array([1.0, 0.6])
    share = 1 / (1 + np.exp(-sharpness * t @ across))
    bend = sharpness * share * (1 - share)
    return t + share[:, None] * across, np.eye(2) + bend[:, None, None] * np.outer(across, across)


@pytest.mark.parametrize(("sharpness", "noise_alone"), [(10, 0.7), (3, 1.0)])
def test_bars_hold_what_the_splines_cannot_follow(sharpness, noise_alone):
    """Statistics with the moments of a family, Gaussian: the fit asks for no more."""
    rng, box = np.random.default_rng(0), ((-1.0, 1.0), (-1.0, 1.0))
    t = rng.uniform(-1, 1, (6_000, 2))
    mean, covariance = ridge(t, sharpness)
    f = mean + np.einsum("nij,nj->ni", np.linalg.cholesky(covariance), rng.standard_normal((6_000, 2)))
    fit = fit_moments(f, t, box, splines=(8, 8))
    side = np.linspace(-0.9, 0.9, 12)
    nodes = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    places, upper = torch.from_numpy(nodes), ([0, 0, 1], [0, 1, 1])
    error = np.abs(fit.hessian(places).numpy() - ridge(nodes, sharpness)[1])[:, *upper]

    def bar():
        return fit.hessian_error(places).numpy()[:, *upper]

    assert (error < 1.96 * bar()).mean() > 0.9
    assert np.median(bar() / error) < 4  # and yet they say something
    fit.approximation = None
    assert (error < 1.96 * bar()).mean() <= noise_alone


def test_bars_are_there_where_only_the_prior_has_a_say():
    """Of a quadratic all that the prior weighs is noise, and its weight grows until rounding stops it."""
    rng = np.random.default_rng(0)
    metric, t = np.array([[2.0, 0.5], [0.5, 1.0]]), rng.uniform(*np.array(EXTENT).T, (500, 2))
    statistics = t @ metric + rng.multivariate_normal([0, 0], metric, 500)
    fit = fit_moments(statistics, t, EXTENT, splines=(12, 16))
    error = fit.hessian_error(torch.from_numpy(interior(EXTENT, 3)))
    assert torch.isfinite(error).all()
    assert (error > 0).all()


@pytest.mark.parametrize("held", [30.0, 1 / 30.0])
def test_a_finer_basis_that_ends_nowhere_is_judged_under_the_nearest_prior(monkeypatch, held):
    statistics, t = draw(1_000)
    plain, score, tried = fit_moments(statistics, t, EXTENT), moments._score, []

    def only_from(start, **options):
        if len(start.c) > plain.basis.size:
            tried.append(start.weight)
            if not tried[-1] == pytest.approx(held * tried[0]):
                raise DegenerateError("it does not end")
        return score(start, **options)

    monkeypatch.setattr(moments, "_score", only_from)
    fit, points = fit_moments(statistics, t, EXTENT), torch.from_numpy(interior(EXTENT, 12))
    torch.testing.assert_close(fit.hessian(points), plain.hessian(points))
    assert np.array(tried) / tried[0] == pytest.approx([1, 30] if held > 1 else [1, 30, 1 / 30])
    # Another prior makes more of a difference to the fit than its own does.
    ratio = fit.hessian_error(points) / plain.hessian_error(points)
    assert 1 < float(ratio.median()) < 10
    assert bool(((ratio > 0.3) & (ratio < 30)).all())


def test_the_gradient_is_the_mean_of_the_statistics(fits):
    t = interior(EXTENT, 12)
    found = fits[16_000].gradient(torch.from_numpy(t)).numpy()
    deviation = np.sqrt(np.diagonal(CHAIN.fisher_metric(t), axis1=1, axis2=2))
    # 16,000 states for 49 coefficients: a tenth of a state's own deviation is three standard errors.
    assert np.abs(found - CHAIN.statistics_mean(t)).max() < 0.3 * deviation.max()
    assert np.median(np.abs(found - CHAIN.statistics_mean(t)) / deviation) < 0.1


def test_covariances_tell_more_than_means(fits):
    f, t = draw(2_000)
    scattered = f + 3 * (f - CHAIN.statistics_mean(t))
    fit = fit_moments(scattered, t, EXTENT, splines=(7, 7), smoothness=fits[16_000].certificate["smoothness"])
    # Statistics of four times the deviation about the same mean are not those of an exponential family.
    assert fit.certificate["pearson"] > 1.5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f, t: (f[:, :1], t), ValueError, "must both have shape"),
        (lambda f, t: (np.where(f > 0, np.nan, f), t), ValueError, "not finite"),
        (lambda f, t: (f, t + 1), ValueError, "outside the extent"),
        (lambda f, t: (-f, t), NotConvexError, "sign is not that of f"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        fit_moments(*change(*draw(200)), EXTENT)
