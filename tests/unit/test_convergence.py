"""Theorems 3.1 and 3.2, finite-size scaling and curvature where all is known exactly."""

import numpy as np
import pytest
import torch
from potentials import POTENTIALS
from truths import all_states

from hessgeo.estimators.estimate import Estimate
from hessgeo.evaluation.divergences import bregman, divergence_loss
from hessgeo.evaluation.exact_curvature import exact_curvature, third_cumulants
from hessgeo.evaluation.finite_size import (
    PEAK_SLOPE,
    heat_capacity,
    heat_capacity_peak,
    measured_heat_capacity,
)
from hessgeo.evaluation.hessian_convergence import hessian_errors, potential_at
from hessgeo.evaluation.sharpening import sharpening
from hessgeo.grids import Grid
from hessgeo.metrics.curvature import thermodynamic_curvature
from hessgeo.systems.solvable.base import TEMPERATURE_FIELD
from hessgeo.systems.solvable.curie_weiss import CurieWeiss
from hessgeo.systems.solvable.gaussian_linear import GaussianLinear
from hessgeo.systems.solvable.ising import CRITICAL_TEMPERATURE, Ising

GRID = Grid(((0.2, 1.4), (-0.4, 0.4)), (13, 11))
SPINS = CurieWeiss(10)


def test_divergences_are_those_of_the_laws():
    """KL(p(.|t_i) || p(.|t_j)) by a sum over all states."""
    t = np.array([[0.3, 0.1], [0.9, -0.2], [1.2, 0.4]])
    exact = SPINS.cumulants(t)
    statistics = SPINS.sufficient_statistics(all_states((10,)))
    log_p = statistics @ t.T - exact.log_partition
    kl = (np.exp(log_p)[:, :, None] * (log_p[:, :, None] - log_p[:, None, :])).sum(axis=0)
    np.testing.assert_allclose(bregman(exact.log_partition, exact.mean, t), kl, atol=1e-12)
    shifted = exact.log_partition + 3 + t @ [1.0, -2.0]
    np.testing.assert_allclose(bregman(shifted, exact.mean + np.array([1.0, -2.0]), t), kl, atol=1e-12)
    np.testing.assert_allclose(
        bregman(exact.log_partition, exact.mean, t, sources=slice(1, 3)), kl[1:], atol=1e-12
    )


def test_the_loss_does_not_depend_on_blocks(monkeypatch):
    exact = SPINS.cumulants(GRID.points)
    arguments = (0.9 * exact.log_partition, 0.9 * exact.mean, exact.log_partition, exact.mean, GRID.points)
    whole = divergence_loss(*arguments)
    monkeypatch.setattr("hessgeo.evaluation.divergences.BLOCK", 500)
    assert divergence_loss(*arguments) == pytest.approx(whole, rel=1e-13)
    found, true = (np.exp(-factor * bregman(*arguments[2:])) for factor in (0.9, 1.0))
    assert whole == pytest.approx(np.mean((found - true) ** 2), rel=1e-12)


# Theorem 3.1


def test_the_posterior_sharpens_to_the_divergence_at_the_rate_of_the_mean():
    counts = [16, 64, 256, 1024, 4096]
    found = sharpening(SPINS, GRID, (0.8, 0.1), counts, draws=12, seed=1)
    source = GRID.points[found.source]
    np.testing.assert_allclose(source, [0.8, 0.08], atol=0.05)
    exact = SPINS.cumulants(GRID.points)
    divergence = bregman(exact.log_partition, exact.mean, GRID.points)[found.source]
    np.testing.assert_allclose(found.divergence, divergence, atol=1e-12)
    for errors in (found.supremum, found.rms):
        slope = np.polyfit(np.log(counts), np.log(errors.mean(axis=0)), 1)[0]
        # -1/2 from the mean of f, a little more from log(N) / N of the norm; 12 draws know it to some 0.05.
        assert -0.8 < slope < -0.42
        assert errors[:, -1].mean() < 0.03


def test_the_posterior_is_that_of_the_states_drawn():
    """Against the sum of log likelihoods of the same states, normalised over the cells."""
    found = sharpening(SPINS, GRID, (0.8, 0.0), [3, 7], draws=2, seed=4)
    point = GRID.points[found.source]
    states = SPINS.sample(np.tile(point, (7, 1)), np.arange(7), 4)
    likelihood = SPINS.sufficient_statistics(states) @ GRID.points.T - SPINS.log_partition(GRID.points)
    for row, count in enumerate((3, 7)):
        joint = np.exp(likelihood[:count].sum(axis=0))
        density = joint / (joint.sum() * GRID.spacing[0] * GRID.spacing[1])
        np.testing.assert_allclose(found.log_posterior[row], np.log(density) / count, atol=1e-12)


