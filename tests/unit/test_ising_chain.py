"""The Ising ring: a power of its transfer matrix against enumeration and the largest eigenvalue."""

import numpy as np
import pytest
import truths

from hessgeo.systems.solvable.base import TEMPERATURE_FIELD
from hessgeo.systems.solvable.ising_chain import IsingChain

POINTS = np.array([[0.3, 0.2], [1.5, -0.1], [-0.6, 0.5], [0.0, 0.3], [0.0, 0.0], [-1.2, -0.4]])


@pytest.mark.parametrize("length", [3, 7, 10])
def test_the_power_sums_all_states_of_a_short_ring(length):
    truths.assert_enumeration_agrees(IsingChain(length), POINTS)


def test_derivatives_are_those_of_log_z():
    truths.assert_derivatives_agree(IsingChain(50), POINTS)


def test_a_long_ring_has_the_largest_eigenvalue_to_its_power():
    length, (coupling, field) = 100_000, POINTS[:2].T
    root = np.sqrt(np.exp(2 * coupling) * np.sinh(field) ** 2 + np.exp(-2 * coupling))
    eigenvalue = np.exp(coupling) * np.cosh(field) + root
    exact = IsingChain(length).cumulants(POINTS[:2])
    np.testing.assert_allclose(exact.log_partition, length * np.log(eigenvalue), rtol=1e-13)
    magnetisation = np.exp(coupling) * np.sinh(field) / root
    np.testing.assert_allclose(exact.mean[:, 1], length * magnetisation, rtol=1e-10)
    susceptibility = np.exp(-coupling) * np.cosh(field) / root**3
    # The square of a mean of 1e5 in the variance leaves 1e-16 of 1e10 in 1e5.
    np.testing.assert_allclose(exact.metric[:, 1, 1], length * susceptibility, rtol=1e-8)


@pytest.mark.parametrize("point", [(0.5, 0.1), (1.5, 0.02), (-0.8, 0.4), (0.0, 0.0)])
def test_samples_have_the_exact_moments(point):
    truths.assert_moments_agree(IsingChain(21), point, samples=20_000)


def test_samples_at_temperatures_have_the_exact_moments():
    truths.assert_moments_agree(IsingChain(16, coordinates=TEMPERATURE_FIELD), (0.8, -0.2), samples=20_000)


def test_samples_have_the_odds_of_their_states():
    truths.assert_odds_agree(IsingChain(6), (6,), (0.4, 0.2), samples=50_000, seed=2)


def test_a_long_cold_ring_is_sampled_without_overflow():
    states = IsingChain(5000).sample(np.array([[20.0, 0.01], [20.0, -30.0]]), np.arange(2), 0)
    # One wall in exp(40) bonds.
    assert [len(np.unique(row)) for row in states] == [1, 1]
    assert states[1, 0] == -1


def test_a_state_depends_on_seed_index_and_point_alone():
    truths.assert_batches_do_not_matter(
        IsingChain(30), np.random.default_rng(1).uniform([-0.5, -0.5], [0.5, 0.5], (20, 2))
    )


def test_a_short_ring_is_refused():
    with pytest.raises(ValueError, match="length is 2, must be at least 3"):
        IsingChain(2)
