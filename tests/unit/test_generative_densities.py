"""Densities against scikit-learn, their integrals and finite differences."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.neighbors import KernelDensity

from hessgeo.densities.mixtures import (
    GaussianMixture,
    IsotropicMixture,
    TwistedDensity,
    kernel_density,
    likeliest_bandwidth,
    twist,
)
from hessgeo.densities.toys import TOYS, horseshoe, moons

GENERATOR = torch.Generator()


def normal(*shape, seed=0):
    return torch.randn(shape, generator=GENERATOR.manual_seed(seed), dtype=torch.float64)


def mixture(dimension=3):
    roots = 0.4 * normal(2, dimension, dimension, seed=1) + torch.eye(dimension, dtype=torch.float64)
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    return GaussianMixture(weights, normal(2, dimension, seed=2), roots @ roots.mT)


def gridded(density, half=3.5, nodes=180):
    """Nodes over a square and the values of ``p`` there."""
    axis = torch.linspace(-half, half, nodes, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
    return points, density.log_prob(points).exp() * (axis[1] - axis[0]) ** 2


def assert_score_is_the_gradient(density, x, *, rtol=1e-6):
    step = 1e-5  # central differences of a smooth log p err as its square
    shifts = step * torch.eye(x.shape[-1], dtype=x.dtype)
    slopes = [(density.log_prob(x + s) - density.log_prob(x - s)) / (2 * step) for s in shifts]
    torch.testing.assert_close(density.score(x), torch.stack(slopes, dim=-1), rtol=rtol, atol=1e-6)


def test_a_mixture_is_that_of_scipy():
    density, x = mixture(), normal(7, 3)
    parts = [
        w * multivariate_normal(m, f @ f.T).pdf(x)
        for w, m, f in zip(
            density.weights.numpy(), density.means.numpy(), density.factors.numpy(), strict=True
        )
    ]
    np.testing.assert_allclose(density.log_prob(x), np.log(sum(parts)), rtol=1e-12)


@pytest.mark.parametrize("name", TOYS)
def test_the_density_of_a_toy_set_is_normalised_and_smooth(name):
    toy = TOYS[name](300, 0)
    _, mass = gridded(toy.density)
    # The rule is exact for Gaussians that are wide against the nodes, 0.04 apart, to exp(-2 pi^2 (0.06 / 0.04)^2);
    # the petals are 0.075 wide before their twist.
    assert mass.sum().item() == pytest.approx(1, abs=1e-6)
    assert_score_is_the_gradient(toy.density, toy.points[:20])


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_set_is_drawn_from_its_density(name):
    toy = TOYS[name](4000, 1)
    points, mass = gridded(toy.density)
    mean = (mass[..., None] * points).sum(dim=(0, 1))
    second = torch.einsum("ij,ija,ijb->ab", mass, points, points)
    drawn = toy.points.T @ toy.points / len(toy.points)
    # Five standard errors of 4,000 draws of coordinates below 2.
    torch.testing.assert_close(toy.points.mean(dim=0), mean, rtol=0, atol=5 / math.sqrt(4000))
    torch.testing.assert_close(drawn, second, rtol=0, atol=5 * 2 / math.sqrt(4000))
    entropy = -toy.density.log_prob(toy.points).mean().item()
    safe = mass.clamp(min=1e-300)
    cell = (points[1, 0, 0] - points[0, 0, 0]) ** 2
    assert entropy == pytest.approx(-(mass * (safe / cell).log()).sum().item(), abs=5 / math.sqrt(4000))


def test_the_nodes_of_a_curve_suffice():
    coarse = moons(10, 0).density
    angle = torch.linspace(0, math.pi, 4001, dtype=torch.float64)
    upper = torch.stack([angle.cos(), angle.sin()], dim=-1)
    lower = torch.tensor([1.0, 0.5], dtype=torch.float64) - upper
    trapezoid = torch.ones(4001, dtype=torch.float64)
    trapezoid[[0, -1]] = 0.5
    fine = IsotropicMixture(torch.cat([upper, lower]), 0.08, trapezoid.repeat(2))
    x = moons(50, 3).points
    # The trapezoid rule over an open arc errs as the square of its step, 8e-4, over that of the width.
    torch.testing.assert_close(coarse.log_prob(x), fine.log_prob(x), rtol=0, atol=2e-5)


def test_a_kernel_estimate_is_that_of_scikit_learn():
    points, x = normal(50, 3), normal(9, 3, seed=5)
    other = KernelDensity(bandwidth=0.4).fit(points.numpy())
    density = kernel_density(points, bandwidth=0.4)
    np.testing.assert_allclose(density.log_prob(x), other.score_samples(x.numpy()), rtol=1e-9)
    assert_score_is_the_gradient(density, x)


def test_blocks_do_not_change_a_density(monkeypatch):
    density, x = kernel_density(normal(50, 2), bandwidth=0.3), normal(4, 5, 2, seed=6)
    expected, score = density.log_prob(x), density.score(x)
    monkeypatch.setattr("hessgeo.densities.mixtures.BLOCK", 150)
    torch.testing.assert_close(density.log_prob(x), expected)
    torch.testing.assert_close(density.score(x), score)


def test_the_bandwidth_comes_to_that_of_theory_as_data_grow():
    # The likeliest width for normal data in the plane goes as n^(-1/6), near Silverman's (for the squared error).
    widths = [likeliest_bandwidth(normal(n, 2, seed=n)) for n in (125, 1000)]
    assert widths[0] / widths[1] == pytest.approx(8 ** (1 / 6), rel=0.2)
    assert widths[1] == pytest.approx(1000 ** (-1 / 6), rel=0.2)


def test_a_twist_keeps_areas_and_can_be_undone():
    x = normal(20, 2)
    torch.testing.assert_close(twist(twist(x, 1.3), -1.3), x)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda y: twist(y, 1.3)))(x)
    torch.testing.assert_close(torch.linalg.det(jacobian), torch.ones(20, dtype=torch.float64))


def test_draws_have_the_moments_of_their_mixture():
    density = mixture(2)
    drawn = density.sample(20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        drawn.mean(dim=0), density.weights @ density.means, rtol=0, atol=5 * 2 / math.sqrt(20_000)
    )
    shoe = horseshoe()
    drawn = shoe.sample(20_000, torch.Generator().manual_seed(0))
    spread = shoe.centres.var(dim=0, correction=0) + shoe.width**2
    torch.testing.assert_close(drawn.var(dim=0), spread, rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IsotropicMixture(normal(3, 2), 0.0), "width is 0.0, must be positive"),
        (lambda: IsotropicMixture(normal(3, 2), 1.0, torch.ones(2)), "weights must be 3 positive numbers"),
        (lambda: TwistedDensity(mixture(3), 1.0), "has dimension 3, must have 2"),
        (lambda: likeliest_bandwidth(normal(2, 2)), "2 points do not determine"),
        (lambda: likeliest_bandwidth(torch.ones(5, 2)), "another in the same place"),
        (
            lambda: GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.zeros(1, 2, 2)),
            "covariance 0 is not positive definite",
        ),
        (
            lambda: GaussianMixture(torch.zeros(1), torch.zeros(1, 2), torch.ones(1, 2, 2)),
            "the smallest weight is 0, must be positive",
        ),
        (lambda: GaussianMixture(torch.ones(2), torch.zeros(1, 2), torch.ones(1, 2, 2)), "do not fit"),
        (lambda: moons(10, 0, noise=-1.0), "noise is -1.0, must be positive"),
    ],
)  # fmt: skip
def test_what_is_no_density_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
