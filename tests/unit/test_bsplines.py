"""Cubic B-splines against scipy's, and what their coefficients represent exactly."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from hessgeo.numerics.bsplines import SplineAxis, SplineBasis

AXIS = SplineAxis(-1.0, 2.0, 9)
BASIS = SplineBasis((AXIS, SplineAxis(0.5, 1.5, 6)))


@pytest.mark.parametrize("derivative", [0, 1, 2, 3])
def test_basis_matches_scipy(derivative):
    x = np.linspace(-1, 2, 50)[1:-1]
    knots = AXIS.low + AXIS.spacing * np.arange(-3, AXIS.count + 1)
    expected = np.stack(
        [
            BSpline(knots, row, 3).derivative(derivative)(x) if derivative else BSpline(knots, row, 3)(x)
            for row in np.eye(9)
        ],
        axis=1,
    )
    # Rounding grows by 1 / spacing with each derivative.
    np.testing.assert_allclose(AXIS.matrix(torch.from_numpy(x), derivative).numpy(), expected, atol=1e-11)


def test_greville_coefficients_give_the_coordinate():
    x = torch.linspace(-1, 2, 17, dtype=torch.float64)
    torch.testing.assert_close(AXIS.matrix(x) @ torch.from_numpy(AXIS.greville), x)


def test_patch_evaluation_equals_the_dense_design_and_is_differentiable():
    generator = torch.Generator().manual_seed(0)
    t = torch.rand(20, 2, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 1.0]) + torch.tensor(
        [-1, 0.5]
    )
    c = torch.randn(BASIS.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(BASIS.evaluate(c, t), BASIS.matrix(t) @ c.flatten())
    t.requires_grad_(True)
    (slope,) = torch.autograd.grad(BASIS.evaluate(c, t).sum(), t)
    torch.testing.assert_close(slope[:, 1], BASIS.evaluate(c, t, (0, 1)))


def test_affine_directions_are_affine_functions():
    a, b = torch.rand(2, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t = torch.stack([3 * a - 1, b + 0.5], dim=-1)
    values = BASIS.matrix(t) @ BASIS.affine
    design = torch.cat([torch.ones(30, 1), t], dim=1)
    residual = values - design @ torch.linalg.lstsq(design, values).solution
    assert residual.abs().max() < 1e-12


def test_penalty_vanishes_on_quadratics_alone():
    eigenvalues = torch.linalg.eigvalsh(BASIS.third_difference_penalty())
    assert (eigenvalues[:6].abs() < 1e-9 * eigenvalues[-1]).all()
    assert eigenvalues[6] > 1e-6 * eigenvalues[-1]


def test_penalty_of_a_cubic_is_the_mean_square_of_its_third_derivative():
    # F = a^3 on [0, 1]^2: F_aaa = 6 everywhere, the other third derivatives vanish.
    basis = SplineBasis((SplineAxis(0, 1, 12), SplineAxis(0, 1, 9)))
    grid = torch.rand(400, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    c = torch.linalg.lstsq(basis.matrix(grid), grid[:, :1] ** 3, driver="gelsd").solution[:, 0]
    assert float(c @ basis.third_difference_penalty() @ c) == pytest.approx(36, rel=1e-6)


@pytest.mark.parametrize(("low", "high", "count"), [(0, 1, 3), (1, 1, 8), (2, 1, 8)])
def test_axes_that_cannot_be_are_refused(low, high, count):
    with pytest.raises(ValueError, match="spline"):
        SplineAxis(low, high, count)


@pytest.mark.parametrize("order", [(0, 0), (1, 0), (1, 1)])
def test_the_sparse_design_is_the_dense_one(order):
    t = np.random.default_rng(0).uniform([-1, 0.5], [2, 1.5], (40, 2))
    sparse = BASIS.design(t, order)
    assert sparse.nnz == 16 * 40
    np.testing.assert_allclose(sparse.toarray(), BASIS.matrix(torch.from_numpy(t), order), atol=1e-12)
