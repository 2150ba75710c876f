"""The dual fit as a free energy: exact at the nodes, positive definite between them, bars that hold the truth."""

import numpy as np
import pytest
import scipy.special
import torch
from potentials import (
    POTENTIALS,
    KnownPotential,
    covered,
    exact_posterior,
    planes,
    posterior_of_matrix,
    worst,
)

from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.free_energies.cell_mean import CellMean
from hessgeo.free_energies.dual import fit_dual
from hessgeo.free_energies.log_partition import LogPartition
from hessgeo.grids import Grid, parameter_points
from hessgeo.posteriors import posterior
from hessgeo.posteriors.base import Posterior, row_moments

BOX = ((-1.0, 1.0), (-1.0, 1.0))


def least_eigenvalue(fit, grid):
    """On a grid four times as fine."""
    fine = Grid(grid.extent, tuple(4 * (nodes - 1) + 1 for nodes in grid.shape))
    return float(torch.linalg.eigvalsh(fit.hessian(torch.from_numpy(fine.points)))[:, 0].min())


@pytest.mark.parametrize(("sharpness", "resolution"), [(3, 30.0), (10, 100.0), (300, 30.0)])
def test_exact_at_the_nodes_and_positive_definite_between_them(sharpness, resolution):
    truth, grid = planes(5, sharpness), Grid(BOX, (24, 24))
    fit = fit_dual(exact_posterior(truth, grid, resolution=resolution)[0], grid)
    value, slope = worst(fit, truth, grid.points)
    assert value < 1e-4
    assert slope < 1e-3
    assert least_eigenvalue(fit, grid) > 0
    assert fit.certificate["definite_everywhere"]
    assert fit.certificate["converged"]
    assert fit.certificate["resolved"]
    assert fit.certificate["mean_divergence"] < 1e-4
    assert covered(fit, truth, grid) > 0.9


@pytest.mark.parametrize("name", ["quadratic", "beta_family", "curie_weiss", "three_phases_soft"])
def test_smooth_potentials(name):
    truth, grid = POTENTIALS[name], Grid(BOX, (24, 24))
    fit = fit_dual(exact_posterior(truth, grid, resolution=20.0)[0], grid)
    value, slope = worst(fit, truth, grid.points)
    assert value < 1e-4
    assert slope < 1e-3
    t = torch.from_numpy(grid.points)
    g = truth.hessian(t)
    relative = (fit.hessian(t) - g).norm(dim=(1, 2)) / g.norm(dim=(1, 2))
    assert float(relative.median()) < 0.02
    assert covered(fit, truth, grid) > 0.9


@pytest.mark.parametrize("draws", [5, 50])
def test_bars_hold_the_noise_of_posteriors_that_are_drawn(draws):
    truth, grid, generator = POTENTIALS["three_phases_soft"], Grid(BOX, (16, 16)), np.random.default_rng(5)
    _, p = exact_posterior(truth, grid, resolution=20.0)
    shares, errors_of_metric = [], []
    t = torch.from_numpy(grid.points)
    for _ in range(3):
        counts = generator.multinomial(draws, p / p.sum(axis=1, keepdims=True))
        fit = fit_dual(posterior_of_matrix(counts / draws, grid, resolution=20.0), grid)
        assert fit.certificate["noise"] == pytest.approx(1 / draws, rel=0.5)
        shares.append(covered(fit, truth, grid))
        g = truth.hessian(t)
        relative = (fit.hessian(t) - g).norm(dim=(1, 2)) / g.norm(dim=(1, 2))
        errors_of_metric.append(float(relative[t.abs().amax(dim=1) < 0.8].median()))
        assert least_eigenvalue(fit, grid) > 0
    assert 0.9 < np.mean(shares) <= 1.0
    assert np.mean(errors_of_metric) < (0.5 if draws == 5 else 0.15)


def test_scattered_samples_are_nodes_themselves_and_errors_fall_with_their_number():
    truth, grid = planes(3, 4.0), Grid(BOX, (20, 20))
    found = []
    for count in (32, 256):
        t = parameter_points("sobol", grid, count, 0)
        points = torch.from_numpy(t)
        logits = 30.0 * (truth.gradient(points) @ points.T - truth.value(points))
        p = torch.softmax(logits, dim=1).numpy()
        mean, central = row_moments(p, t)
        zero, entropy = np.zeros(count), scipy.special.entr(p).sum(axis=1)
        fit = fit_dual(Posterior(t, mean, central, p.sum(0), entropy, zero, 30.0, "matrix", False), grid)
        u = torch.from_numpy(grid.points)[(np.abs(grid.points) < 0.8).all(axis=1)]
        g = truth.hessian(u)
        found.append(float(((fit.hessian(u) - g).norm(dim=(1, 2)) / g.norm(dim=(1, 2))).median()))
        # The slopes themselves are exact, up to one affine function.
        off = fit.slopes - truth.gradient(points).numpy()
        assert np.abs(off - off.mean(axis=0)).max() < 1e-3
    assert found[1] < 0.5 * found[0]
    assert found[1] < 0.01


