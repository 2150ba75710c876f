"""What every solvable system has to meet, as checks that tests share; other ways to numbers that are solved for."""

import itertools
import math

import numpy as np
import torch
from potentials import planes
from scipy.integrate import quad, solve_bvp
from scipy.special import ellipkm1, gammaln, logsumexp

from hessgeo.systems.solvable.tasep import Tasep


def soft_planes(sharpness, count=5):
    """Value, gradient and Hessian of a soft maximum of planes, as a function of points in numpy."""
    known = planes(count, sharpness)

    def at(t):
        parts = (part(torch.from_numpy(t)) for part in (known.value, known.gradient, known.hessian))
        return tuple(part.numpy() for part in parts)

    return at


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


def assert_derivatives_follow(fit, t, *, rtol, atol=0.0):
    """Gradient, metric and third derivatives of a free energy are each the derivative of what comes before."""
    for lower, higher in ((fit.value, fit.gradient), (fit.gradient, fit.hessian), (fit.hessian, fit.third)):
        by_hand = torch.autograd.functional.jacobian(lambda x, f=lower: f(x).sum(dim=0), t).movedim(-2, 0)
        torch.testing.assert_close(by_hand, higher(t), rtol=rtol, atol=atol)


def assert_odds_agree(system, shape, point, *, samples, seed):
    """Every state of a small lattice of spins is drawn as often as its weight says."""
    states = system.sample(np.tile(point, (samples, 1)), np.arange(samples), seed).reshape(samples, -1)
    sites = states.shape[1]
    found = np.bincount((states > 0) @ (1 << np.arange(sites)[::-1]), minlength=2**sites)
    weight = system.sufficient_statistics(all_states(shape)) @ point
    expected = samples * np.exp(weight - np.logaddexp.reduce(weight))
    # Chi squared of as many degrees of freedom: 4.5 standard deviations above.
    free = 2**sites - 1
    assert ((found - expected) ** 2 / expected).sum() < free + 4.5 * np.sqrt(2 * free)


def drawn_statistics(system, box, n, seed=0):
    """Sufficient statistics of one state at each of some points of a box, and the points."""
    t = np.random.default_rng(seed).uniform(*np.array(box).T, (n, 2))
    return system.sufficient_statistics(system.sample(t, np.arange(n), seed)), t


def interior(box, count):
    """Points of a grid inside a box."""
    axes = [np.linspace(*side, count + 2)[1:-1] for side in box]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def metric_errors(fit, system, t):
    """Relative errors of the metric, and the deviations of its three entries in standard errors."""
    truth, found = system.fisher_metric(t), fit.hessian(torch.from_numpy(t)).numpy()
    relative = np.linalg.norm(found - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))
    standardised = (found - truth) / fit.hessian_error(torch.from_numpy(t)).numpy()
    return relative, standardised[:, [0, 0, 1], [0, 1, 1]]


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


def onsager_log_partition(coupling):
    """``log Z`` a site of the infinite lattice at h = 0, K > 0 (Onsager 1944), by quadrature to 1e-12."""
    k = 1 / math.sinh(2 * coupling) ** 2

    def integrand(angle):
        root = math.sqrt(max(1 + k * k - 2 * k * math.cos(2 * angle), 0.0))
        return math.log(math.cosh(2 * coupling) ** 2 + root / k)

    area, _ = quad(integrand, 0, math.pi / 2, epsabs=1e-13, epsrel=1e-13, limit=200)
    return math.log(2) / 2 + area / math.pi


def onsager_energy(coupling):
    """``E[sum_<ij> s_i s_j]`` a site of the infinite lattice at h = 0, K > 0 (Onsager 1944)."""
    k = np.asarray(coupling, dtype=np.float64)
    modulus = 2 * np.tanh(2 * k) ** 2 - 1
    # modulus K(1 - modulus^2) tends to 0 at the critical point, where the elliptic integral diverges.
    squared = np.maximum(modulus**2, 1e-300)
    return (1 + 2 / np.pi * modulus * ellipkm1(squared)) / np.tanh(2 * k)


def yang_magnetisation(coupling):
    """Spontaneous magnetisation of the infinite lattice (Yang 1952), ``(1 - sinh^-4 2K)^(1/8)``, 0 for 0 < K < Kc."""
    k = np.asarray(coupling, dtype=np.float64)
    return np.maximum(1 - np.sinh(2 * k) ** -4.0, 0) ** 0.125


def tasep_current(sites, t):
    """Particles a unit of time through each bond of the open process, ``Z_{N-1} / Z_N``."""
    return np.exp(_tasep_log_z(sites - 1, t) - _tasep_log_z(sites, t))


def tasep_density(sites, t):
    """Mean occupation of each site (Derrida et al. 1993), in O(sites^2) a point.

    With ``m = N - i`` sites right of site ``i``, ``sum_{p < m} C_p Z_{N-1-p} / Z_N`` (``C_p`` the Catalan numbers)
    plus ``Z_{i-1} / Z_N sum_{p=2..m+1} (p-1) (2m-p)! / (m! (m+1-p)!) beta^-p``.
    """
    log_z = np.stack([_tasep_log_z(k, t) for k in range(sites + 1)], axis=1)
    order = np.arange(sites)
    catalan = gammaln(2 * order + 1) - gammaln(order + 1) - gammaln(order + 2)
    terms = np.exp(catalan[: sites - 1] + log_z[:, sites - 1 : 0 : -1] - log_z[:, sites:])
    bulk = np.concatenate([np.zeros((len(t), 1)), np.cumsum(terms, axis=1)], axis=1)
    density = np.empty((len(t), sites))
    for i in range(1, sites + 1):
        m = sites - i
        # With nothing to its right a site is emptied by the exit alone: D |V> = |V> / beta.
        log_edge = -np.log(t[:, 1])
        if m:
            p = np.arange(2, m + 2)
            count = np.log(p - 1) + gammaln(2 * m - p + 1) - gammaln(m + 1) - gammaln(m + 2 - p)
            log_edge = logsumexp(count - p * np.log(t[:, 1:]), axis=1)
        density[:, i - 1] = bulk[:, m] + np.exp(log_z[:, i - 1] - log_z[:, sites] + log_edge)
    return density


def _tasep_log_z(sites, t):
    return Tasep(sites).log_partition(t) if sites else np.zeros(len(t))
