"""The potential of all sources together: what it is at nodes, and that its derivatives are its own."""

from functools import cache

import numpy as np
import pytest
import torch
from potentials import KnownPotential, exact_posterior

from hessgeo.free_energies.dual_solution import solve_dual
from hessgeo.free_energies.mixture_potential import MixturePotential
from hessgeo.grids import Grid

GRID = Grid(((-1.0, 1.0), (-1.0, 1.0)), (8, 8))
PLANES = torch.tensor([[0.8, -0.3], [-0.2, 0.7], [-0.6, -0.5]], dtype=torch.float64)
KINKED = KnownPotential("kinked", lambda t: torch.logsumexp(300 * t @ PLANES.T, dim=-1) / 300)
QUADRATIC = KnownPotential("quadratic", lambda t: (t**2).sum(-1) / 2 + 0.2 * t[..., 0] * t[..., 1])


@cache
def fitted(truth, grid, *, resolution):
    """The mixture of a dual fit to exact posteriors, and the point of the fit."""
    posterior, _ = exact_posterior(truth, grid, resolution=resolution)
    point = solve_dual(posterior, grid, tolerance=1e-9, max_iterations=100)[-1].point
    dual = point.problem
    values, slopes = point.phi / resolution, point.theta / resolution
    mixture = MixturePotential.of(dual.nodes, dual.log_weight, values, slopes, resolution=resolution)
    return mixture, point, posterior


def test_at_the_nodes_it_is_the_fit_but_for_the_density_of_sources():
    mixture, point, posterior = fitted(KINKED, GRID, resolution=30.0)
    expected = point.phi / 30.0 + torch.from_numpy(np.log(posterior.marginal)) / 30.0
    # As near as the columns of the fitted posteriors sum to the marginal.
    torch.testing.assert_close(mixture.value(point.problem.nodes), expected, atol=1e-6, rtol=0)


def test_its_derivatives_are_its_own_and_it_is_convex_everywhere():
    mixture, _, _ = fitted(KINKED, GRID, resolution=30.0)
    t = torch.from_numpy(np.random.default_rng(0).uniform(-1.2, 1.2, (40, 2)))
    torch.testing.assert_close(mixture.gradient(t), torch.vmap(torch.func.grad(mixture.value))(t))
    torch.testing.assert_close(mixture.hessian(t), torch.vmap(torch.func.hessian(mixture.value))(t))
    fine = torch.from_numpy(Grid(GRID.extent, (29, 29)).points)
    assert (torch.linalg.eigvalsh(mixture.hessian(fine))[:, 0] > 0).all()


def test_points_by_blocks_are_the_points(monkeypatch):
    mixture, _, _ = fitted(KINKED, GRID, resolution=30.0)
    t = torch.from_numpy(GRID.points).reshape(8, 8, 2)
    whole = mixture.hessian(t)
    monkeypatch.setattr("hessgeo.free_energies.mixture_potential._BLOCK", 300)
    torch.testing.assert_close(mixture.hessian(t), whole, rtol=1e-12, atol=1e-12)


def test_of_a_quadratic_it_is_right_away_from_the_edge():
    grid = Grid(GRID.extent, (14, 14))
    mixture, _, _ = fitted(QUADRATIC, grid, resolution=40.0)
    truth = torch.tensor([[1.0, 0.2], [0.2, 1.0]], dtype=torch.float64)
    t = torch.from_numpy(grid.points)
    off = (mixture.hessian(t) - truth).abs().amax(dim=(1, 2))
    depth = 1 - t.abs().amax(dim=1)  # of the box, in which a posterior is .16 wide
    # Four widths from an edge a Gaussian lacks a hundredth of its second derivative at most.
    assert float(off[depth > 0.6].max()) < 0.01
    assert float(off[depth < 0.05].max()) == pytest.approx(
        0.6, abs=0.15
    )  # 2 / pi of a half Gaussian's is missing
