"""Learned statistics: the exponential-family network, its posteriors, and the estimators on it."""

import json

import numpy as np
import pytest
import torch

from hessgeo.estimators import registry
from hessgeo.estimators.base import Run
from hessgeo.estimators.estimate import Estimate
from hessgeo.estimators.exponential import (
    estimate_from_statistics,
    gaussian_likelihood,
    posterior_moments,
    turn,
    wide_scores,
)
from hessgeo.estimators.halves import degrees_of_freedom, pooled
from hessgeo.estimators.reweighted import learned_statistics
from hessgeo.grids import Grid, parameter_points
from hessgeo.learned import exponential_convex
from hessgeo.learned.encoder import StateEncoder, as_input
from hessgeo.learned.exponential import ExponentialConfig, ExponentialNetwork
from hessgeo.learned.exponential_convex import CellDraws, fit_normaliser
from hessgeo.learned.exponential_halves import ExponentialHalves, train_halves
from hessgeo.learned.exponential_moments import exponential_posterior, smoothed_statistics
from hessgeo.learned.exponential_training import course_of, deal, discriminant, pair_loss, train_exponential
from hessgeo.learned.samples import Samples
from hessgeo.metrics.score_covariance import fit_score_covariance
from hessgeo.pipeline.schema import defaults
from hessgeo.systems.solvable.gaussian_linear import GaussianLinear
from hessgeo.systems.solvable.ising import Ising
from hessgeo.systems.solvable.isnnn import MIXTURE, IsingNextNearest

BOX = Grid(((-1.0, 1.0), (-1.0, 1.0)), (7, 7))
GAUSSIAN = GaussianLinear(np.array([[1.5, 0.3], [0.0, 1.0], [0.5, -0.5]]), noise=0.5)
ESTIMATORS, NETWORKS = defaults("solvable_estimators"), defaults("solvable_networks")
SMALL = {"nodes": (12, 12), "splines": (5, 5), "hidden": 8, "width": 2, "layers": 1, "steps": 60}


def draw(system, grid, n, geometry, seed=0):
    t = parameter_points("sobol", grid, n, seed)
    return Samples(system.sample(t, np.arange(n), seed), t, grid, system.coordinates, geometry)


@pytest.fixture(scope="module")
def gaussian():
    return draw(GAUSSIAN, BOX, 4_096, "open")


@pytest.fixture(scope="module")
def trained(gaussian):
    return train_halves(gaussian, **SMALL)


@pytest.fixture(scope="module")
def network(trained):
    return trained.networks[0]


def relative(estimate, truth):
    return np.linalg.norm(estimate - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))


def test_the_statistics_of_a_gaussian_are_found_in_their_own_units(trained, network, gaussian):
    exact, found = GAUSSIAN.sufficient_statistics(gaussian.states), trained.statistics(gaussian.states)
    slope = np.linalg.lstsq(np.column_stack([np.ones(len(exact)), found]), exact, rcond=None)[0][1:]
    # The pairs of 4,096 states fix an entry to about 0.03, see the loss of pairs below; three deviations.
    assert np.abs(slope - np.eye(2)).max() < 0.09
    assert (
        network.config.calibration["calibration_error"] < 0.03
    )  # 2,048 states: 1.3 sqrt(.25 / 2048) and some
    assert 0 < network.config.calibration["skill"] < 1


def test_the_likelihood_of_learned_statistics_gives_the_metric(trained, gaussian):
    truth = GAUSSIAN.pulled_back_metric(BOX.points)
    settings = {**ESTIMATORS["exponential-gaussian"], "splines": (4, 4)}
    learned = gaussian_likelihood(gaussian, trained, settings, Run())
    exact = GAUSSIAN.sufficient_statistics(gaussian.states)
    known = estimate_from_statistics(gaussian, exact, settings, {})
    # Quadratics are within the prior's null space: a covariance of 4,096 states is known to 1 / sqrt(2,048).
    assert np.median(relative(known.metric, truth)) < 0.05
    assert np.median(relative(learned.metric, truth)) < 0.1
    assert learned.numbers["converged"] == [True, True]
    assert learned.gradient.shape == (49, 2)
    assert learned.metric_error.shape == (49, 2, 2)


