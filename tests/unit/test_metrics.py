"""Metrics and their diagnostics against closed forms."""

import numpy as np
import pytest
import torch
from potentials import POTENTIALS, KnownPotential, exact_posterior
from scipy.ndimage import gaussian_filter

from hessgeo.grids import Grid
from hessgeo.metrics.curvature import thermodynamic_curvature
from hessgeo.metrics.diagnostics import codazzi_residual, eigenvalues, positive_definite, relative_difference
from hessgeo.metrics.hessian import HessianMetric
from hessgeo.metrics.measured import embedding_metric, posterior_metric
from hessgeo.systems.memory import peak_memory

GRID = Grid(((-1.0, 1.0), (0.0, 1.0)), (41, 31))
NORMAL = KnownPotential(
    "normal", lambda t: -(t[..., 0] ** 2) / (4 * t[..., 1]) - torch.log(-2 * t[..., 1]) / 2
)


def test_normal_family_has_constant_negative_curvature():
    # Fisher metric of the normal law: a hyperbolic plane of Gauss curvature -1/2, scalar curvature -1.
    t = torch.tensor([[0.3, -0.5], [-1.2, -2.0], [0.0, -0.1]], dtype=torch.float64)
    curvature = thermodynamic_curvature(NORMAL.hessian(t), NORMAL.third(t))
    torch.testing.assert_close(curvature, torch.full((3,), -1.0, dtype=torch.float64))


def test_trinomial_family_has_constant_positive_curvature():
    # Fisher metric of three categories: the sphere of radius 2, Gauss curvature 1/4, scalar curvature 1/2.
    trinomial = KnownPotential("trinomial", lambda t: torch.log1p(t[..., 0].exp() + t[..., 1].exp()))
    t = torch.tensor([[0.1, 0.7], [-2.0, 1.0]], dtype=torch.float64)
    curvature = thermodynamic_curvature(trinomial.hessian(t), trinomial.third(t))
    torch.testing.assert_close(curvature, torch.full((2,), 0.5, dtype=torch.float64))


def test_product_families_are_flat():
    product = POTENTIALS["log_cosh"]
    t = torch.tensor([[0.1, 0.2], [-0.3, 0.9]], dtype=torch.float64)
    torch.testing.assert_close(
        thermodynamic_curvature(product.hessian(t), product.third(t)), torch.zeros(2, dtype=torch.float64)
    )


def test_eigenvalues_match_lapack_and_definiteness():
    g = np.random.default_rng(0).normal(size=(50, 2, 2))
    g = g + np.swapaxes(g, -1, -2)
    np.testing.assert_allclose(eigenvalues(g), np.linalg.eigvalsh(g), atol=1e-12)
    np.testing.assert_array_equal(positive_definite(g), np.linalg.eigvalsh(g)[:, 0] > 0)
    assert not positive_definite(np.full((1, 2, 2), np.nan)).any()


def test_embedding_metric_of_a_known_map():
    # E(a, b) = (a^2, a b, sin b): g = J'J, differences exact but for the sine and the edges.
    a, b = (x.reshape(GRID.shape) for x in GRID.points.T)
    g = embedding_metric(np.stack([a**2, a * b, np.sin(b)], axis=-1), GRID)
    expected = np.stack([4 * a**2 + b**2, a * b, a * b, a**2 + np.cos(b) ** 2], axis=-1).reshape(
        *GRID.shape, 2, 2
    )
    # sin differs by cos(b) h^2 / 6 with h = 1/30
    np.testing.assert_allclose(g[1:-1, 1:-1], expected[1:-1, 1:-1], atol=5e-4)
    assert (relative_difference(g[1:-1, 1:-1], expected[1:-1, 1:-1]) < 2e-3).all()


def test_posterior_metric_tends_to_the_hessian():
    truth, errors = POTENTIALS["quadratic"], []
    for resolution in (20.0, 80.0):
        posterior, _ = exact_posterior(truth, Grid(((-1, 1), (-1, 1)), (41, 41)), resolution=resolution)
        centre = len(posterior.t) // 2
        g = posterior_metric(posterior)[centre : centre + 1]
        errors.append(float(relative_difference(g, truth.hessian(torch.zeros(1, 2)).numpy())[0]))
    # At N = 20 the box still cuts the posterior off; at 80 its width is a seventh of the box.
    assert errors[1] < errors[0]
    assert errors[1] < 0.02


