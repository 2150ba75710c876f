"""The two-dimensional Ising model: three exact solutions against each other, and both samplers against them."""

import numpy as np
import pytest
import truths

from hessgeo.systems.solvable.base import TEMPERATURE_FIELD, natural_coordinates
from hessgeo.systems.solvable.ising import (
    CRITICAL_COUPLING,
    CRITICAL_TEMPERATURE,
    Ising,
)
from hessgeo.systems.solvable.kaufman import kaufman
from hessgeo.systems.solvable.transfer import bracelets

POINTS = np.array([[0.3, 0.2], [0.7, -0.1], [-0.4, 0.5], [CRITICAL_COUPLING, 0.0], [0.0, 0.0], [-0.3, -0.2]])


def test_the_transfer_matrix_sums_all_states_of_a_small_torus():
    truths.assert_enumeration_agrees(Ising(3), POINTS)
    truths.assert_enumeration_agrees(Ising(4), POINTS[[0, 2, 3]])


def test_derivatives_of_the_transfer_matrix_are_those_of_log_z():
    truths.assert_derivatives_agree(Ising(7), POINTS)
    truths.assert_derivatives_agree(Ising(8), POINTS[:4])


@pytest.mark.parametrize("side", [4, 5, 8, 10])
def test_kaufman_and_the_transfer_matrix_agree_without_a_field(side):
    coupling = np.array([0.1, CRITICAL_COUPLING, 0.45, 1.0])
    exact = Ising(side).cumulants(np.stack([coupling, np.zeros(4)], axis=1))
    log_z, mean, variance = kaufman(coupling, width=side, height=side)
    np.testing.assert_allclose(exact.log_partition, log_z, rtol=1e-13)
    np.testing.assert_allclose(exact.mean[:, 0], mean, rtol=1e-12)
    # Kaufman's variance loses what the square of the mean takes: 1e-16 of 1e5.
    np.testing.assert_allclose(exact.metric[:, 0, 0], variance, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(exact.mean[:, 1], 0, atol=1e-10)


@pytest.mark.slow
def test_kaufman_and_the_transfer_matrix_agree_at_12_x_12():
    exact = Ising(12).cumulants(np.array([[0.44, 0.0]]))
    log_z, mean, variance = kaufman(np.array([0.44]), width=12, height=12)
    np.testing.assert_allclose(
        [exact.log_partition[0], exact.mean[0, 0], exact.metric[0, 0, 0]],
        [log_z[0], mean[0], variance[0]],
        rtol=1e-11,
    )


def test_kaufman_is_the_same_with_the_torus_turned():
    coupling = np.array([0.3, 0.5])
    for one, other in zip(
        kaufman(coupling, width=6, height=9), kaufman(coupling, width=9, height=6), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_an_ordered_lattice_keeps_its_small_variances():
    # One spin down of 64 up: its weight is exp(-8 K - 2 h), and it loses 8 of the bonds and 2 of M.
    coupling, field = 2.0, 3.0
    exact = Ising(8).cumulants(np.array([[coupling, field]]))
    odds = 64 * np.exp(-8 * coupling - 2 * field)
    # The next states, two neighbours down, are rarer by exp(-4 K - 2 h) = 1e-6.
    np.testing.assert_allclose(exact.metric[0], odds * np.array([[64, 16], [16, 4]]), rtol=1e-4)


def test_large_tori_tend_to_onsager():
    coupling = np.array([0.2, 0.4, 0.5, 0.7])
    log_z, mean, _ = kaufman(coupling, width=256, height=256)
    infinite = np.array([truths.onsager_log_partition(k) for k in coupling])
    # Off the critical point only log 2 is left of the finite size: two ordered phases.
    left = log_z - 256**2 * infinite
    np.testing.assert_allclose(left, np.where(coupling > CRITICAL_COUPLING, np.log(2), 0), atol=1e-6)
    np.testing.assert_allclose(mean / 256**2, truths.onsager_energy(coupling), rtol=1e-9)


def test_the_critical_point_is_where_it_is():
    assert pytest.approx(2 / np.log(1 + np.sqrt(2)), rel=1e-15) == CRITICAL_TEMPERATURE
    assert truths.onsager_energy(np.array([CRITICAL_COUPLING]))[0] == pytest.approx(np.sqrt(2), rel=1e-12)
    # The heat capacity peaks there, ever closer as the torus grows: the shift falls as 1 / side.
    coupling = np.linspace(0.40, 0.46, 301)
    peaks = [coupling[kaufman(coupling, width=n, height=n)[2].argmax()] for n in (16, 32, 64)]
    distance = np.abs(np.array(peaks) - CRITICAL_COUPLING)
    # Half, to a step of the scan, 2e-4.
    np.testing.assert_allclose(distance[1:] / distance[:-1], 0.5, atol=0.1)


def test_the_spontaneous_magnetisation_is_yangs():
    below, above = truths.yang_magnetisation(np.array([0.3, 0.6]))
    assert below == 0
    # E[M^2] = (sites m)^2 + sites chi, with a susceptibility chi of 0.1 that 100 sites leave 1e-3 of.
    variance = Ising(10).fisher_metric(np.array([[0.6, 0.0]]))[0, 1, 1]
    assert np.sqrt(variance) / 100 == pytest.approx(above, abs=1e-3)


def test_the_metric_is_pulled_back_to_temperature_and_field():
    system, t, step = Ising(4, coordinates=TEMPERATURE_FIELD), np.array([[2.5, 0.4], [1.5, -0.3]]), 1e-5
    numeric = np.stack(
        [
            (system.natural(t + step * unit) - system.natural(t - step * unit)) / (2 * step)
            for unit in np.eye(2)
        ],
        axis=2,
    )
    np.testing.assert_allclose(system.jacobian(t), numeric, rtol=1e-8, atol=1e-9)
    # The metric is the second derivative of D(t + d || t), whatever the parameters.
    pulled = system.pulled_back_metric(t)
    direction, reach = np.array([0.6, 0.8]), 1e-3
    near = [system.natural(t + sign * reach * direction) for sign in (1, -1)]
    here = system.natural(t)
    divergence = [
        system.log_partition(end)
        - system.log_partition(here)
        - ((end - here) * system.statistics_mean(here)).sum(axis=1)
        for end in near
    ]
    length = np.einsum("i,nij,j->n", direction, pulled, direction)
    np.testing.assert_allclose(sum(divergence) / reach**2, length, rtol=1e-4)


@pytest.mark.parametrize("point", [(0.2, 0.3), (0.42, 0.02), (0.44, 0.0), (0.7, 0.01), (0.7, -0.05)])
def test_clusters_equilibrate_ordered_and_critical_lattices(point):
    truths.assert_moments_agree(Ising(8, sweeps=40), point, samples=6000)


def test_clusters_of_an_odd_torus_and_of_temperature():
    truths.assert_moments_agree(Ising(5, coordinates=TEMPERATURE_FIELD, sweeps=30), (2.0, 0.1), samples=6000)


def test_clusters_meet_kaufman_on_a_large_critical_lattice():
    side, samples = 64, 60
    system = Ising(side)
    states = system.sample(np.tile([CRITICAL_COUPLING, 0.0], (samples, 1)), np.arange(samples), 5)
    _, mean, variance = kaufman(np.array([CRITICAL_COUPLING]), width=side, height=side)
    found = system.sufficient_statistics(states)[:, 0]
    assert abs(found.mean() - mean[0]) < 4.5 * np.sqrt(variance[0] / samples)
    # A variance of 60 draws has a relative error of sqrt(2 / 60).
    assert abs(found.var() / variance[0] - 1) < 4.5 * np.sqrt(2 / samples)


@pytest.mark.parametrize("point", [(0.44, 0.05), (-0.5, 0.3)])
def test_rows_of_the_transfer_matrix_are_exact_samples(point):
    truths.assert_moments_agree(Ising(6, method="exact"), point, samples=2000)
    truths.assert_moments_agree(Ising(5, method="exact"), point, samples=2000)


def test_rows_have_the_odds_of_their_states():
    truths.assert_odds_agree(Ising(3, method="exact"), (3, 3), (0.2, 0.1), samples=10_000, seed=2)


@pytest.mark.parametrize("method", ["cluster", "exact"])
def test_a_state_depends_on_seed_index_and_point_alone(method):
    points = np.random.default_rng(1).uniform([0.1, -0.5], [0.8, 0.5], (12, 2))
    points[5] = points[2]
    truths.assert_batches_do_not_matter(Ising(6, method=method, sweeps=10), points)


def test_bracelets_count_every_row_once():
    for width, classes in ((3, 4), (6, 13), (12, 224)):  # the known numbers of binary bracelets
        starts, counts = bracelets(width)
        assert len(starts) == classes
        assert counts.sum() == 2**width


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": 2}, "side is 2, must be at least 3"),
        ({"side": 8, "method": "local"}, "method is 'local', must be one of cluster, exact"),
        ({"side": 11, "method": "exact"}, "side is 11, must be at most 10"),
        ({"side": 8, "sweeps": 0}, "sweeps is 0, must be at least 1"),
    ],
)
def test_what_no_lattice_can_do_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Ising(**options)


def test_what_has_no_answer_is_refused():
    points, index = np.array([[-0.1, 0.0]]), np.arange(1)
    with pytest.raises(ValueError, match=r"a coupling is -0.1, must not be negative"):
        Ising(4).sample(points, index, 0)
    with pytest.raises(ValueError, match="side is 16, must be at most 14"):
        Ising(16).cumulants(points)
    with pytest.raises(ValueError, match=r"coupling is -0.1, must be positive"):
        kaufman(points[:, 0], width=4, height=4)
    with pytest.raises(ValueError, match=r"temperature is -1.0, must be positive"):
        Ising(4, coordinates=TEMPERATURE_FIELD).natural(np.array([[-1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"have shape \(2,\), must be \(n, 2\)"):
        Ising(4).natural(np.zeros(2))
    with pytest.raises(ValueError, match="not finite"):
        Ising(4).cumulants(np.array([[np.nan, 0.0]]))
    with pytest.raises(ValueError, match="must be 2"):
        natural_coordinates("K")
