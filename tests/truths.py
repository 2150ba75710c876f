"""What every solvable system has to meet, as checks that tests share; other ways to numbers that are solved for."""

import itertools

import numpy as np
import torch
from scipy.integrate import solve_bvp


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


def boundary_value_geodesic(metric, guess, *, tolerance=1e-8, max_nodes=20_000):
    """Length of a geodesic of a density's metric by collocation, which knows no grids, chains or Newton's energy.

    With ``phi`` the logarithm of the cost of a step, a geodesic run through at constant Euclidean speed obeys
    the equation of a ray in a medium of refractive index ``exp(phi)``,

        x'' = |x'|^2 grad phi - <grad phi, x'> x',    s' = exp(phi) |x'|.

    Which local minimum is found lies with the guess, a path at constant Euclidean speed or nearly.
    """
    path = guess.detach().cpu().numpy().astype(float)
    d = path.shape[1]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    total = along[-1]
    time = along / total
    velocity = np.gradient(path, time, axis=0)

    def equation(_, y):
        x, v = torch.from_numpy(y[:d].T.copy()), y[d : 2 * d].T
        phi, slope = (values.numpy() for values in metric.log_speed_and_gradient(x))
        square = (v**2).sum(axis=1, keepdims=True)
        force = square * slope - (slope * v).sum(axis=1, keepdims=True) * v
        rate = np.exp(phi) * np.sqrt(square[:, 0])
        return np.concatenate([v.T, force.T, rate[None]])

    def ends(first, last):
        return np.concatenate([first[:d] - path[0], last[:d] - path[-1], first[2 * d :]])

    lengths = metric.segment_lengths(guess[:-1], guess[1:]).cpu().numpy()
    arc = np.concatenate([[0.0], np.cumsum(lengths)])
    start = np.concatenate([path.T, velocity.T, arc[None]])
    found = solve_bvp(equation, ends, time, start, tol=tolerance, max_nodes=max_nodes)
    assert found.status == 0
    assert found.rms_residuals.max() < tolerance
    return found.y[:d].T, float(found.y[2 * d, -1])
