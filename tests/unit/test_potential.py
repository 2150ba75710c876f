"""The nearest convex potential: positive definite at every point, nearest by an independent solver, in any units."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from truths import assert_derivatives_follow, soft_planes

from hessgeo.free_energies.potential import nearest_potential
from hessgeo.grids import Grid
from hessgeo.numerics.banded import band, solve
from hessgeo.numerics.bsplines import SplineBasis
from hessgeo.numerics.convex_splines import (
    HessianControl,
    barrier_derivatives,
    least_eigenvalue,
    log_barrier,
)

SQUARE = ((-1.0, 1.0), (-1.0, 1.0))


def fitted(potential, nodes, extent=SQUARE, **options):
    """The nearest potential to exact values and slopes at the nodes."""
    grid = Grid(extent, (nodes, nodes))
    value, gradient, _ = potential(grid.points)
    return grid, nearest_potential(grid, value.reshape(grid.shape), grid.points, gradient, **options)


def at(found, points):
    """Value, gradient and Hessian of a potential at points, in numpy."""
    t = torch.from_numpy(points)
    return found.value(t).numpy(), found.gradient(t).numpy(), found.hessian(t).numpy()


def test_the_band_solves_what_the_dense_matrix_does():
    generator = np.random.default_rng(1)
    rows = np.zeros((40, 12))
    for row, start in enumerate(generator.integers(0, 9, 40)):
        rows[row, start : start + 4] = generator.normal(size=4)
    matrix = rows.T @ rows + 0.1 * np.eye(12)
    right = generator.normal(size=12)
    assert solve(band(csr_matrix(matrix), 3), right) == pytest.approx(
        np.linalg.solve(matrix, right), rel=1e-10
    )
    with pytest.raises(ValueError, match="band width 3 does not fit into 2 diagonals"):
        band(csr_matrix(matrix), 2)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_hessian_is_a_mean_of_its_control_matrices(parts):
    basis = SplineBasis.over(((-1.0, 1.0), (-2.0, 1.0)), (5, 6))
    c = np.random.default_rng(2).normal(size=basis.size)
    # Cell (1, 2), and in it a part and a place in the part.
    part, place = np.array([parts - 1, 0]), np.array([0.3, 0.8])
    steps = np.array([basis.a.spacing, basis.b.spacing])
    t = np.array([[-1.0, -2.0]]) + steps * (np.array([1, 2]) + (part + place) / parts)
    weights = [np.array([(1 - x) ** 3, 3 * x * (1 - x) ** 2, 3 * x**2 * (1 - x), x**3]) for x in place]
    matrices = HessianControl(basis, parts).at(c)[1 * 3 + 2].reshape(parts, 4, parts, 4, 3)
    mean = np.einsum("k,l,klp->p", *weights, matrices[part[0], :, part[1]])
    direct = [(basis.design(t, order) @ c)[0] for order in ((2, 0), (1, 1), (0, 2))]
    assert mean == pytest.approx(direct, rel=1e-9)


def test_the_barrier_has_the_derivatives_it_says():
    basis = SplineBasis.over(SQUARE, (5, 5))
    control = HessianControl(basis)
    bowl = (
        basis.a.greville[:, None] ** 2 + basis.b.greville**2 + 0.3 * np.outer(*[basis.a.greville] * 2)
    ).ravel()
    c = bowl + 0.01 * np.random.default_rng(3).normal(size=basis.size)
    first, second = barrier_derivatives(control.at(c))
    slope, curvature = control.pull_back(first), control.curvature(second)
    step = np.random.default_rng(4).normal(size=basis.size)
    full = np.zeros((basis.size, basis.size))
    for k, diagonal in enumerate(curvature):
        full += np.diag(diagonal[: basis.size - k], -k) + (np.diag(diagonal[: basis.size - k], k) if k else 0)
    h = 1e-6
    ahead, behind = c + h * step, c - h * step
    measured = (log_barrier(control.at(ahead)) - log_barrier(control.at(behind))) / (2 * h)
    assert measured == pytest.approx(slope @ step, rel=1e-7)
    slopes = [control.pull_back(barrier_derivatives(control.at(x))[0]) for x in (ahead, behind)]
    assert (slopes[0] - slopes[1]) @ step / (2 * h) == pytest.approx(step @ full @ step, rel=1e-6)


def test_a_smooth_potential_comes_back():
    potential = soft_planes(3.0)
    _, found = fitted(potential, 20)
    points = np.random.default_rng(5).uniform(-1, 1, (500, 2))
    value, gradient, hessian = potential(points)
    got = at(found, points)
    assert np.abs(got[0] - value).max() < 1e-5 * np.ptp(value)
    assert np.abs(got[1] - gradient).max() < 1e-3 * np.ptp(gradient)
    assert (
        np.linalg.norm(got[2] - hessian, axis=(1, 2)).max()
        < 0.02 * np.linalg.norm(hessian, axis=(1, 2)).max()
    )
    assert found.certificate["converged"]
    assert found.certificate["definite_everywhere"]


def test_the_error_falls_with_the_nodes_as_that_of_cubic_splines():
    potential = soft_planes(2.0)
    points = np.random.default_rng(6).uniform(-0.7, 0.7, (300, 2))
    value = potential(points)[0]
    errors = [np.abs(at(fitted(potential, nodes)[1], points)[0] - value).max() for nodes in (9, 17)]
    # Fourth order: sixteen times less at half the spacing.
    assert errors[0] / errors[1] > 10


def test_derivatives_are_those_of_the_value():
    _, found = fitted(soft_planes(6.0), 9, extent=((2.0, 3.0), (-10.0, 10.0)))
    t = torch.tensor([[2.31, -4.2], [2.77, 3.3]], dtype=torch.float64)
    assert_derivatives_follow(found, t, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("sharpness", [10.0, 300.0])
def test_a_kink_leaves_it_positive_definite_everywhere(sharpness):
    _, found = fitted(soft_planes(sharpness), 10)
    points = np.random.default_rng(7).uniform(-1, 1, (20_000, 2))
    least = np.linalg.eigvalsh(at(found, points)[2])[:, 0]
    assert least.min() > 0
    assert found.certificate["definite_share"] == 1.0
    assert found.certificate["eigenvalue_bound"] > 0
    _, free = fitted(soft_planes(sharpness), 10, convex=False)
    assert np.linalg.eigvalsh(at(free, points)[2])[:, 0].min() < 0  # what the constraint is for
    # No spline follows a kink within its cell, and the certificate says how far it is missed.
    assert free.certificate["value_error"] < found.certificate["value_error"] < 0.02


def test_the_nearest_convex_function_of_one_parameter_is_that_of_least_squares():
    grid = Grid(((-1.0, 1.0),), (14,))
    x = grid.points[:, 0]
    value, slope = np.cos(4 * x), -4 * np.sin(4 * x)
    found = nearest_potential(grid, value, grid.points, slope[:, None])
    # A cubic spline is its second derivative at the knots, non-negative here, and an affine function.
    basis = SplineBasis.over(grid.extent, (16,))
    second = basis.design(grid.points, (2,)).toarray()
    affine = np.stack([np.ones(16), basis.a.greville], axis=1)
    bends = np.linalg.lstsq(second, np.eye(14))[0]
    to_c = np.concatenate([bends, affine, -affine], axis=1)
    h = grid.spacing[0]
    rows = np.concatenate(
        [basis.design(grid.points, (0,)).toarray(), h * basis.design(grid.points, (1,)).toarray()]
    )
    right = np.concatenate([value, h * slope])
    best, residual = nnls(rows @ to_c, right)
    got = np.concatenate(at(found, grid.points)[:2], axis=None) * np.repeat([1.0, h], 14)
    assert np.linalg.norm(got - right) == pytest.approx(residual, rel=2e-3)
    assert got == pytest.approx(rows @ to_c @ best, abs=0.01)
    assert found.certificate["definite_everywhere"]
    assert not (slope[1:] >= slope[:-1]).all()


def test_of_a_concave_function_the_nearest_convex_one_is_affine():
    grid = Grid(SQUARE, (9, 9))
    value = 0.5 * grid.points[:, 0] - (grid.points**2).sum(axis=1)
    slopes = np.array([0.5, 0.0]) - 2 * grid.points
    found = nearest_potential(grid, value.reshape(9, 9), grid.points, slopes)
    # By symmetry: of x^2 + y^2 its mean is left.
    flat = 0.5 * grid.points[:, 0] - (grid.points**2).sum(axis=1).mean()
    assert at(found, grid.points)[0] == pytest.approx(flat, abs=2e-3)


@pytest.mark.parametrize(
    ("scale", "offset"), [((1.0, 1e6), (0.0, 0.0)), ((1e-10, 1e-10), (0.3, 0.3)), ((1.0, 1.0), (1e6, -1e6))]
)
def test_units_and_offsets_change_nothing(scale, offset):
    potential, scale, offset = soft_planes(10.0), np.array(scale), np.array(offset)
    _, plain = fitted(potential, 7)
    extent = tuple((o - s, o + s) for s, o in zip(scale, offset, strict=True))
    grid = Grid(extent, (7, 7))
    u = Grid(SQUARE, (7, 7)).points
    value, gradient, _ = potential(u)
    found = nearest_potential(grid, 1e3 + 7 * value.reshape(7, 7), grid.points, 7 * gradient / scale)
    want, got = at(plain, u), at(found, grid.points)
    # Points of a narrow window are known to about 1e-6 of its width.
    assert (got[0] - 1e3) / 7 == pytest.approx(want[0], abs=1e-5)
    assert got[1] * scale / 7 == pytest.approx(want[1], abs=1e-4)
    assert got[2] * np.outer(scale, scale) / 7 == pytest.approx(want[2], abs=1e-3 * np.abs(want[2]).max())


def test_sources_may_lie_anywhere_and_nodes_may_be_empty():
    potential, grid = soft_planes(1.5), Grid(SQUARE, (12, 12))
    t = np.random.default_rng(8).uniform(-1, 1, (400, 2))
    value = potential(grid.points)[0].reshape(12, 12)
    mass = np.ones((12, 12))
    mass[4:6, 7] = 0
    given = np.where(mass > 0, value, np.nan)
    found = nearest_potential(grid, given, t, potential(t)[1], mass=mass)
    assert np.abs(at(found, grid.points)[0] - value.ravel()).max() < 1e-4 * np.ptp(value)
    # Weights of rank one, as of posteriors on a line, are weights too.
    weights = np.broadcast_to(np.array([[0.01, 0.0], [0.0, 0.0]]), (400, 2, 2))
    found = nearest_potential(grid, given, t, potential(t)[1], weights, mass=mass, convex=False)
    assert np.abs(at(found, grid.points)[0] - value.ravel()).max() < 1e-3 * np.ptp(value)


def test_what_does_not_belong_together_is_refused():
    grid = Grid(SQUARE, (5, 5))
    value, slopes = np.ones((5, 5)), np.zeros((25, 2))
    with pytest.raises(ValueError, match="must have the shape"):
        nearest_potential(grid, np.ones((4, 5)), grid.points, slopes)
    with pytest.raises(ValueError, match="not finite"):
        nearest_potential(grid, value, grid.points, slopes * np.nan)
    with pytest.raises(ValueError, match="outside the box"):
        nearest_potential(grid, value, grid.points + 1, slopes)
    with pytest.raises(ValueError, match="must have shapes"):
        nearest_potential(grid, value, grid.points, slopes[:, :1])


def test_the_least_eigenvalue_keeps_its_digits():
    parts = np.array([[1.0, 1.0, 1.0 + 1e-9], [3.0, 0.0, -2.0], [5.0, 1.0, 2.0]])
    matrices = np.stack([parts[:, [0, 1]], parts[:, [1, 2]]], axis=1)
    assert least_eigenvalue(parts)[1:] == pytest.approx(np.linalg.eigvalsh(matrices)[1:, 0])
    assert least_eigenvalue(parts)[0] == pytest.approx(0.5e-9, rel=1e-6)
