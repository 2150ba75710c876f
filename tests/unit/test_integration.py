"""Statistics to a potential: exact where there is one, at the rate of theory, and what is left where there is none."""

import numpy as np
import pytest
import torch
from potentials import POTENTIALS

from hessgeo.estimators.integration import conditional_mean, integrate_statistics, response_map
from hessgeo.systems.solvable.curie_weiss import CurieWeiss

BOX = ((-1.0, 1.0), (-1.0, 1.0))
NODES = torch.from_numpy(np.random.default_rng(1).uniform(-0.95, 0.95, (200, 2)))


def points(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, 2))


def gradient(potential, t):
    return potential.gradient(torch.from_numpy(t)).numpy()


def test_a_quadratic_potential_is_found_exactly_up_to_a_constant():
    # In the span of the splines, and free of penalty: what is left is rounding, 1e-16 times a condition of 1e6.
    potential, t = POTENTIALS["quadratic"], points(3000)
    found = integrate_statistics(gradient(potential, t), t, BOX)
    difference = found.free_energy.value(NODES) - potential.value(NODES)
    assert float(difference.std()) < 1e-8
    np.testing.assert_allclose(found.free_energy.hessian(NODES), potential.hessian(NODES), atol=1e-7)
    assert found.curl_share < 1e-8


@pytest.mark.parametrize("name", ["three_phases_soft", "curie_weiss"])
def test_a_smooth_potential_converges_as_cubic_splines_do(name):
    # Gradients of cubic splines converge as the third power of the knot spacing; twice the intervals, error an eighth.
    potential, t = POTENTIALS[name], points(20_000)
    truth, errors = potential.gradient(NODES), []
    for splines in (11, 19):
        found = integrate_statistics(
            gradient(potential, t), t, BOX, splines=(splines, splines), smoothness=1e-9
        )
        errors.append(float((found.free_energy.gradient(NODES) - truth).square().mean().sqrt()))
    assert 2.5 < np.log2(errors[0] / errors[1]) < 4.5


def test_noise_is_averaged_at_the_rate_of_samples():
    # Unbiased for a quadratic: the variance of the metric falls as 1 / n, so over 10 seeds and 16 times the samples the
    # root mean square error falls by 4, here within the 1.3 that 10 seeds of few directions leave.
    potential, errors = POTENTIALS["quadratic"], []
    for n in (1000, 16_000):
        square = []
        for seed in range(10):
            t = points(n, seed)
            noisy = gradient(potential, t) + 0.3 * np.random.default_rng(seed + 50).standard_normal((n, 2))
            found = integrate_statistics(noisy, t, BOX, splines=(6, 6), smoothness=1e3 * n)
            square.append(
                float((found.free_energy.hessian(NODES) - potential.hessian(NODES)).square().mean())
            )
        errors.append(np.mean(square) ** 0.5)
    assert 4 / 1.5 < errors[0] / errors[1] < 4 * 1.5


def test_standard_errors_cover():
    # A quadratic has no bias, so errors of one entry over 40 seeds stand to the bars as standard normal numbers;
    # their root mean square is 1 within 3 / sqrt(2 * 40) = 0.34.
    potential, z = POTENTIALS["quadratic"], []
    for seed in range(40):
        t = points(1000, seed)
        noise = np.random.default_rng(seed + 99).standard_normal((1000, 2)) * (1 + t[:, :1] ** 2) * [0.1, 2.0]
        found = integrate_statistics(gradient(potential, t) + noise, t, BOX, splines=(5, 5), smoothness=0.0)
        at = NODES[:1]
        z.append(
            (found.free_energy.hessian(at) - potential.hessian(at)) / found.free_energy.hessian_error(at)
        )
    assert float(torch.cat(z).square().mean().sqrt()) == pytest.approx(1, abs=0.34)


def test_a_rotation_leaves_over_what_the_torsion_of_a_square_bar_does():
    t = points(4000)
    found = integrate_statistics(np.stack([-t[:, 1], t[:, 0]], axis=1), t, BOX)
    # The gradient nearest to (-b, a) is that of Saint-Venant's warping function. What it leaves is the torsion constant
    # of a square, 0.140577 side^4, of the polar moment side^4 / 6. The scatter of 4000 points is 1 %.
    assert found.curl_share == pytest.approx((6 * 0.140577) ** 0.5, abs=0.01)


