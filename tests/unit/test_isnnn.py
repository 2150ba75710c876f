"""The Ising model with diagonal couplings: the transfer matrix against enumeration, samplers against both."""

import numpy as np
import pytest
import truths

from hessgeo.systems.solvable.ising import Ising
from hessgeo.systems.solvable.isnnn import MIXTURE, IsingNextNearest

# All four signs, a frustrated pair among them, and bonds on the diagonals alone.
POINTS = np.array([[0.3, 0.2], [-0.4, 0.1], [0.5, -0.4], [-0.2, -0.3], [0.0, 0.35]])


def test_the_transfer_matrix_sums_all_states_of_a_small_torus():
    truths.assert_enumeration_agrees(IsingNextNearest(3), POINTS)
    truths.assert_enumeration_agrees(IsingNextNearest(4), POINTS[[0, 2]])


def test_derivatives_of_the_transfer_matrix_are_those_of_log_z():
    truths.assert_derivatives_agree(IsingNextNearest(6), POINTS)


def test_without_diagonals_it_is_the_ising_model():
    coupling = np.array([[0.3, 0.0], [0.44, 0.0]])
    exact, known = IsingNextNearest(8).cumulants(coupling), Ising(8).cumulants(coupling)
    np.testing.assert_allclose(exact.log_partition, known.log_partition, rtol=1e-13)
    np.testing.assert_allclose(exact.mean[:, 0], known.mean[:, 0], rtol=1e-12)
    np.testing.assert_allclose(exact.metric[:, 0, 0], known.metric[:, 0, 0], rtol=1e-10)


def test_an_ordered_lattice_keeps_its_small_variances():
    # One spin turned of 64, in either of two phases, loses 8 of both sums.
    exact = IsingNextNearest(8).cumulants(np.array([[1.0, 0.8]]))
    odds = 64 * np.exp(-8 * 1.8)
    # The next states, two diagonal neighbours, are rarer by exp(-8 K1 - 4 K2), and their number is 2 a site.
    np.testing.assert_allclose(exact.metric[0], 64 * odds * np.ones((2, 2)), rtol=1e-3)


def test_parameters_of_the_mixture_are_mapped_with_their_jacobian():
    system, t, step = IsingNextNearest(4, coordinates=MIXTURE), np.array([[0.3, 0.8], [0.9, 0.4]]), 1e-6
    np.testing.assert_allclose(system.natural(t)[0], [0.15, 0.35], rtol=1e-14)
    numeric = [(system.natural(t + step * e) - system.natural(t - step * e)) / (2 * step) for e in np.eye(2)]
    np.testing.assert_allclose(system.jacobian(t), np.stack(numeric, axis=2), rtol=1e-8)
    assert np.all(np.linalg.eigvalsh(system.pulled_back_metric(t)) > 0)
    with pytest.raises(ValueError, match="l1 is 0, must be positive"):
        system.natural(np.array([[0.5, 0.0]]))


@pytest.mark.parametrize("point", [(0.3, 0.1), (0.4, -0.3), (-0.3, -0.2)])
def test_rows_of_the_transfer_matrix_are_exact_samples(point):
    truths.assert_moments_agree(IsingNextNearest(5), point, samples=1500)


@pytest.mark.parametrize("point", [(0.2, 0.15), (0.6, 0.3), (0.0, 0.45), (-0.2, 0.25)])
def test_clusters_equilibrate_with_both_kinds_of_bonds(point):
    truths.assert_moments_agree(IsingNextNearest(6, method="cluster", sweeps=40), point, samples=4000)


@pytest.mark.slow
def test_rows_at_8_x_8_are_exact_samples_in_the_frustrated_region():
    truths.assert_moments_agree(IsingNextNearest(8), (0.5, -0.35), samples=3000)


@pytest.mark.parametrize("method", ["cluster", "exact"])
def test_a_state_depends_on_seed_index_and_point_alone(method):
    points = np.random.default_rng(1).uniform([-0.5, 0.0], [0.5, 0.5], (10, 2))
    system = IsingNextNearest(6, method=method, sweeps=10)
    truths.assert_batches_do_not_matter(system, points)


def test_what_clusters_cannot_sample_is_refused():
    index = np.arange(1)
    with pytest.raises(ValueError, match=r"a coupling is -0.2, must not be negative"):
        IsingNextNearest(6, method="cluster").sample(np.array([[0.3, -0.2]]), index, 0)
    with pytest.raises(ValueError, match=r"K1 is -0.3 and side is 5: a negative coupling needs an even side"):
        IsingNextNearest(5, method="cluster").sample(np.array([[-0.3, 0.2]]), index, 0)
    with pytest.raises(ValueError, match="side is 11, must be at most 10"):
        IsingNextNearest(11, method="cluster").cumulants(POINTS)
