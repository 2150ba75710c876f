"""The response of slopes: for a gradient nothing is antisymmetric, for a rotation all that is known in closed form."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from hessgeo.free_energies.response import response
from hessgeo.grids import Grid

EXTENT = ((-1.0, 1.0), (0.0, 2.0))
SLOPES = np.random.default_rng(0).normal(size=(5, 2))


def family(t):
    """Log-partition function, mean and covariance of five states."""
    shares = softmax(t @ SLOPES.T, axis=1)
    mean = shares @ SLOPES
    spread = SLOPES[None] - mean[:, None]
    return logsumexp(t @ SLOPES.T, axis=1), mean, np.einsum("nk,nki,nkj->nij", shares, spread, spread)


def of_nodes(nodes):
    grid = Grid(EXTENT, (nodes, nodes))
    value, mean, covariance = family(grid.points)
    found = response(grid, grid.points, mean, values=value.reshape(grid.shape))
    return found, covariance.reshape(*grid.shape, 2, 2)


def test_of_an_exponential_family_it_is_the_fisher_metric_and_nothing_is_antisymmetric():
    coarse, fine = of_nodes(11), of_nodes(21)
    for read in (
        lambda found, fisher: np.abs(found.metric - fisher)[2:-2, 2:-2].max(),
        lambda found, _: found.share,
        lambda found, _: found.share_error,
    ):
        # Second order: four times less at half the step; the share has an edge of one-sided differences.
        assert read(*coarse) / read(*fine) > 3
    found, fisher = fine
    assert found.share < 1e-3
    # The error that it states is the one that it has.
    error = np.abs(found.metric - fisher)
    assert np.median(found.metric_error / error) == pytest.approx(1, abs=0.1)
    assert found.share < 2 * found.share_error
    assert np.abs(found.mismatch).max() < found.mismatch_error.max()
    # Of fourth order, sixteen times less; at the edges they are one-sided.
    assert np.abs(coarse[0].mismatch).max() / np.abs(found.mismatch).max() > 10


@pytest.mark.parametrize("scattered", [False, True])
def test_a_rotation_is_measured_as_what_it_is(scattered):
    grid = Grid(EXTENT, (9, 9))
    t = np.random.default_rng(1).uniform(*np.array(EXTENT).T, size=(300, 2)) if scattered else grid.points
    jacobian = np.array([[2.0, 0.5 - 0.7], [0.5 + 0.7, 1.0]])
    found = response(grid, t, t @ jacobian.T, values=np.zeros(grid.shape))
    symmetric = np.array([[2.0, 0.5], [0.5, 1.0]])
    np.testing.assert_allclose(found.metric, np.broadcast_to(symmetric, (9, 9, 2, 2)), atol=1e-9)
    share = 0.7 * np.sqrt(2) / np.linalg.norm(symmetric)
    assert found.share == pytest.approx(share, rel=1e-9)
    np.testing.assert_allclose(found.antisymmetric, share, rtol=1e-9)
    assert found.share_error < 1e-8
    np.testing.assert_allclose(found.mismatch.reshape(-1, 2), grid.points @ jacobian.T, atol=1e-9)


def test_scattered_sources_come_near_with_their_number():
    errors = []
    for count in (400, 6400):
        grid = Grid(EXTENT, (9, 9))
        t = np.random.default_rng(2).uniform(*np.array(EXTENT).T, size=(count, 2))
        found = response(grid, t, family(t)[1])
        errors.append(np.median(np.abs(found.metric - family(grid.points)[2].reshape(9, 9, 2, 2))))
    # Four times nearer neighbours, a local line is wrong by their distance at least.
    assert errors[0] / errors[1] > 3.5
    assert found.share < 0.02


def test_units_and_offsets_change_nothing():
    shift, scale = np.array([1e6, -3.0]), np.array([1e3, 1e-4])
    plain, _ = of_nodes(9)
    u = Grid(EXTENT, (9, 9)).points
    value, mean, _ = family(u)
    extent = tuple(
        (low * s + o, high * s + o) for (low, high), s, o in zip(EXTENT, scale, shift, strict=True)
    )
    grid = Grid(extent, (9, 9))
    found = response(grid, grid.points, mean / scale, values=value.reshape(9, 9))
    np.testing.assert_allclose(found.metric * np.outer(scale, scale), plain.metric, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(found.antisymmetric, plain.antisymmetric, atol=1e-7)
    np.testing.assert_allclose(found.mismatch * scale, plain.mismatch, atol=1e-7)


def test_of_one_parameter_there_is_no_rotation():
    grid = Grid(((0.0, 2.0),), (21,))
    found = response(grid, grid.points, np.sinh(grid.points), values=np.cosh(grid.points[:, 0]))
    assert found.share == 0
    np.testing.assert_allclose(found.metric[..., 0, 0], np.cosh(grid.points[:, 0]), rtol=1e-2)


def test_too_little_is_refused():
    grid = Grid(EXTENT, (4, 9))
    with pytest.raises(ValueError, match="fewer than 5 nodes"):
        response(grid, grid.points, grid.points)
    grid = Grid(EXTENT, (9, 9))
    with pytest.raises(ValueError, match="sources are too few"):
        response(grid, grid.points[:10], grid.points[:10])