def test_posterior_moments_give_the_metric_and_scores_a_definite_one(trained, gaussian):
    truth = GAUSSIAN.pulled_back_metric(BOX.points)
    settings = {**ESTIMATORS["exponential-posterior"], "splines": (4, 4), "nodes": (24, 24)}
    posterior = posterior_moments(gaussian, trained, settings, Run())
    assert np.median(relative(posterior.metric, truth)) < 0.2
    scores = wide_scores(gaussian, trained, {**ESTIMATORS["exponential-wide"], "splines": (5, 5)}, Run())
    assert np.median(relative(scores.metric, truth)) < 0.15
    assert np.linalg.eigvalsh(scores.metric).min() > 0
    assert scores.value is None


def test_more_statistics_than_parameters_give_a_definite_metric(gaussian):
    few = gaussian.first(1_024)
    both = train_halves(few, **{**SMALL, "steps": 5}, statistics=4, eta_splines=(4, 4))
    wide = both.networks[1]
    t, natural = few.t[:50], few.natural[:50]
    eta = wide.eta(t, natural)
    step = 1e-6
    shift = np.array([step, 0])
    moved = wide.eta(t + shift, natural + shift)
    slope = wide.eta_slope(t, few.coordinates.jacobian(t))
    # Splines in double precision: a forward difference is good to the step times the second derivative.
    np.testing.assert_allclose((moved - eta) / step, slope[:, :, 0], atol=1e-3 * np.abs(slope).max())
    metric = wide_scores(few, both, {"splines": (4, 4)}, Run()).metric
    assert np.linalg.eigvalsh(metric).min() > 0
    with pytest.raises(ValueError, match="statistics is 4, this estimator needs 2"):
        gaussian_likelihood(few, both, {}, Run())


def test_posteriors_are_normalised_and_bundles_add_up(network, gaussian):
    f = network.statistics(gaussian.states[:6])
    single, _ = network.log_posterior(f)
    np.testing.assert_allclose(np.exp(single).sum(axis=1), 1, rtol=1e-12)
    bundle, _ = network.log_posterior(f.mean(axis=0, keepdims=True), bundle=6)
    product = single.sum(axis=0)
    np.testing.assert_allclose(bundle[0], product - np.logaddexp.reduce(product), atol=1e-9)


@pytest.mark.parametrize("name", ["exponential", "exponential-wide"])
def test_networks_are_trained_as_settings_say(gaussian, name):
    settings = {**NETWORKS[name], **SMALL, "steps": 2}
    trained = registry.train(name, gaussian.first(256), settings, Run())
    assert trained.networks[0].config.statistics == settings.get("statistics", 2)


def test_networks_are_read_as_they_were_written(trained, gaussian, tmp_path):
    trained.save(tmp_path)
    again = ExponentialHalves.load(tmp_path)
    states = gaussian.states[:8]
    np.testing.assert_array_equal(again.statistics(states), trained.statistics(states))
    for read, network in zip(again.networks, trained.networks, strict=True):
        f = network.statistics(states)
        np.testing.assert_array_equal(read.log_posterior(f)[0], network.log_posterior(f)[0])
        assert read.config == network.config
    path = tmp_path / "config.json"
    first, second = json.loads(path.read_text())
    path.write_text(json.dumps([first, {**second, "hidden": 9}]))
    with pytest.raises(ValueError, match="does not hold a pair of exponential-family networks"):
        ExponentialHalves.load(tmp_path)