def test_posterior_on_one_node_has_no_metric():
    posterior, _ = exact_posterior(POTENTIALS["quadratic"], Grid(((-1, 1), (-1, 1)), (5, 5)), resolution=1e6)
    assert np.isnan(posterior_metric(posterior)).all()


def test_codazzi_residual_is_zero_for_a_hessian_and_not_for_another():
    t = torch.from_numpy(GRID.points)
    hessian = HessianMetric(POTENTIALS["three_phases_soft"])(t).numpy().reshape(*GRID.shape, 2, 2)
    a = GRID.points[:, 0].reshape(GRID.shape)
    other = np.zeros((*GRID.shape, 2, 2))
    other[..., 0, 0], other[..., 1, 1] = 1.0, 2 + a  # d_a g_bb without its partner d_b g_ab
    # Second-order differences of a smooth field leave 1e-3; the other metric loses two thirds of its square.
    assert codazzi_residual(hessian, GRID) < 0.05
    assert codazzi_residual(other, GRID) == pytest.approx(np.sqrt(2 / 3))


def test_codazzi_residual_of_a_hessian_falls_with_the_spacing():
    residuals = []
    for nodes in (21, 41):
        grid = Grid(((-1, 1), (-1, 1)), (nodes, nodes))
        g = (
            POTENTIALS["curie_weiss"]
            .hessian(torch.from_numpy(grid.points))
            .numpy()
            .reshape(nodes, nodes, 2, 2)
        )
        residuals.append(codazzi_residual(g, grid))
    # Central differences are of second order, one-sided ones at the edge of first: 2 to 4 times less.
    assert residuals[1] < residuals[0] / 1.9


def test_codazzi_residual_leaves_out_nan_and_is_zero_for_a_constant():
    a = GRID.points[:, 0].reshape(GRID.shape)
    g = np.zeros((*GRID.shape, 2, 2))
    g[..., 0, 0], g[..., 1, 1] = 2 + a, 1.0
    g[3, 4] = np.nan
    assert codazzi_residual(g, GRID) == pytest.approx(0, abs=1e-12)
    assert codazzi_residual(np.broadcast_to(np.eye(2), (*GRID.shape, 2, 2)), GRID) == 0
    # Measured from a linear embedding it is constant but for rounding, which has no symmetry.
    linear = GRID.points @ np.random.default_rng(0).normal(size=(2, 5))
    assert codazzi_residual(embedding_metric(linear.reshape(*GRID.shape, 5), GRID), GRID) == 0
    with pytest.raises(ValueError, match="finite"):
        codazzi_residual(np.full((*GRID.shape, 2, 2), np.nan), GRID)


def whole_metric(embedding, grid, smoothing):
    """The metric with every slope in memory, as its formula stands."""
    e = embedding.astype(float)
    if smoothing > 0:
        e = gaussian_filter(e, (smoothing, smoothing, 0), mode="nearest")
    slopes = np.stack([np.gradient(e, step, axis=k) for k, step in enumerate(grid.spacing)], axis=-2)
    return slopes @ np.swapaxes(slopes, -1, -2)


@pytest.mark.parametrize("smoothing", [0.0, 0.6, 1.0, 3.0])
@pytest.mark.parametrize("block", [1, 7, 2048])
def test_embedding_metric_does_not_depend_on_blocks(smoothing, block):
    # Fewer rows than a wide filter reaches, and axes that differ.
    grid = Grid(((-1.0, 2.0), (0.0, 0.5)), (13, 9))
    embedding = np.random.default_rng(0).normal(size=(*grid.shape, 17)).astype(np.float32)
    asked = []

    def row(place):
        asked.append(place)
        return embedding[place]

    expected = whole_metric(embedding, grid, smoothing)
    found = embedding_metric(row, grid, smoothing=smoothing, block=block)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_array_equal(found, embedding_metric(embedding, grid, smoothing=smoothing, block=block))
    assert asked == list(range(13))


def test_embedding_metric_holds_a_few_rows():
    grid, dimension = Grid(((0.0, 1.0), (0.0, 1.0)), (32, 8)), 100_000
    base = np.random.default_rng(0).normal(size=(8, dimension)).astype(np.float32)
    with peak_memory("cpu") as peak:
        found = embedding_metric(lambda row: base * np.float32(row), grid)
    # Three rows of 3.2 MB and what a block takes, 16 MiB for what else the process does; all rows take 102 MB, and
    # their slopes in double precision 410 MB.
    assert peak.bytes < 32 << 20
    np.testing.assert_allclose(found[5, :, 0, 0], (31 * base.astype(float)) ** 2 @ np.ones(dimension))
