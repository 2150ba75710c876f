"""The dual problem finds potentials of exponential families exactly, kinks included."""

import numpy as np
import pytest
import torch
from potentials import KnownPotential, exact_posterior, largest_errors, planes

from hessgeo.free_energies.dual_solution import solve_dual
from hessgeo.grids import Grid, parameter_points
from hessgeo.posteriors.base import Posterior, row_moments

BOX = ((-1.0, 1.0), (-1.0, 1.0))


def solved(posterior: Posterior, grid: Grid):
    return solve_dual(posterior, grid, tolerance=1e-9, max_iterations=100)[-1]


@pytest.mark.parametrize(
    ("sharpness", "resolution", "nodes"),
    [
        (3, 30, 24),
        (3, 300, 24),
        (10, 100, 20),
        (300, 30, 24),
        pytest.param(300, 300, 24, marks=pytest.mark.slow),
    ],
)
def test_values_and_slopes_at_the_nodes_are_exact_however_sharp(sharpness, resolution, nodes):
    potential, grid = planes(5, sharpness), Grid(BOX, (nodes, nodes))
    posterior, _ = exact_posterior(potential, grid, resolution=resolution)
    solution = solved(posterior, grid)
    assert solution.minimum.converged
    values, slopes = (solution.point.phi / resolution).numpy(), (solution.point.theta / resolution).numpy()
    value, gradient = largest_errors(values, slopes / np.array(grid.frame.half), potential, grid.points)
    assert value < 1e-4
    assert gradient < 1e-3


def test_one_parameter():
    potential = KnownPotential(
        "kink", lambda t: torch.logsumexp(torch.stack([80 * t[..., 0], -40 * t[..., 0]]), 0) / 80
    )
    grid = Grid(((-1.0, 1.0),), (48,))
    t = torch.from_numpy(grid.points)
    slope = torch.func.vmap(torch.func.grad(potential.formula))(t)
    p = torch.softmax(60.0 * (slope @ t.T - potential.value(t)), dim=1).numpy()
    mean, central = row_moments(p, grid.points)
    posterior = Posterior(
        grid.points, mean, central, p.sum(0), np.zeros(48), np.zeros(48), 60.0, "matrix", False
    )
    solution = solved(posterior, grid)
    u = np.column_stack([np.ones(48), grid.points])
    off = (solution.point.phi / 60).numpy() - potential.value(t).numpy()
    off -= u @ np.linalg.lstsq(u, off)[0]
    assert np.abs(off).max() < 1e-6


def test_neither_units_nor_offsets_matter():
    potential, grid = planes(3, 20.0), Grid(BOX, (14, 14))
    posterior, p = exact_posterior(potential, grid, resolution=40.0)
    moved = Grid(((1e6 - 1e-3, 1e6 + 1e-3), (-7e3, -5e3)), (14, 14))
    mean, central = row_moments(p, moved.points)
    other = Posterior(
        moved.points,
        mean,
        central,
        p.sum(0),
        posterior.entropy,
        posterior.log_normaliser,
        40.0,
        "matrix",
        False,
    )
    first, second = solved(posterior, grid).point, solved(other, moved).point
    torch.testing.assert_close(first.phi, second.phi, rtol=1e-6, atol=1e-6 * float(first.phi.abs().max()))
    torch.testing.assert_close(
        first.theta, second.theta, rtol=1e-6, atol=1e-6 * float(first.theta.abs().max())
    )


@pytest.mark.parametrize("scattered", [False, True])
def test_rows_and_columns_have_the_means_and_sums_that_were_asked_for(scattered):
    # Any posterior has a dual, also one of no potential: here rows drawn at random.
    rng, grid = np.random.default_rng(3), Grid(BOX, (12, 12))
    t = parameter_points("sobol", grid, 200, 1) if scattered else grid.points
    rows = rng.dirichlet(np.full(len(t), 0.3), size=len(t))
    mean, central = row_moments(rows, t)
    zero = np.zeros(len(t))
    posterior = Posterior(t, mean, central, rows.sum(0), zero, zero, 10.0, "matrix", False)
    point = solved(posterior, grid).point
    assert float((point.mean - point.problem.mean).abs().max()) < 1e-5
    assert float((point.columns - point.problem.marginal).abs().max()) < 1e-4


def test_newtons_matrix_is_the_second_derivative_of_the_loss():
    potential, grid = planes(3, 5.0), Grid(BOX, (6, 6))
    posterior, _ = exact_posterior(potential, grid, resolution=10.0)
    point = solve_dual(posterior, grid, tolerance=1e3, max_iterations=2)[-1].point
    problem = point.problem

    def loss(flat: torch.Tensor) -> torch.Tensor:
        phi, theta = flat[:36], flat[36:].reshape(-1, 2)
        logit = problem.log_weight - phi + theta @ problem.nodes.T
        rest = problem.marginal @ phi - (theta * problem.mean).sum()
        return (
            torch.logsumexp(logit, 1).sum()
            + rest
            + problem.ridge / 2 * ((theta - problem.reference) ** 2).sum()
        )

    here = torch.cat([point.phi, point.theta.flatten()])
    whole, slope = torch.func.hessian(loss)(here), torch.func.grad(loss)(here)
    gauge = torch.cat([problem.gauge, torch.zeros(72, 3, dtype=torch.float64)])
    step = -torch.linalg.solve(whole + gauge @ gauge.T, slope - gauge @ (gauge.T @ slope))
    (phi, theta), decrement = point.newton()
    assert decrement == pytest.approx(-0.5 * float(slope @ step), rel=0.02)
    found = torch.cat([phi, theta.flatten()])
    off = found - step
    assert float(off @ whole @ off) < 0.01 * float(step @ whole @ step)
