"""The flow of Gaussian mixtures: maps, Jacobians, boundaries and decisions against closed forms and other methods."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import ndtr

from hessgeo.systems.solvable.mixture_flow import MixtureFlow, noise_levels, step_noise
from hessgeo.systems.solvable.mode_pair import ModePair

ANGLES = 2 * np.pi * np.arange(3) / 3
THREE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
UNEVEN = ([[1, 0], [-0.5, 0.9], [-0.6, -0.7], [0.2, 0.1]], [0.3, 0.1, 0.4, 0.2])
Z = np.random.default_rng(0).normal(size=(20, 2))


def uneven(sigma=0.35):
    return MixtureFlow(UNEVEN[0], UNEVEN[1], sigma=sigma)


# The pair of Proposition 4.1.


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.7, 1.0])
def test_the_flow_of_a_pair_is_the_monotone_transport(sigma):
    flow, pair = MixtureFlow([1.0, -1.0], sigma=sigma), ModePair(sigma)
    z = np.linspace(-4, 4, 41)
    x, jacobian = flow.map_and_jacobian(z[:, None])
    np.testing.assert_allclose(x[:, 0], pair.map(z), atol=1e-11)
    np.testing.assert_allclose(jacobian[:, 0, 0], pair.jacobian(z), rtol=1e-10)
    assert flow.lipschitz(np.zeros((1, 1)))[0] == pytest.approx(
        sigma * math.exp(1 / (2 * sigma**2)), rel=1e-10
    )


@pytest.mark.parametrize("sigma", [0.3, 0.6])
def test_the_transport_keeps_every_quantile(sigma):
    z = np.linspace(-6, 6, 25)
    x = ModePair(sigma, 0.8).map(z)
    shares = (ndtr((x - 0.8) / sigma) + ndtr((x + 0.8) / sigma)) / 2
    np.testing.assert_allclose(shares, ndtr(z), rtol=1e-10, atol=1e-15)
    np.testing.assert_array_equal(-x[::-1], x)


def test_the_rate_at_the_saddle_is_that_of_the_proposition():
    for sigma in (0.3, 0.7):
        pair = ModePair(sigma)
        assert pair.rate(beta=2.0) == pytest.approx(1 + (1 - sigma**2) / sigma**4)
        # The logarithm of the stretching grows at this rate: time t has d alpha / dt = beta alpha / 2 towards data.
        alpha, step = 0.8, 1e-5
        slope = (math.log(pair.stretching(alpha + step)) - math.log(pair.stretching(alpha - step))) / (
            2 * step
        )
        assert slope * alpha / 2 == pytest.approx(pair.rate(alpha), rel=1e-7)
        assert pair.stretching(1.0) == pytest.approx(pair.lipschitz)


def test_half_way_a_maximum_turns_to_a_minimum_at_the_decision():
    pair = ModePair(0.4, 0.9)
    flow = MixtureFlow([0.9, -0.9], sigma=0.4)

    def bend(alpha):
        density = [flow.log_density(np.array([[x]]), alpha)[0] for x in (-1e-3, 0.0, 1e-3)]
        return density[0] - 2 * density[1] + density[2]

    assert bend(pair.decision - 0.003) < 0 < bend(pair.decision + 0.003)
    assert flow.decision(0, 1) == pytest.approx(pair.decision, rel=1e-7)
    assert math.isnan(ModePair(0.9, 0.8).decision)
    assert math.isnan(MixtureFlow([0.8, -0.8], sigma=0.9).decision(0, 1))


# Maps in the plane.


def test_the_map_is_that_of_another_solver_in_another_time():
    # The ODE as Song et al. (2021) have it, dx/ds = -(x + score) / 2, at alpha = cos(angle), by scipy.
    flow = uneven()

    def rate(angle, x):
        alpha = math.cos(angle)
        denoised = flow.denoised(x.reshape(-1, 2), alpha)
        score = flow.score(x.reshape(-1, 2), alpha)
        return (-math.sin(angle) * denoised - alpha * math.sin(angle) * score).ravel()

    found = solve_ivp(rate, (np.pi / 2, 0.0), Z.ravel(), method="DOP853", rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(flow.map(Z), found.y[:, -1].reshape(-1, 2), atol=1e-9)


def test_the_score_and_the_prediction_are_derivatives_of_the_density():
    flow, step = uneven(), 1e-6
    for alpha in (0.0, 0.4, 1.0):
        for axis in (0, 1):
            shift = step * np.eye(2)[axis]
            slope = (flow.log_density(Z + shift, alpha) - flow.log_density(Z - shift, alpha)) / (2 * step)
            np.testing.assert_allclose(flow.score(Z, alpha)[:, axis], slope, atol=1e-7)
        if alpha > 0:  # Tweedie's formula
            expected = (Z + (1 - alpha**2) * flow.score(Z, alpha)) / alpha
            np.testing.assert_allclose(flow.denoised(Z, alpha), expected, atol=1e-12)


def test_the_jacobian_is_that_of_differences():
    flow, step = uneven(), 1e-5
    jacobian = flow.jacobian(Z)
    for axis in (0, 1):
        shift = step * np.eye(2)[axis]
        difference = (flow.map(Z + shift) - flow.map(Z - shift)) / (2 * step)
        np.testing.assert_allclose(jacobian[:, :, axis], difference, rtol=1e-4, atol=1e-5)


def test_the_density_goes_with_the_flow():
    # p(x) |det J| = N(z).
    x, jacobian = uneven().map_and_jacobian(Z)
    normal = -(Z**2).sum(axis=1) / 2 - np.log(2 * np.pi)
    np.testing.assert_allclose(uneven().log_density(x) + np.log(np.linalg.det(jacobian)), normal, atol=1e-9)


def test_one_mode_is_a_shift_and_a_scale():
    flow = MixtureFlow([[2.0, -1.0]], sigma=0.5)
    np.testing.assert_allclose(flow.map(Z), [2.0, -1.0] + 0.5 * Z, atol=1e-12)
    np.testing.assert_allclose(flow.path(Z, (0.0, 0.6))[-1], 0.6 * np.array([2.0, -1.0]) + np.sqrt(0.73) * Z)


def test_a_point_does_not_depend_on_its_batch():
    x, jacobian = uneven().map_and_jacobian(Z)
    for k in (0, 7, 19):
        alone = uneven().map_and_jacobian(Z[k : k + 1])
        np.testing.assert_array_equal(alone[0][0], x[k])
        np.testing.assert_array_equal(alone[1][0], jacobian[k])
        np.testing.assert_array_equal(uneven().sample(Z[k : k + 1], 7)[0], uneven().sample(Z, 7)[k])


# Boundaries, triple points, decisions.


def test_the_boundary_of_two_equal_modes_is_the_bisector():
    flow = MixtureFlow([[0.5, 0.2], [-0.3, 0.8]], sigma=0.3)
    points = flow.boundary(0, 1)
    # Nearer to one mode at every level: modes of unequal norm have a boundary that bends, to the bisector at infinity.
    np.testing.assert_allclose(np.ptp(flow.responsibilities(flow.map(points)), axis=1), 0, atol=1e-8)
    centred = MixtureFlow([[0.4, 0.3], [-0.4, -0.3]], sigma=0.3).boundary(0, 1)
    np.testing.assert_allclose(centred @ [0.4, 0.3], 0, atol=1e-10)
    assert np.linalg.norm(centred[0] - centred[-1]) == pytest.approx(6, rel=0.01)


def test_three_modes_on_a_circle_meet_in_its_centre():
    flow = MixtureFlow(THREE, sigma=0.3)
    ((names, place),) = flow.triple_points()
    assert names == (0, 1, 2)
    np.testing.assert_allclose(place, 0, atol=1e-10)
    ray = flow.boundary(1, 2)  # from the centre, away from mode 0
    np.testing.assert_allclose(ray[:, 1], 0, atol=1e-10)
    assert ray[:, 0].max() < 1e-10
    assert ray[:, 0].min() < -2.9
    turn = np.array([[-0.5, -math.sqrt(0.75)], [math.sqrt(0.75), -0.5]])
    np.testing.assert_allclose(flow.map(Z @ turn.T), flow.map(Z) @ turn.T, atol=1e-10)


def test_labels_change_at_the_boundaries_alone():
    flow = uneven()
    for i, j in ((2, 0), (2, 1), (3, 1)):
        points = flow.boundary(i, j, count=41)[1:-1]
        tangent = np.gradient(points, axis=0)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        sides = np.stack([flow.label(points + 1e-6 * normal), flow.label(points - 1e-6 * normal)])
        assert np.all(np.sort(sides, axis=0) == np.sort([i, j])[:, None])
    assert flow.boundary(0, 1) is None


def test_unequal_weights_bend_a_boundary():
    points = MixtureFlow(THREE, [0.6, 0.2, 0.2], sigma=0.3).boundary(0, 1)
    ends = points[-1] - points[0]
    normal = np.array([-ends[1], ends[0]]) / np.linalg.norm(ends)
    assert np.abs((points - points[0]) @ normal).max() > 0.02
    np.testing.assert_allclose(np.diff(points, axis=0).std(axis=0), 0, atol=0.02)


@pytest.mark.parametrize("mixtures", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_two_pairs_are_decided_in_their_order(mixtures):
    # Modes at (+-m1, +-m2) are two independent pairs: each has the closed form of its own.
    rng = np.random.default_rng(1)
    for _ in range(mixtures):
        far, near = np.sort(rng.uniform(0.7, 2, 2))[::-1]
        sigma = rng.uniform(0.1, 0.5)
        flow = MixtureFlow([[far, near], [-far, near], [far, -near], [-far, -near]], sigma=sigma)
        first, second = flow.decision(0, 1), flow.decision(0, 2)
        assert first == pytest.approx(ModePair(sigma, far).decision, rel=1e-6)
        assert second == pytest.approx(ModePair(sigma, near).decision, rel=1e-6)
        assert first < second


def test_a_fold_is_found_where_the_density_has_one_maximum_less():
    flow = MixtureFlow([-1.0, 1.0], [0.8, 0.2], sigma=0.3)
    line = np.linspace(-2, 2, 20_001)[:, None]

    def maxima(alpha):
        values = flow.log_density(line * alpha, alpha)
        return int(((values[1:-1] > values[:-2]) & (values[1:-1] > values[2:])).sum())

    decision = flow.decision(0, 1)
    assert [maxima(decision - 1e-3), maxima(decision + 1e-3)] == [1, 2]


# The sampler of a study.


def test_few_steps_come_to_the_exact_map_at_first_order():
    flow, exact = uneven(), uneven().map(Z)
    errors = [np.abs(flow.sample(Z, steps) - exact).max() for steps in (200, 400)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)


def test_predictions_start_at_the_mean_and_end_at_the_sample():
    flow = uneven()
    states, predictions = flow.trajectory(Z, 12)
    assert predictions.shape == (12, 20, 2)
    np.testing.assert_allclose(predictions[0], np.tile(flow.weights @ flow.modes, (20, 1)), atol=1e-12)
    np.testing.assert_allclose(predictions[-1], states[-1])
    np.testing.assert_array_equal(flow.predictions(Z, 12), predictions)
    np.testing.assert_allclose(flow.sample(Z, noise_levels(12)), states[-1])


def test_the_sampler_keeps_the_precision_of_its_latents():
    for dtype, error in ((np.float32, 2e-5), (np.float16, 0.2)):
        x = uneven().sample(Z.astype(dtype), 20)
        assert x.dtype == dtype
        np.testing.assert_allclose(x, uneven().sample(Z, 20), atol=error)


@pytest.mark.parametrize(
    ("rule", "limit"), [("ddim", 0.6), ("renewal", 0.6 * math.sqrt((1 + math.sqrt(0.75)) / 2))]
)
def test_noise_keeps_the_marginals_of_a_gaussian_or_narrows_them(rule, limit):
    flow, sigma, eta = MixtureFlow([[0.0]], sigma=0.6), 0.6, 0.5

    def deviation(steps):
        """Of a chain whose every step is linear: ``x <- (b p + sqrt(1 - b^2 - w^2) (1 - a p) / s) x + w noise``."""
        alphas, variance = noise_levels(steps), 1.0
        for a, b, w in zip(alphas, alphas[1:], step_noise(alphas, eta, rule), strict=False):
            p, s = sigma**2 * a / (1 - a**2 * (1 - sigma**2)), math.sqrt(1 - a**2)
            factor = b * p + math.sqrt(max(1 - b**2 - w**2, 0)) * (1 - a * p) / s
            variance = factor**2 * variance + w**2
        return math.sqrt(variance)

    # An error that falls with the steps. What renews a share of the noise at each of many steps does not come to the
    # data: near them a step is x <- x - c (x - alpha E[x_0 | x]) + eta s noise, c = 1 - sqrt(1 - eta^2), and keeps
    # another variance, 1 - c / 2 of theirs.
    assert abs(deviation(4000) - limit) < 0.45 * abs(deviation(1000) - limit) < 0.003
    rng, count = np.random.default_rng(2), 5000
    x = flow.sample(
        rng.normal(size=(count, 1)), 20, eta=eta, eta_rule=rule, noise=rng.normal(size=(20, count, 1))
    )
    assert x.std() == pytest.approx(deviation(20), rel=4 / math.sqrt(2 * count))


def test_the_last_step_adds_no_noise_and_rules_differ():
    alphas = noise_levels(10)
    ddim, renewal = (step_noise(alphas, 1.0, rule) for rule in ("ddim", "renewal"))
    assert ddim[-1] == renewal[-1] == 0
    np.testing.assert_allclose(renewal, np.sqrt(1 - alphas[1:] ** 2))
    assert np.all(ddim[1:-1] < renewal[1:-1])
    np.testing.assert_array_equal(step_noise(alphas, 0.0), np.zeros(10))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MixtureFlow([], sigma=1), "modes have shape"),
        (lambda: MixtureFlow([1.0, 2.0], [1.0, 0.0], sigma=1), r"weights are \[1.0, 0.0\]"),
        (lambda: MixtureFlow([1.0], sigma=0), "sigma is 0, must be positive"),
        (lambda: uneven().map(np.zeros(2)), r"states have shape \(2,\)"),
        (lambda: uneven().path(Z, (0, 1.5)), "must lie between 0 and 1"),
        (lambda: uneven().sample(Z, 0), "steps is 0"),
        (lambda: uneven().sample(Z, [0.5, 0.2]), "must be two or more that rise"),
        (lambda: uneven().sample(Z, 3, eta=0.5), "noise has shape None"),
        (lambda: uneven().sample(Z, 3, eta=2), "eta is 2"),
        (lambda: uneven().sample(Z, 3, eta_rule="other"), "eta_rule is other"),
        (lambda: uneven().decision(1, 1), r"the pair is \(1, 1\)"),
        (lambda: MixtureFlow([1.0, -1.0], sigma=1).boundary(0, 1), "must have 2 for boundary lines"),
        (lambda: MixtureFlow([[1.0, 0.0]] * 2, sigma=1).boundary(0, 1), "at one place"),
        (lambda: ModePair(-1.0), "sigma is -1.0"),
    ],
)
def test_what_is_no_such_flow_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