def test_a_training_is_a_function_of_its_seed(gaussian):
    few = gaussian.first(600)
    options = {**SMALL, "steps": 4}
    first, again, other = (train_exponential(few, **options, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.statistics(few.states), again.statistics(few.states))
    assert not np.array_equal(first.statistics(few.states), other.statistics(few.states))


def test_every_sample_is_new_to_the_network_that_reads_it(trained, gaussian):
    (first, new), (second, old) = trained.unseen(gaussian)
    assert (first, second) == trained.networks
    rows = {tuple(t) for t in gaussian.t}
    assert {tuple(t) for t in new.t} | {tuple(t) for t in old.t} == rows
    assert len(new.t) == len(old.t) == len(rows) // 2
    alone = train_exponential(old, **SMALL, seed=0)
    np.testing.assert_array_equal(alone.statistics(new.states), first.statistics(new.states))
    with pytest.raises(ValueError, match="there are 3 samples, must be at least 4"):
        train_halves(gaussian.first(3), **SMALL)


def test_the_loss_of_pairs_is_least_at_the_true_statistics(gaussian):
    some = gaussian.first(1_024)
    f, t = torch.from_numpy(GAUSSIAN.sufficient_statistics(some.states)), torch.from_numpy(some.t)
    matrix = torch.eye(2, dtype=torch.float64, requires_grad=True)
    at = pair_loss(f @ matrix.T, t)
    (gradient,) = torch.autograd.grad(at, matrix, create_graph=True)
    bend = torch.stack(
        [torch.autograd.grad(g, matrix, retain_graph=True)[0].flatten() for g in gradient.flatten()]
    )
    minimum = -torch.linalg.solve(bend, gradient.flatten())
    # 1,024 states fix an entry of the map to about 0.06; three deviations.
    assert minimum.abs().max() < 0.18
    # Constants cancel.
    assert pair_loss(f + 3, t + 1) == pytest.approx(float(at), rel=1e-9)
    few = slice(0, 3)
    logits = [((f[i] - f[j]) * (t[i] - t[j])).sum() for i, j in ((0, 1), (0, 2), (1, 2))]
    by_hand = torch.stack([torch.log1p((-logit).exp()) for logit in logits]).mean()
    assert pair_loss(f[few], t[few]) == pytest.approx(float(by_hand), rel=1e-9)


def test_the_discriminant_is_exact_for_a_linear_family():
    system = GaussianLinear(np.array([[1.5, 0.3], [0.0, 1.0], [0.5, -0.5]]), noise=0.5)
    t = parameter_points("uniform", BOX, 20_000, 0)
    states = system.sample(t, np.arange(len(t)), 0).reshape(len(t), -1)
    found = (
        discriminant(torch.from_numpy(states).double(), torch.from_numpy(t))
        @ torch.from_numpy(states).double().T
    )
    exact = system.sufficient_statistics(states)
    slope = np.linalg.lstsq(exact - exact.mean(axis=0), found.numpy().T, rcond=None)[0]
    np.testing.assert_allclose(slope, np.eye(2), atol=0.05)


def test_the_difference_of_halves_is_their_error():
    rng, truth = np.random.default_rng(0), np.array([[4.0, 1.0], [1.0, 2.0]])
    noise = 0.05 * rng.standard_normal((2, 400, 2, 2))
    root = np.linalg.cholesky(truth)
    first, second = (
        Estimate(
            metric=truth + root @ (e + e.mT) @ root.T,
            metric_error=np.full((400, 2, 2), 1e-6),
            numbers={"a": k},
        )
        for k, e in enumerate(noise)
    )
    mean = pooled(first, second)
    np.testing.assert_allclose(mean.metric, (first.metric + second.metric) / 2)
    z = (mean.metric - truth) / mean.metric_error
    # 400 nodes of three numbers: a share of .95 is known to .01.
    assert np.mean(np.abs(z[:, [0, 0, 1], [0, 1, 1]]) < 1.96) == pytest.approx(0.95, abs=0.025)
    assert mean.numbers == {"a": [0, 1]}
    # Errors of the samples that are larger than the difference stand.
    sure = Estimate(metric=first.metric, metric_error=np.full((400, 2, 2), 3.0))
    np.testing.assert_allclose(pooled(sure, sure).metric_error, 3 / np.sqrt(2))
    assert pooled(Estimate(), Estimate()).metric_error is None


@pytest.mark.parametrize(("width", "alone"), [(0.05, 0.98), (0.3, 0.93), (1.0, 0.86)])
def test_a_difference_that_is_smooth_has_few_degrees_of_freedom(width, alone):
    """Relative errors that are smooth over the nodes, as a network's are: of 60 pairs, the coverage of the mean."""
    side, rng, truth = 9, np.random.default_rng(0), np.array([[4.0, 1.0], [1.0, 2.0]])
    x = np.stack(np.meshgrid(*[np.linspace(0, 1, side)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    square = ((x[:, None] - x) ** 2).sum(axis=-1)
    smooth = np.linalg.cholesky(np.exp(-square / (2 * width**2)) + 1e-8 * np.eye(len(x)))
    root, upper, inside = np.linalg.cholesky(truth), ([0, 0, 1], [0, 1, 1]), []
    for _ in range(60):
        e = 0.02 * np.einsum("mn,hnij->hmij", smooth, rng.standard_normal((2, len(x), 2, 2)))
        halves = [Estimate(metric=truth + root @ (own + own.mT) @ root.T) for own in e]
        means = (pooled(*halves, shape=(side, side)), pooled(*halves))
        inside.append([(np.abs(m.metric - truth) < 1.96 * m.metric_error)[:, *upper].mean() for m in means])
    right, as_if_independent = np.mean(inside, axis=0)
    assert 0.92 < right < 0.99
    assert as_if_independent < alone


def test_degrees_of_freedom_are_those_of_equal_and_of_independent_nodes():
    assert degrees_of_freedom(np.full((7, 9, 1), 3.0)) == pytest.approx(1)
    found = [degrees_of_freedom(np.random.default_rng(k).standard_normal((12, 12, 1))) for k in range(20)]
    # A correlation of c pairs is one in c squared by chance, at four times as many lags as nodes: a fifth of these.
    assert np.median(found) == pytest.approx(144 / 5, rel=0.2)


def test_all_samples_are_dealt_once_and_neighbours_together():
    place = np.random.default_rng(0).random((4_000, 2))
    batches = deal(place, 256, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(4_000))
    assert {len(b) for b in batches} <= {266, 267}
    nearest = np.median(np.concatenate([np.linalg.norm(np.diff(place[b], axis=0), axis=1) for b in batches]))
    assert nearest < 0.1  # of strangers: .5


def test_few_samples_are_read_in_small_batches_and_not_too_often():
    assert course_of(100_000, 600, 12, 512) == {"steps": 600, "batch_size": 512}
    assert course_of(1_500, 600, 12, 512) == {"steps": 141, "batch_size": 128}
    assert course_of(50, 600, 12, 512) == {"steps": 12, "batch_size": 50}


def test_the_normaliser_is_at_a_minimum(network, gaussian):
    few = gaussian.first(512)
    f = network.encoder(as_input(few.states)).detach()
    strata = CellDraws(network.config.cells, few.coordinates.natural)
    trial = ExponentialNetwork(network.config, few.coordinates.natural)
    first = fit_normaliser(trial, f, few.t, strata, tolerance=1e-7)
    problem = exponential_convex._Problem(trial, f, few.t, strata, 0)
    c = trial.potential.detach().flatten().double()
    assert first["converged"]
    for direction in torch.randn(5, len(c), dtype=torch.float64, generator=torch.manual_seed(0)):
        assert problem.loss(c + 0.1 * direction) > problem.loss(c)


def test_a_parameter_takes_the_place_of_its_own_cell():
    config = ExponentialConfig((3,), "open", BOX.extent, (5, 4), 2, (4, 4), (4, 4), 2, 1, 2, 10, 0)
    strata = CellDraws(config.cells, lambda t: t)
    drawn, _ = strata.draw(np.random.default_rng(0))
    np.testing.assert_array_equal(strata.cell(drawn), np.arange(20))
    assert strata.cell(np.array([[-1.0, -1.0], [1.0, 1.0]])).tolist() == [0, 19]


def test_averages_follow_a_linear_trend_to_the_edge():
    t = parameter_points("uniform", BOX, 400, 0)
    f = t @ np.array([[2.0, 1.0], [0.5, -3.0]]) + 1
    sources = np.arange(400)
    np.testing.assert_allclose(smoothed_statistics(f, t, sources, BOX, members=12), f, atol=1e-10)
    with pytest.raises(ValueError, match=r"members is 3, must lie in 4\.\.400"):
        smoothed_statistics(f, t, sources, BOX, members=3)


def test_support_that_is_no_grid_is_spread_over_one(network, gaussian):
    f = network.statistics(gaussian.states)
    bent = exponential_posterior(
        network, f, gaussian.t, lambda t: t + 0.1 * t[:, ::-1] ** 2, BOX, members=64, image=lambda t: t
    )
    assert bent.carrier(Grid(((-1.2, 1.2), (-1.2, 1.2)), (9, 9))).shape == (9, 9)
    assert bent.marginal.sum() == pytest.approx(len(bent.t))


def test_turned_parameters_leave_the_estimate_and_fill_their_box():
    system = IsingNextNearest(3, coordinates=MIXTURE)
    samples = draw(system, Grid(((0.0, 1.0), (0.8, 2.0)), (5, 5)), 400, "torus")
    turned, axes = turn(samples)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(turned.natural, samples.natural @ axes.T)
    area = [np.ptp(s.natural_extent, axis=1).prod() for s in (samples, turned)]
    assert area[1] < area[0]
    assert turn(draw(GAUSSIAN, BOX, 16, "open"))[1].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def scores(n, seed=0):
    """Normal scores whose covariance is known and varies over the box."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(-1, 1, (n, 2))
    root = covariance_root(t)
    return np.einsum("nij,nj->ni", root, rng.normal(size=(n, 2))) + 5 * t, t


def covariance_root(t):
    root = np.zeros((len(t), 2, 2))
    root[:, 0, 0], root[:, 1, 1] = np.exp(t[:, 0]), np.exp(-0.5 * t[:, 1])
    root[:, 1, 0] = np.sin(2 * t[:, 0]) * np.exp(t[:, 0])
    return root


def test_a_covariance_is_found_within_its_error_bars_and_gets_better_with_samples():
    points = Grid(((-0.9, 0.9), (-0.9, 0.9)), (9, 9)).points
    truth = covariance_root(points) @ covariance_root(points).mT
    error = {}
    for n in (1_000, 16_000):
        fit = fit_score_covariance(*scores(n), BOX.extent, splines=(7, 7))
        assert fit.numbers["converged"]
        np.testing.assert_allclose(fit.numbers["dispersion"], 1, atol=0.15)
        error[n] = np.median(relative(fit.metric(points), truth))
        z = (fit.metric(points) - truth) / fit.error(points)
        # Bars of 95 %; neighbouring nodes share their noise, so that the share itself scatters.
        assert (np.abs(z) < 1.96).mean() > 0.8
    # Sixteen times the samples is a quarter of the noise; the prior adapts, which costs a little of the rate.
    assert 2 < error[1_000] / error[16_000] < 8


def test_a_covariance_follows_the_units_of_the_scores():
    s, t = scores(2_000)
    plain = fit_score_covariance(s, t, BOX.extent, splines=(5, 5)).metric(BOX.points)
    scaled = fit_score_covariance(s * [10.0, 0.1], t, BOX.extent, splines=(5, 5)).metric(BOX.points)
    np.testing.assert_allclose(scaled, plain * [[100, 1], [1, 0.01]], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, t: (s[:, :1], t), "must both have shape"),
        (lambda s, t: (s * np.nan, t), "not finite"),
        (lambda s, t: (s * [1, 0], t), "the same in all samples"),
    ],
)
def test_scores_that_have_no_covariance_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        fit_score_covariance(*change(*scores(100)), BOX.extent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistics": 1}, "statistics is 1, must be at least 2"),
        ({"nodes": (1, 4)}, "nodes is"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"passes": 0.0}, "passes and learning_rate positive"),
    ],
)
def test_settings_out_of_range_are_refused(gaussian, options, message):
    with pytest.raises(ValueError, match=message):
        train_exponential(gaussian.first(64), **{**SMALL, **options})


def test_states_and_statistics_of_another_shape_are_refused(network):
    with pytest.raises(ValueError, match="the network reads"):
        network.statistics(np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match="statistics have shape"):
        network.log_posterior(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="bundle is 0"):
        network.log_posterior(np.zeros((3, 2)), bundle=0)
    with pytest.raises(ValueError, match="cannot have the shape"):
        StateEncoder((8,), "torus", 2)


def test_an_encoder_on_a_torus_does_not_feel_a_shift():
    torch.manual_seed(0)
    encoder = StateEncoder((5, 6), "torus", 3)
    x = torch.randint(0, 2, (4, 5, 6)).float() * 2 - 1
    torch.testing.assert_close(encoder(x), encoder(x.roll((2, 3), (1, 2))), atol=1e-5, rtol=1e-5)
    chain = StateEncoder((30,), "open", 3)
    y = x.reshape(4, 30)
    assert (chain(y) - chain(y.roll(1, 1))).abs().max() > 1e-3


@pytest.mark.slow
def test_energy_and_magnetisation_of_ising_are_learned():
    system = Ising(6, sweeps=40)
    grid = Grid(((0.1, 0.4), (-0.25, 0.25)), (9, 9))
    median = {}
    for n in (2_000, 12_000):
        samples = draw(system, grid, n, "torus")
        trained = train_halves(samples, width=8, passes=4)
        exact, found = system.sufficient_statistics(samples.states), trained.statistics(samples.states)
        design = np.column_stack([np.ones(n), found])
        rest = exact - design @ np.linalg.lstsq(design, exact, rcond=None)[0]
        explained = 1 - rest.var(axis=0) / exact.var(axis=0)
        estimate = learned_statistics(samples, trained, ESTIMATORS["exponential"], Run())
        median[n] = np.median(relative(estimate.metric, system.pulled_back_metric(grid.points)))
    assert (explained > 0.95).all()
    # A factor of six in samples is 2.4 in noise, of which one run of each knows little more than that it is above one.
    assert median[2_000] / median[12_000] > 1.3
    assert median[12_000] < 0.06