def test_derivatives_of_the_potential_and_one_parameter():
    grid = Grid(((2.0, 6.0),), (40,))
    fit = fit_dual(posterior(grid.points, grid.points, resolution=8.0), grid)
    t = torch.linspace(2.1, 5.9, 50, dtype=torch.float64)[:, None]
    torch.testing.assert_close(fit.hessian(t), torch.ones(50, 1, 1, dtype=torch.float64), rtol=0, atol=1e-3)
    assert fit.hessian_error(t).shape == (50, 1, 1)
    off = fit.gradient(t)[:, 0] - t[:, 0]
    assert float((off - off.mean()).abs().max()) < 1e-3


def test_neither_units_nor_offsets_matter():
    grid, moved = Grid(BOX, (12, 12)), Grid(((1e6 - 1e-3, 1e6 + 1e-3), (-7e3, -5e3)), (12, 12))
    posterior_, p = exact_posterior(POTENTIALS["three_phases_soft"], grid, resolution=20.0)
    mean, central = row_moments(p, moved.points)
    other = Posterior(
        moved.points,
        mean,
        central,
        p.sum(0),
        posterior_.entropy,
        posterior_.log_normaliser,
        20.0,
        "matrix",
        False,
    )
    first, second = fit_dual(posterior_, grid), fit_dual(other, moved)
    scale = torch.tensor(np.outer(moved.frame.half, moved.frame.half))
    t, s = torch.from_numpy(grid.points), torch.from_numpy(moved.points)
    g = first.hessian(t)
    torch.testing.assert_close(second.hessian(s) * scale, g, rtol=1e-6, atol=1e-6 * float(g.abs().max()))
    bars = first.hessian_error(t)
    torch.testing.assert_close(
        second.hessian_error(s) * scale, bars, rtol=1e-3, atol=1e-6 * float(g.abs().max())
    )


def test_the_pull_back_of_errors_is_that_of_their_entries():
    grid = Grid(BOX, (12, 12))
    fit = fit_dual(exact_posterior(POTENTIALS["quadratic"], grid, resolution=20.0)[0], grid)
    t = torch.tensor([[0.2, -0.4]], dtype=torch.float64)
    stretch = torch.diag(torch.tensor([2.0, 3.0], dtype=torch.float64))[None]
    plain, stretched = fit.hessian_error(t), fit.hessian_error(t, stretch)
    torch.testing.assert_close(stretched, plain * torch.tensor([[4.0, 6.0], [6.0, 9.0]], dtype=torch.float64))


def test_blocks_change_nothing(monkeypatch):
    grid = Grid(BOX, (12, 12))
    data = exact_posterior(POTENTIALS["curie_weiss"], grid, resolution=10.0)[0]
    whole = fit_dual(data, grid)
    monkeypatch.setattr("hessgeo.free_energies.dual_problem._BLOCK_ENTRIES", 7 * grid.size)
    t = torch.from_numpy(grid.points)
    g = whole.hessian(t)
    torch.testing.assert_close(
        fit_dual(data, grid).hessian(t), g, rtol=1e-6, atol=1e-7 * float(g.abs().max())
    )


def test_what_tells_no_slope_is_refused_in_one_line():
    grid = Grid(BOX, (24, 24))
    with pytest.raises(ValueError, match="one node or one line") as refused:
        fit_dual(posterior(grid.points, grid.points, resolution=1e6), grid)
    assert "\n" not in str(refused.value)
    thin = Grid(BOX, (2, 64))
    with pytest.raises(ValueError, match=r"\(2, 64\)"):
        fit_dual(posterior(thin.points, thin.points, resolution=5.0), thin)


def test_a_sharp_potential_is_kept_with_its_states():
    truth, grid = planes(5, 10.0), Grid(((0.0, 4.0), (-3.0, 5.0)), (20, 20))
    shifted = KnownPotential(
        "shifted", lambda t: truth.formula((t - torch.tensor([2.0, 1.0])) / torch.tensor([2.0, 4.0]))
    )
    fit = fit_dual(exact_posterior(shifted, grid, resolution=100.0)[0], grid)
    assert fit.certificate["potential"] == "log-partition"
    kept = free_energy_dataset(fit, grid, attributes={})
    again = CellMean(
        LogPartition.of_fields(grid.frame, {name: kept[name].to_numpy() for name in kept}), grid.spacing
    )
    t = torch.from_numpy(grid.points[::7])
    for name in ("value", "gradient", "hessian", "third"):
        assert torch.equal(getattr(again, name)(t), getattr(fit.potential, name)(t))
    # Its derivatives are those of its value.
    for point in t[5:8]:
        slope = torch.func.grad(lambda u: again.value(u[None])[0])(point)
        torch.testing.assert_close(slope, again.gradient(point))
        bent = torch.func.hessian(lambda u: again.value(u[None])[0])(point)
        torch.testing.assert_close(bent, again.hessian(point), rtol=1e-6, atol=1e-9)
