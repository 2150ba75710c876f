"""The nearest log-partition function: convex by its form, near at kinks, exact derivatives, in any units."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from truths import assert_derivatives_follow, soft_planes

from hessgeo.free_energies.log_partition import nearest_log_partition
from hessgeo.free_energies.potential import nearest_potential
from hessgeo.grids import Grid
from hessgeo.numerics.mixture_weights import mixture_weights

SQUARE = ((-1.0, 1.0), (-1.0, 1.0))


def fitted(potential, nodes, resolution, **options):
    grid = Grid(SQUARE, (nodes, nodes))
    value, gradient, _ = potential(grid.points)
    return nearest_log_partition(
        grid, value.reshape(grid.shape), grid.points, gradient, resolution=resolution, **options
    )


def test_the_weights_are_those_of_a_solver_of_convex_problems():
    generator = np.random.default_rng(0)
    kernel, mass = generator.uniform(size=(12, 5)) ** 3, generator.uniform(0.5, 1, 12)
    found = mixture_weights(csr_matrix(kernel), mass, tolerance=1e-9, max_iterations=5000)

    def loss(x):
        y = kernel @ x
        return mass @ (y - np.log(y)), kernel.T @ (mass * (1 - 1 / y))

    other = minimize(loss, np.ones(5), jac=True, bounds=[(1e-12, None)] * 5, tol=1e-14)
    assert found.converged
    assert loss(found.weights)[0] == pytest.approx(other.fun, abs=1e-8)
    # The gap bounds what is left, also where it is much.
    rough = mixture_weights(csr_matrix(kernel), mass, tolerance=0.0, max_iterations=3)
    assert not rough.converged
    assert 0 < loss(rough.weights)[0] - other.fun < rough.gap


@pytest.mark.parametrize("sharpness", [10.0, 300.0])
def test_it_follows_kinks_that_no_convex_spline_follows(sharpness):
    potential, grid = soft_planes(sharpness), Grid(SQUARE, (16, 16))
    found = fitted(potential, 16, 300.0 if sharpness > 100 else 50.0)
    value, gradient, _ = potential(grid.points)
    t = torch.from_numpy(grid.points)
    assert np.abs(found.value(t).numpy() - value).max() < 5e-4 * np.ptp(value)
    assert found.certificate["value_error"] < 2e-4
    assert found.certificate["slope_error"] < 5e-3
    points = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (2000, 2)))
    assert float(torch.linalg.eigvalsh(found.hessian(points))[:, 0].min()) > 0
    assert found.certificate["definite_share"] == 1.0
    # A convex spline misses the same by far more, which is why there is this.
    small = Grid(SQUARE, (10, 10))
    value, gradient, _ = potential(small.points)
    spline = nearest_potential(small, value.reshape(10, 10), small.points, gradient, parts=1)
    assert spline.certificate["value_error"] > 20 * found.certificate["value_error"]


def test_of_a_family_that_it_resolves_the_metric_is_right_between_the_nodes():
    potential = soft_planes(3.0)
    errors = []
    points = np.random.default_rng(2).uniform(-1, 1, (300, 2))
    hessian = potential(points)[2]
    # Posteriors one cell wide: N grows as the number of nodes.
    for nodes, resolution in ((8, 12.0), (16, 50.0)):
        found = fitted(potential, nodes, resolution).hessian(torch.from_numpy(points)).numpy()
        errors.append(
            np.median(np.linalg.norm(found - hessian, axis=(1, 2)) / np.linalg.norm(hessian, axis=(1, 2)))
        )
    assert errors[1] < 0.02
    assert errors[0] / errors[1] > 1.5


def test_derivatives_are_those_of_the_value():
    found = fitted(soft_planes(6.0), 7, 20.0, max_iterations=60)
    t = torch.tensor([[0.31, -0.2], [-0.77, 0.9]], dtype=torch.float64)
    assert_derivatives_follow(found, t, rtol=1e-8, atol=1e-10)


def test_units_and_offsets_change_nothing():
    potential, scale, offset = soft_planes(5.0), np.array([1e-8, 1e3]), np.array([0.3, -1e5])
    u = Grid(SQUARE, (9, 9)).points
    value, gradient, _ = potential(u)
    plain = fitted(potential, 9, 40.0, max_iterations=100)
    grid = Grid(tuple((o - s, o + s) for s, o in zip(scale, offset, strict=True)), (9, 9))
    found = nearest_log_partition(
        grid,
        5 + 7 * value.reshape(9, 9),
        grid.points,
        7 * gradient / scale,
        resolution=40.0 / 7,
        max_iterations=100,
    )
    want, got = torch.from_numpy(u), torch.from_numpy(grid.points)
    assert (found.value(got).numpy() - 5) / 7 == pytest.approx(plain.value(want).numpy(), abs=1e-6)
    metric = plain.hessian(want).numpy()
    assert found.hessian(got).numpy() * np.outer(scale, scale) / 7 == pytest.approx(
        metric, abs=1e-4 * metric.max()
    )


def test_scattered_sources_empty_nodes_and_one_parameter():
    potential, grid = soft_planes(3.0), Grid(SQUARE, (10, 10))
    t = np.random.default_rng(3).uniform(-1, 1, (500, 2))
    value = potential(grid.points)[0].reshape(10, 10)
    mass = np.ones((10, 10))
    mass[4, 4:6] = 0
    given = np.where(mass > 0, value, np.nan)
    found = nearest_log_partition(grid, given, t, potential(t)[1], resolution=20.0, mass=mass)
    assert np.abs(found.value(torch.from_numpy(grid.points)).numpy() - value.ravel()).max() < 3e-3 * np.ptp(
        value
    )
    line = Grid(((0.0, 2.0),), (21,))
    x = line.points
    found = nearest_log_partition(line, np.cosh(x[:, 0]), x, np.sinh(x), resolution=30.0)
    inside = torch.linspace(0.2, 1.8, 50, dtype=torch.float64)[:, None]
    assert found.hessian(inside)[:, 0, 0].numpy() == pytest.approx(np.cosh(inside[:, 0].numpy()), rel=0.02)


def test_values_of_no_convex_function_get_the_nearest_that_is():
    grid = Grid(SQUARE, (9, 9))
    value = np.cos(3 * grid.points[:, 0]) + grid.points[:, 1] ** 2
    slopes = np.stack([-3 * np.sin(3 * grid.points[:, 0]), 2 * grid.points[:, 1]], axis=1)
    found = nearest_log_partition(grid, value.reshape(9, 9), grid.points, slopes, resolution=5.0)
    points = torch.from_numpy(np.random.default_rng(4).uniform(-1, 1, (500, 2)))
    assert float(torch.linalg.eigvalsh(found.hessian(points)).min()) > 0
    assert found.certificate["value_error"] > 0.05  # and says how far it is
