"""What every solvable system has to meet, as checks that the tests of each system share."""

import itertools

import numpy as np


def all_states(shape, *, values=(-1, 1)):
    """Every state of a small lattice."""
    size = int(np.prod(shape))
    return np.array(list(itertools.product(values, repeat=size)), dtype=np.int8).reshape(-1, *shape)


def enumerated(system, natural):
    """``log Z``, mean and covariance of the statistics by a sum over all states at one point."""
    statistics = system.sufficient_statistics(all_states(system.sample_shape))
    weight = statistics @ natural
    log_z = np.logaddexp.reduce(weight)
    probability = np.exp(weight - log_z)
    mean = probability @ statistics
    deviation = statistics - mean
    return log_z, mean, (probability[:, None] * deviation).T @ deviation


def assert_enumeration_agrees(system, points):
    """Only rounding stands between the two sums: 1e-12 of the size of the numbers, 1e-10 of the variances."""
    exact = system.cumulants(points)
    for k, point in enumerate(points):
        log_z, mean, metric = enumerated(system, point)
        np.testing.assert_allclose(exact.log_partition[k], log_z, rtol=1e-12)
        np.testing.assert_allclose(exact.mean[k], mean, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(exact.metric[k], metric, rtol=1e-9, atol=1e-10)


def assert_derivatives_agree(system, points, *, step=1e-4):
    """Central differences of log Z and of its gradient, whose own error is step^2 times a third derivative."""
    exact = system.cumulants(points)
    for axis in (0, 1):
        shift = step * np.eye(2)[axis]
        above, below = system.cumulants(points + shift), system.cumulants(points - shift)
        slope = (above.log_partition - below.log_partition) / (2 * step)
        scale = np.abs(exact.mean).max() + np.abs(exact.metric).max()
        np.testing.assert_allclose(exact.mean[:, axis], slope, atol=1e-5 * scale)
        bend = (above.mean - below.mean) / (2 * step)
        np.testing.assert_allclose(exact.metric[:, :, axis], bend, atol=1e-5 * scale)


def assert_moments_agree(system, point, *, samples, seed=7, errors=4.5):
    """Means and covariances of independent samples at one point, within their standard errors.

    Five numbers a point and some tens of points: a false alarm at 4.5 has odds below 1e-3, and the seed is fixed.
    """
    natural = system.natural(np.array([point]))
    exact = system.cumulants(natural)
    states = system.sample(np.tile(point, (samples, 1)), np.arange(samples), seed)
    assert states.shape == (samples, *system.sample_shape)
    assert states.dtype == system.dtype
    deviation = system.sufficient_statistics(states) - exact.mean[0]
    assert_zero_mean(deviation, errors=errors)
    products = deviation[:, [0, 0, 1]] * deviation[:, [0, 1, 1]]
    assert_zero_mean(products - exact.metric[0][[0, 0, 1], [0, 1, 1]], errors=errors)


def assert_zero_mean(values, *, errors=4.5):
    """The mean of independent values, within its standard error."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    worst = np.abs(values.mean(axis=0)) / np.maximum(error, 1e-300)
    assert np.all(worst < errors), worst


def assert_batches_do_not_matter(system, points, *, seed=3):
    """A sample depends on the seed, its index and its point alone."""
    index = np.arange(100, 100 + len(points))
    together = system.sample(points, index, seed)
    order = np.random.default_rng(0).permutation(len(points))
    np.testing.assert_array_equal(system.sample(points[order], index[order], seed), together[order])
    for k in (0, len(points) - 1):
        np.testing.assert_array_equal(
            system.sample(points[k : k + 1], index[k : k + 1], seed)[0], together[k]
        )
    np.testing.assert_array_equal(system.sample(points, index, seed), together)
    assert np.any(system.sample(points, index, seed + 1) != together)
    assert np.any(system.sample(points, index + 1, seed) != together)
