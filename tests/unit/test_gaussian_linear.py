"""The linear Gaussian family: a flat metric, by derivatives, by samples and by Gaussian integrals."""

import numpy as np
import pytest
import truths

from hessgeo.systems.solvable.base import Coordinates
from hessgeo.systems.solvable.gaussian_linear import GaussianLinear

MATRIX = np.array([[1.0, 0.5], [-0.3, 2.0], [0.7, 0.1]])
POINTS = np.array([[0.3, 0.2], [-1.0, 0.5], [0.0, 0.0]])


def system(**options):
    return GaussianLinear(MATRIX, noise=0.6, **options)


def test_derivatives_are_those_of_log_z():
    truths.assert_derivatives_agree(system(), POINTS)


def test_log_z_normalises_the_tilted_density_at_zero():
    # E exp(<f(x), t>) over x drawn at t = 0 is Z, by Gauss and Hermite in each dimension.
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    x = 0.6 * np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 3)
    weight = np.einsum("i,j,k->ijk", weights, weights, weights).ravel() / (2 * np.pi) ** 1.5
    for point in POINTS:
        z = weight @ np.exp(system().sufficient_statistics(x) @ point)
        assert np.log(z) == pytest.approx(system().log_partition(point[None])[0], abs=1e-6)


def test_the_metric_is_flat():
    metric = system().fisher_metric(POINTS)
    np.testing.assert_allclose(metric, np.broadcast_to(MATRIX.T @ MATRIX / 0.36, (3, 2, 2)), rtol=1e-14)


@pytest.mark.parametrize("point", [(0.4, -0.2), (0.0, 0.0)])
def test_samples_have_the_exact_moments(point):
    truths.assert_moments_agree(system(), point, samples=20_000)


def test_noise_of_different_readings_is_independent():
    samples = 20_000
    x = system().sample(np.zeros((samples, 2)), np.arange(samples), 1).astype(np.float64)
    np.testing.assert_allclose(np.cov(x.T), 0.36 * np.eye(3), atol=4.5 * 0.36 * np.sqrt(2 / samples))


def test_other_coordinates_pull_the_metric_back():
    turn = np.array([[0.0, 2.0], [1.0, 0.0]])
    turned = Coordinates(("u", "v"), lambda t: t @ turn.T, lambda t: np.broadcast_to(turn, (len(t), 2, 2)))
    expected = turn.T @ MATRIX.T @ MATRIX @ turn / 0.36
    np.testing.assert_allclose(system(coordinates=turned).pulled_back_metric(POINTS)[0], expected, rtol=1e-13)
    truths.assert_moments_agree(system(coordinates=turned), (0.1, 0.2), samples=5000)


def test_a_state_depends_on_seed_index_and_point_alone():
    truths.assert_batches_do_not_matter(system(), np.random.default_rng(1).uniform(-1, 1, (20, 2)))


@pytest.mark.parametrize(
    ("matrix", "noise", "message"),
    [
        (np.eye(3), 1.0, r"matrix has shape \(3, 3\)"),
        (np.array([[np.nan, 1.0]]), 1.0, "must be finite"),
        (np.eye(2), 0.0, "noise is 0.0, must be positive"),
    ],
)
def test_what_is_no_such_family_is_refused(matrix, noise, message):
    with pytest.raises(ValueError, match=message):
        GaussianLinear(matrix, noise=noise)