def test_components_in_other_units_give_the_same_potential():
    # F of (a, b / 100): the second statistic is 100 times as large, and so is its noise.
    potential, t = POTENTIALS["three_phases_soft"], points(4000)
    noisy = gradient(potential, t) + 0.1 * np.random.default_rng(3).standard_normal((4000, 2))
    one = integrate_statistics(noisy, t, BOX).free_energy
    units = np.array([1.0, 0.01])
    other = integrate_statistics(noisy / units, t * units, ((-1.0, 1.0), (-0.01, 0.01))).free_energy
    scaled = NODES * torch.from_numpy(units)
    difference = one.value(NODES) - other.value(scaled)
    # The weights of cross-validation are on a grid of 0.06 in their logarithm, relative to units.
    assert float(difference.std()) < 1e-3 * float(one.value(NODES).std())


def test_the_response_map_undoes_any_mixture_of_the_sufficient_statistics():
    system = CurieWeiss(20)
    t = np.random.default_rng(2).uniform([0.1, -0.3], [0.7, 0.3], (20_000, 2))
    statistics = system.sufficient_statistics(system.sample(t, np.arange(len(t)), 4))
    mixture = np.array([[0.02, 3.0], [-1.0, 0.5]])
    mixed, box = statistics @ mixture.T + [5.0, -2.0], ((0.1, 0.7), (-0.3, 0.3))
    found = response_map(mixed, t, conditional_mean(mixed, t, box))
    # B A is one, within the slope's standard error 1 / sqrt(n g) / side, 2 to 4 % here.
    scale = np.sqrt(np.diag(system.fisher_metric(t).mean(axis=0)))
    np.testing.assert_allclose(found.matrix @ mixture * scale / scale[:, None], np.eye(2), atol=0.08)
    # The information of sufficient statistics is the metric itself, pooled.
    difference = found.information - system.fisher_metric(t).mean(axis=0)
    assert np.abs(difference / np.outer(scale, scale)).max() < 0.1


def test_statistics_without_response_are_refused():
    t = points(500)
    same = np.random.default_rng(0).standard_normal((500, 1)) * [1.0, 2.0]
    mean = conditional_mean(same, t, BOX, splines=(4, 4))
    with pytest.raises(ValueError, match="linearly dependent"):
        response_map(same, t, mean)


def test_cross_validation_finds_a_weight_between_the_two_ends():
    t = points(2000)
    smooth, noise = np.sin(3 * t[:, 0]) * t[:, 1], np.random.default_rng(5).standard_normal(2000)

    def error(weight):
        field = conditional_mean((smooth + 0.5 * noise)[:, None], t, BOX, splines=(16, 16), smoothness=weight)
        return np.std(field(t)[:, 0] - smooth)

    assert error("auto") < 0.7 * error(1e-9)
    assert error("auto") < 0.7 * error(1e9)


def test_values_of_unequal_noise_count_by_their_own():
    # Noise from 0.01 to 10 across the box: where it is small, 0.1 at most, some 1400 values and 20 splines leave 0.01;
    # without weights the splines that reach over from where it is large bring more.
    t = points(4000)
    truth, noise = np.sin(2 * t[:, :1]) + t[:, 1:], 10 ** (1.5 * t[:, :1] - 0.5)
    values = truth + noise * np.random.default_rng(6).standard_normal((4000, 1))
    quiet = t[:, 0] < -0.3

    def error(scale):
        field = conditional_mean(values, t, BOX, noise=scale, splines=(8, 8), smoothness="auto")
        return np.std((field(t) - truth)[quiet])

    assert error(noise) < 0.01
    assert error(noise) < 0.6 * error(None)
    with pytest.raises(ValueError, match="must be positive"):
        conditional_mean(values, t, BOX, noise=0 * noise)


@pytest.mark.parametrize(
    ("values", "t", "message"),
    [
        (np.full((5, 2), np.nan), points(5), "not finite"),
        (np.zeros((5, 2)), points(5) + 3, "outside the extent"),
        (np.zeros((4, 2)), points(5), "must both have shape"),
        (np.zeros((5, 3)), points(5), "must both have shape"),
    ],
)
def test_what_cannot_be_integrated_is_refused(values, t, message):
    with pytest.raises(ValueError, match=message):
        integrate_statistics(values, t, BOX)