def test_sharpening_in_the_parameters_of_a_study():
    """In (T, H) the divergence is still that of the natural parameters."""
    system, grid = CurieWeiss(10, coordinates=TEMPERATURE_FIELD), Grid(((0.8, 2.0), (-0.3, 0.3)), (9, 7))
    found = sharpening(system, grid, (1.4, 0.1), [2000], draws=3)
    natural = system.natural(grid.points)
    exact = system.cumulants(natural)
    np.testing.assert_allclose(
        found.divergence, bregman(exact.log_partition, exact.mean, natural)[found.source], atol=1e-12
    )
    assert found.supremum.max() < 0.2


@pytest.mark.parametrize(("counts", "draws"), [([], 1), ([4, 2], 1), ([0, 1], 1), ([1, 2], 0)])
def test_counts_must_rise(counts, draws):
    with pytest.raises(ValueError, match="must rise from at least 1"):
        sharpening(SPINS, GRID, (0.8, 0.1), counts, draws=draws)


# Theorem 3.2


def perturbed(size):
    """A potential and the same with a wave of that size on it."""
    x, y = GRID.points.T
    wave = np.sin(3 * x) * np.cos(4 * y)
    slope = np.stack([3 * np.cos(3 * x) * np.cos(4 * y), -4 * np.sin(3 * x) * np.sin(4 * y)], axis=1)
    mixed = -12 * np.cos(3 * x) * np.sin(4 * y)
    bend = np.array([[-9 * wave, mixed], [mixed, -16 * wave]]).transpose(2, 0, 1)
    exact = Estimate(*SPINS.cumulants(GRID.points))
    return exact, Estimate(
        exact.value + size * wave, exact.gradient + size * slope, exact.metric + size * bend
    )


def test_errors_of_one_shape_fall_as_the_root_of_the_loss():
    small, large = (hessian_errors(*reversed(perturbed(size)), GRID.points) for size in (1e-4, 1e-2))
    assert large.largest / small.largest == pytest.approx(100)
    assert large.rms / small.rms == pytest.approx(100)
    # To first order in the wave; the next is a few percent of it.
    assert np.sqrt(large.loss / small.loss) == pytest.approx(100, rel=0.1)


def test_neither_side_of_the_theorem_sees_an_affine_function():
    exact, _ = perturbed(0.0)
    shifted = Estimate(
        exact.value + GRID.points @ [1.0, 2.0], exact.gradient + np.array([1.0, 2.0]), exact.metric
    )
    found = hessian_errors(shifted, exact, GRID.points)
    assert found.loss < 1e-25
    assert found.largest == 0


def test_a_potential_at_points():
    potential = POTENTIALS["quadratic"]
    found = potential_at(potential, GRID.points)
    x, y = GRID.points.T
    np.testing.assert_allclose(found.value, 0.4 * x**2 + 0.1 * x * y + 0.2 * y**2)
    np.testing.assert_allclose(found.gradient[:, 0], 0.8 * x + 0.1 * y)
    np.testing.assert_allclose(found.metric, np.tile([[0.8, 0.1], [0.1, 0.4]], (GRID.size, 1, 1)))


def test_what_has_no_hessian_is_refused():
    exact, _ = perturbed(0.0)
    with pytest.raises(ValueError, match="must both have a value, a gradient and a metric"):
        hessian_errors(Estimate(exact.value, exact.gradient), exact, GRID.points)


# Finite-size scaling


def test_the_heat_capacity_is_the_variance_of_the_energy():
    temperature = np.array([1.8, 2.3, 3.0])
    natural = np.stack([1 / temperature, np.zeros(3)], axis=1)
    exact = Ising(6).fisher_metric(natural)[:, 0, 0] / temperature**2 / 36
    np.testing.assert_allclose(heat_capacity(temperature, 6), exact, rtol=1e-9)


