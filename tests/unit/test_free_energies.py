"""Known potentials, the gauge, and the paper's perceptron."""

import numpy as np
import pytest
import torch
from potentials import POTENTIALS, KnownPotential, exact_posterior

from hessgeo.evaluation.gauge import compare, remove_affine_part
from hessgeo.free_energies.mlp import fit_mlp, jensen_shannon
from hessgeo.grids import Grid

GRID = Grid(((-1.0, 1.0), (-1.0, 1.0)), (12, 12))


@pytest.mark.parametrize("name", POTENTIALS)
def test_known_potentials_are_convex(name):
    t = torch.from_numpy(Grid(GRID.extent, (13, 11)).points)
    hessian = POTENTIALS[name].hessian(t)
    smallest = torch.linalg.eigvalsh(hessian)[:, 0]
    # Kinked potentials are affine in places: zero but for rounding.
    assert (smallest > -1e-10).all()


def test_curie_weiss_has_the_moments_of_its_spins():
    # dF/dK = <M^2> / 2 n^2 and dF/dh = <M> / n, by the sum over 2^n states written as one over magnetisations.
    from scipy.special import comb

    coupling, field, n = 1.3, 0.2, 24
    m = np.arange(-n, n + 1, 2)
    weight = comb(n, (n + m) // 2) * np.exp(coupling * m**2 / (2 * n) + field * m)
    t = torch.tensor([coupling - 1, 2 * field], dtype=torch.float64)
    expected = [
        (weight * m**2).sum() / weight.sum() / (2 * n**2),
        0.5 * (weight * m).sum() / weight.sum() / n,
    ]
    np.testing.assert_allclose(POTENTIALS["curie_weiss"].gradient(t[None])[0], expected, rtol=1e-10)


def test_exact_posterior_is_the_bregman_posterior():
    truth = POTENTIALS["log_cosh"]
    posterior, p = exact_posterior(truth, GRID, resolution=7.0)
    t = torch.from_numpy(GRID.points)
    f, slope = truth.value(t).numpy(), truth.gradient(t).numpy()
    divergence = (
        f[None] - f[:, None] - np.einsum("ik,igk->ig", slope, GRID.points[None] - GRID.points[:, None])
    )
    expected = np.exp(-7 * divergence)
    np.testing.assert_allclose(p, expected / expected.sum(1, keepdims=True), atol=1e-14)
    assert posterior.marginal.sum() == pytest.approx(GRID.size)
    assert (divergence >= -1e-12).all()


def test_comparison_is_blind_to_the_gauge_and_to_the_scale_if_asked():
    truth = POTENTIALS["three_phases_soft"]
    shifted = KnownPotential("shifted", lambda t: 2 * truth.value(t) + 3 - t[..., 0] + 0.2 * t[..., 1])
    free = compare(shifted, truth, GRID.points, scale=True)
    assert free.value < 1e-12
    assert free.gradient < 1e-12
    assert free.scale == pytest.approx(0.5)
    assert compare(shifted, truth, GRID.points).value > 0.01
    assert compare(truth, truth, GRID.points).gradient == 0


def test_comparison_is_the_same_in_all_units_of_the_parameters():
    truth, scale = POTENTIALS["three_phases_soft"], torch.tensor([1e-3, 1e4], dtype=torch.float64)
    wrong = KnownPotential("wrong", lambda t: truth.value(t) + 0.1 * torch.sin(3 * t[..., 0] + t[..., 1]))
    plain = compare(wrong, truth, GRID.points)
    rescaled = [KnownPotential("", lambda t, f=f: f.value(t / scale)) for f in (wrong, truth)]
    found = compare(*rescaled, GRID.points * scale.numpy())
    for name, value in vars(plain).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9), name


def test_affine_truth_leaves_nothing_to_compare():
    affine = KnownPotential("affine", lambda t: t[..., 0] - 3)
    with pytest.raises(ValueError, match="affine"):
        compare(POTENTIALS["quadratic"], affine, GRID.points)
    assert np.abs(remove_affine_part(GRID.points, GRID.points @ [2.0, -1.0] + 4)).max() < 1e-12


def test_jensen_shannon_matches_scipy():
    from scipy.spatial.distance import jensenshannon

    p, q = np.random.default_rng(0).dirichlet(np.ones(6), size=(2, 5))
    p[0, :3] = 0
    p[0] /= p[0].sum()
    with np.errstate(divide="ignore"):
        ours = jensen_shannon(torch.from_numpy(np.log(p)), torch.from_numpy(np.log(q))).numpy()
    np.testing.assert_allclose(ours, jensenshannon(p, q, axis=1) ** 2, atol=1e-12)


def _mlp(steps, **options):
    truth = POTENTIALS["quadratic"]
    _, p = exact_posterior(truth, GRID, resolution=8.0)
    options = {"width": 64, "depth": 2, "learning_rate": 3e-3, "seed": 0} | options
    return fit_mlp(p, GRID.points, GRID, resolution=8.0, steps=steps, **options), truth


def test_perceptron_learns_a_potential_and_its_error_falls_with_training():
    errors = [compare(*_mlp(steps, activation="silu"), GRID.points).value_relative for steps in (10, 400)]
    assert errors[1] < errors[0] / 5
    # The paper's fit stands near one percent of the range after a short training; a wrong sign would stand at 1.
    assert errors[1] < 0.05


def test_perceptron_is_reproducible_and_has_derivatives():
    (first, _), (second, _) = _mlp(20), _mlp(20)
    t = torch.tensor([[0.1, 0.3], [-0.5, 0.2]], dtype=torch.float64)
    torch.testing.assert_close(first.value(t), second.value(t), rtol=0, atol=0)
    assert first.hessian(t).shape == (2, 2, 2)
    torch.testing.assert_close(first.hessian(t), first.hessian(t).mT)
    assert first.third(t).shape == (2, 2, 2, 2)
    step = 1e-3
    numeric = (first.value(t + torch.tensor([step, 0])) - first.value(t - torch.tensor([step, 0]))) / (
        2 * step
    )
    # The network is float32: differences over 2e-3 are good to about 1e-3.
    torch.testing.assert_close(first.gradient(t)[:, 0], numeric, rtol=0.05, atol=5e-3)


def test_perceptron_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="posterior_matrix has shape"):
        fit_mlp(np.ones((3, 5)), GRID.points, GRID, resolution=1.0, steps=1)
    with pytest.raises(ValueError, match="activation 'tanh'"):
        _mlp(1, activation="tanh")
