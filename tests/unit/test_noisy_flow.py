"""A noisy sampler of a Gaussian mixture: its Fisher metric against closed forms, other quadrature and its samples."""

import numpy as np
import pytest
import truths
from scipy.integrate import quad

from hessgeo.systems.solvable.mixture_flow import MixtureFlow
from hessgeo.systems.solvable.noisy_flow import NoisyFlow

TRIANGLE = MixtureFlow([[1.0, 0.0], [-0.5, 0.866], [-0.5, -0.866]], [0.5, 0.3, 0.2], sigma=0.3)
POINTS = np.array([[0.0, 0.1], [0.6, -0.4], [-1.2, 0.7]])


@pytest.mark.parametrize("rule", ["ddim", "renewal"])
def test_of_one_gaussian_the_metric_is_signal_over_noise(rule):
    # Every step is linear: the slope of the mean multiplies, the variance adds up.
    system = NoisyFlow(MixtureFlow([[0.3, -0.2]], sigma=0.5), steps=4, eta=0.6, eta_rule=rule)
    slope, variance = 1.0, 0.0
    for step, width in enumerate(system.widths[:-1]):
        ends = [
            system.flow.step_mean(x, system.levels[step], system.levels[step + 1], width)[0][0, 0]
            for x in (np.zeros((1, 2)), np.ones((1, 2)))
        ]
        factor = ends[1] - ends[0]
        slope, variance = slope * factor, variance * factor**2 + width**2
    expected = np.broadcast_to(slope**2 / variance * np.eye(2), (3, 2, 2))
    np.testing.assert_allclose(system.fisher_metric(POINTS), expected, atol=1e-9)


def test_two_steps_are_one_gaussian_about_a_linear_mean():
    # The last step is one to one: what is known of t is what the first leaves, left^2 / width^2.
    system = NoisyFlow(TRIANGLE, steps=2, eta=0.4)
    left = 1 - system.levels[1] ** 2
    expected = (left - system.widths[0] ** 2) / system.widths[0] ** 2
    np.testing.assert_allclose(
        system.fisher_metric(POINTS), np.tile(expected * np.eye(2), (3, 1, 1)), atol=1e-8
    )


def test_the_density_is_that_of_adaptive_quadrature():
    system, latent, step = NoisyFlow(MixtureFlow([1.0, -1.0], sigma=0.3), steps=3, eta=0.5), 0.2, 1e-4
    w0, w1 = system.widths[:2]

    def density(x, t):
        centre = system.flow.step_mean(np.array([[t]]), 0.0, system.levels[1], w0)[0][0, 0]

        def integrand(y):
            mean = system.flow.step_mean(np.array([[y]]), system.levels[1], system.levels[2], w1)[0][0, 0]
            return np.exp(-((y - centre) ** 2) / (2 * w0**2) - (x - mean) ** 2 / (2 * w1**2))

        return quad(integrand, centre - 9 * w0, centre + 9 * w0, epsabs=1e-13, limit=200)[0] / (
            2 * np.pi * w0 * w1
        )

    x = np.array([[-0.5], [0.1]])
    log_density, score = system.log_density_and_score(x, np.array([[latent]]))
    np.testing.assert_allclose(np.exp(log_density), [density(one, latent) for one in x[:, 0]], rtol=1e-8)
    slope = [
        (np.log(density(one, latent + step)) - np.log(density(one, latent - step))) / (2 * step)
        for one in x[:, 0]
    ]
    np.testing.assert_allclose(score[:, 0], slope, atol=1e-6)


@pytest.mark.parametrize("rule", ["ddim", "renewal"])
def test_scores_of_samples_have_the_metric_as_covariance(rule):
    system, count = NoisyFlow(TRIANGLE, steps=3, eta=0.5, eta_rule=rule), 4000
    for point in POINTS[:1]:
        chain = system.chain(np.tile(point, (count, 1)), np.arange(count), 5)
        _, score = system.log_density_and_score(chain[-2], point[None])
        truths.assert_zero_mean(score)
        products = score[:, [0, 0, 1]] * score[:, [0, 1, 1]]
        truths.assert_zero_mean(products - system.fisher_metric(point[None])[0][[0, 0, 1], [0, 1, 1]])


def test_the_quadrature_has_converged():
    system = NoisyFlow(MixtureFlow([1.0, -1.0], sigma=0.3), steps=4, eta=0.4, eta_rule="ddim")
    t = np.linspace(-1.5, 1.5, 7)[:, None]
    usual, fine, coarse = (system.fisher_metric(t, nodes=nodes) for nodes in (1.4, 3.0, 0.5))
    np.testing.assert_allclose(usual, fine, rtol=1e-8)
    assert np.abs(coarse - fine).max() > 1e-6  # where nodes are too few it shows


def test_noise_smooths_the_boundary_away():
    # A narrow boundary is a ridge of the metric; with more noise there is less to see of it, and less everywhere.
    heights = []
    for eta in (0.2, 0.4, 0.8):
        system = NoisyFlow(MixtureFlow([1.0, -1.0], sigma=0.2), steps=4, eta=eta)
        middle, side = system.fisher_metric(np.array([[0.0], [1.2]])).ravel()
        assert middle > side
        heights.append((middle, middle / side))
    assert np.all(np.diff(heights, axis=0) < 0)


def test_a_sample_depends_on_seed_index_and_point_alone():
    system = NoisyFlow(TRIANGLE, steps=4, eta=0.5)
    truths.assert_batches_do_not_matter(system, np.random.default_rng(1).uniform(-1, 1, (20, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1, "eta": 0.5}, "steps is 1, must be at least 2"),
        ({"steps": 4, "eta": 0.0}, "eta is 0.0, must be above 0"),
        ({"steps": 4, "eta": 1.0}, "eta is 1.0, must be above 0 and below 1"),
        ({"steps": 4, "eta": 0.5, "eta_rule": "ddpm"}, "eta_rule is ddpm"),
    ],
)
def test_what_has_no_density_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        NoisyFlow(TRIANGLE, **options)


def test_too_little_noise_is_said():
    with pytest.raises(ValueError, match="4 steps add too little noise"):
        NoisyFlow(TRIANGLE, steps=4, eta=0.01).fisher_metric(POINTS)
    with pytest.raises(ValueError, match=r"points have shape \(3, 1\)"):
        NoisyFlow(TRIANGLE, steps=4, eta=0.5).fisher_metric(POINTS[:, :1])