def test_peaks_approach_the_critical_point_and_grow_as_ferdinand_and_fisher_say():
    """T_max = T_c (1 + 0.360 / L) and C_max = 0.4945 ln L + 0.2014 on the square torus (1969)."""
    sides = (16, 64, 256)
    peaks = [heat_capacity_peak(side) for side in sides]
    shift = [
        (peak.temperature / CRITICAL_TEMPERATURE - 1) * side for peak, side in zip(peaks, sides, strict=True)
    ]
    rest = [peak.height - PEAK_SLOPE * np.log(side) for peak, side in zip(peaks, sides, strict=True)]
    # Corrections of order ln(L) / L: below a percent at 256, and less on every larger lattice.
    assert np.abs(np.array(shift) - 0.3603)[-1] < 0.003
    assert np.all(np.diff(np.abs(np.array(shift) - 0.3603)) < 0)
    assert np.abs(np.array(rest) - 0.2014)[-1] < 0.003
    assert np.all(np.diff(np.abs(np.array(rest) - 0.2014)) < 0)
    assert pytest.approx(0.494538, abs=1e-6) == PEAK_SLOPE


def test_no_temperature_has_more_than_the_peak():
    peak = heat_capacity_peak(8)
    assert heat_capacity(np.linspace(1.5, 4, 2001), 8).max() <= peak.height
    assert heat_capacity(np.linspace(1.5, 4, 2001), 8).max() == pytest.approx(peak.height, rel=1e-5)
    with pytest.raises(ValueError, match="side is 2, must be at least 3"):
        heat_capacity_peak(2)


def test_a_heat_capacity_of_few_samples_is_that_by_hand():
    # Deviations -1, -1, -1, 3 of four: a variance of 12 / 3 and a fourth moment of 84 / 4, at T = 2 and five sites.
    value, error = measured_heat_capacity(np.array([0.0, 0.0, 0.0, 4.0]), 2.0, 5)
    assert value == pytest.approx(4 / 20, rel=1e-12)
    assert error == pytest.approx(np.sqrt((21 - 4**2) / 4) / 20, rel=1e-12)
    # Of two values alike often the fourth moment is below the square of the variance: no error can be told.
    assert measured_heat_capacity(np.array([0.0, 0.0, 3.0, 3.0]), 2.0, 5) == pytest.approx((3 / 20, 0.0))


def test_measured_heat_capacities_and_their_errors():
    """Many measurements of normal energies scatter about the truth as their own errors say."""
    rng = np.random.default_rng(0)
    energies = 3.0 * rng.normal(size=(400, 300))
    values, errors = np.array([measured_heat_capacity(row, 2.0, 5) for row in energies]).T
    truth = 9 / (4 * 5)
    standardised = (values - truth) / errors
    # 400 numbers: their deviation is known to 3.5 %, their mean to 0.05.
    assert standardised.std() == pytest.approx(1, abs=0.15)
    assert abs(values.mean() - truth) < 4 * values.std() / 20
    with pytest.raises(ValueError, match="must be at least 2"):
        measured_heat_capacity(np.ones(1), 2.0, 5)


# Curvature


def test_third_cumulants_are_those_of_the_states():
    t = np.array([[0.7, 0.15], [1.1, -0.05]])
    statistics = SPINS.sufficient_statistics(all_states((10,)))
    exact = SPINS.cumulants(t)
    found = third_cumulants(SPINS, t)
    for k in range(2):
        p = np.exp(statistics @ t[k] - exact.log_partition[k])
        d = statistics - exact.mean[k]
        third = np.einsum("n,ni,nj,nk->ijk", p, d, d, d)
        np.testing.assert_allclose(found[k], third, atol=1e-7 * np.abs(third).max())


def test_curvature_of_an_exact_potential():
    """By automatic differentiation of the same sum over magnetisations, in other units of the parameters."""
    potential = POTENTIALS["curie_weiss"]
    t = torch.tensor([[-0.2, 0.3], [0.1, -0.4]], dtype=torch.float64)
    auto = thermodynamic_curvature(potential.hessian(t), potential.third(t)).numpy()
    natural = np.stack([1 + t[:, 0].numpy(), 0.5 * t[:, 1].numpy()], axis=1)
    # The potential is a spin's: its curvature is that of the whole times the number of spins.
    np.testing.assert_allclose(24 * exact_curvature(CurieWeiss(24), natural), auto, rtol=1e-6)


def test_a_linear_gaussian_family_is_flat():
    system = GaussianLinear(np.random.default_rng(0).normal(size=(5, 2)), noise=0.7)
    t = np.random.default_rng(1).normal(size=(4, 2))
    assert np.abs(exact_curvature(system, t)).max() < 1e-9
