"""The family of metrics: closed forms, jets against differentiation, interpolation, pull-backs, repair."""

import math

import numpy as np
import pytest
import torch
from potentials import POTENTIALS, KnownPotential

from hessgeo.grids import Grid
from hessgeo.metrics.base import FunctionMetric, Metric, as_metric
from hessgeo.metrics.conformal import DensityMetric, quantile_constants
from hessgeo.metrics.curvature import christoffel, gauss_curvature, thermodynamic_curvature, volume_element
from hessgeo.metrics.gridded import GriddedMetric, smooth_metric
from hessgeo.metrics.hessian import HessianMetric
from hessgeo.metrics.known import (
    CategoricalMetric,
    ConstantMetric,
    HalfPlaneMetric,
    NormalMetric,
    PoissonMetric,
    SphereMetric,
)
from hessgeo.metrics.pullback import PullbackMetric, feature_metric
from hessgeo.metrics.repair import relative_floor, repair

T = torch.tensor([[0.5, 0.7], [1.1, 1.3], [0.9, 0.4]], dtype=torch.float64)
OFF_NODES = torch.rand(200, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 1.2 + 0.3
GRID = Grid(((0.3, 1.5), (0.3, 1.5)), (13, 13))
SKEWED = ConstantMetric(torch.tensor([[2.0, 0.3], [0.3, 1.0]], dtype=torch.float64))
CURVATURES = [
    (SKEWED, 0.0),
    (SphereMetric(2.0), 0.25),
    (HalfPlaneMetric(), -1.0),
    (NormalMetric(), -0.5),
    (PoissonMetric(), 0.0),
    (CategoricalMetric(), 0.25),
]
IDS = [type(metric).__name__ for metric, _ in CURVATURES]


def close(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


@pytest.mark.parametrize(("metric", "expected"), CURVATURES, ids=IDS)
def test_gauss_curvature_of_spaces_of_constant_curvature(metric, expected):
    close(gauss_curvature(metric, T), torch.full((3,), expected, dtype=torch.float64))


def test_gauss_curvature_is_half_the_thermodynamic_one():
    potential = POTENTIALS["curie_weiss"]
    t = torch.tensor([[0.1, 0.2], [-0.4, 0.3]], dtype=torch.float64)
    ruppeiner = thermodynamic_curvature(potential.hessian(t), potential.third(t))
    # Gauss's formula takes fourth derivatives, which cancel in a Hessian metric.
    torch.testing.assert_close(
        gauss_curvature(HessianMetric(potential), t), ruppeiner / 2, rtol=1e-8, atol=1e-10
    )


def test_poisson_and_categorical_metrics_are_hessians():
    poisson = KnownPotential("poisson", lambda t: t.exp().sum(-1))
    trinomial = KnownPotential("trinomial", lambda t: torch.log1p(t.exp().sum(-1)))
    close(PoissonMetric()(T), poisson.hessian(T))
    close(CategoricalMetric()(T), trinomial.hessian(T))


@pytest.mark.parametrize(("metric", "_"), CURVATURES, ids=IDS)
def test_distance_is_the_metric_for_short_steps_and_adds_up_along_geodesics(metric, _):
    start, end = T[:2], T[1:]
    step = 1e-5 * torch.tensor([0.6, -0.8], dtype=torch.float64)
    norm = torch.einsum("i,nij,j->n", step, metric(start + step / 2), step).sqrt()
    # Of a smooth metric the chord at its midpoint is the distance up to the cube of the step.
    torch.testing.assert_close(metric.distance(start, start + step), norm, rtol=1e-6, atol=0)
    s = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    points = metric.geodesic(start, end, s)
    close(points[:, 0], start)
    close(points[:, -1], end)
    close(metric.distance(start, points[:, 1]), 0.3 * metric.distance(start, end))
    close(metric.distance(points[:, 1], end), 0.7 * metric.distance(start, end))


def test_christoffel_symbols_of_the_half_plane():
    gamma = christoffel(HalfPlaneMetric(), T)
    expected = torch.zeros_like(gamma)
    y = T[:, 1]
    expected[:, 0, 0, 1] = expected[:, 0, 1, 0] = expected[:, 1, 1, 1] = -1 / y
    expected[:, 1, 0, 0] = 1 / y
    close(gamma, expected)


def test_volume_element_of_the_sphere():
    close(volume_element(SphereMetric(2.0), T), 4 * T[:, 0].sin())


def test_differences_stand_in_for_derivatives():
    exact, differences = SphereMetric().jet(T), FunctionMetric(SphereMetric(), step=1e-3).jet(T)
    close(differences.value, exact.value)
    close(differences.first, exact.first, atol=1e-10)  # fourth order: 1e-12, rounding 1e-13
    close(differences.second, exact.second, atol=1e-5)  # second order: 1e-6


def test_a_function_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"gave shape \(3, 2\)"):
        as_metric(lambda t: t)(T)


def test_gridded_metric_meets_the_nodes_and_converges_at_fourth_order():
    errors = []
    for nodes in (25, 49, 97):
        grid = Grid(GRID.extent, (nodes, nodes))
        metric = smooth_metric(NormalMetric(), grid)
        at_nodes = torch.from_numpy(grid.points)
        torch.testing.assert_close(metric(at_nodes), NormalMetric()(at_nodes), rtol=1e-12, atol=1e-12)
        errors.append(float((metric(OFF_NODES) - NormalMetric()(OFF_NODES)).abs().max()))
    # 2^4 = 16 asymptotically; the points are not at the same place of their cells.
    assert errors[0] / errors[1] > 10
    assert errors[1] / errors[2] > 10


def test_gridded_metric_is_exact_where_its_logarithm_is_cubic():
    metric = smooth_metric(PoissonMetric(), Grid(GRID.extent, (5, 6)))
    close(metric(T), PoissonMetric()(T))


def test_jet_of_a_gridded_metric_is_that_of_differentiation():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(*GRID.shape, 2, 2))
    # Strong anisotropy at some nodes, almost none at others: both branches of the hyperbolic functions.
    factors[:6] = np.eye(2) + 0.01 * factors[:6]
    metric = GriddedMetric(factors @ np.swapaxes(factors, -1, -2), GRID)
    t = torch.from_numpy(GRID.points[::7] + np.array([0.013, 0.027]))
    mine, generic = metric.jet(t), Metric.jet(metric, t)
    for quantity, expected in zip(mine, generic, strict=True):
        torch.testing.assert_close(quantity, expected, rtol=1e-9, atol=1e-9)


def test_gridded_metric_stays_positive_definite_and_rotates_with_the_axes():
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(*GRID.shape, 2, 2)) * rng.choice([0.01, 3.0], size=(*GRID.shape, 1, 1))
    values = factors @ np.swapaxes(factors, -1, -2) + 1e-6 * np.eye(2)
    t = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.2 + 0.3
    g = GriddedMetric(values, GRID)(t)
    assert bool((torch.linalg.eigvalsh(g) > 0).all())
    angle = 0.7
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = GriddedMetric(turn @ values @ turn.T, GRID)(t)
    rotation = torch.from_numpy(turn)
    torch.testing.assert_close(turned, rotation @ g @ rotation.T, rtol=1e-8, atol=1e-10)


def test_gridded_metric_refuses_what_is_not_positive_definite():
    values = np.broadcast_to(np.eye(2), (*GRID.shape, 2, 2)).copy()
    values[3, 4] = np.diag([1.0, -1.0])
    values[5, 5] = np.nan
    with pytest.raises(ValueError, match="not positive definite at 2 of 169 nodes"):
        GriddedMetric(values, GRID)
    with pytest.raises(ValueError, match="must be"):
        GriddedMetric(values[:3], Grid(GRID.extent, (3, 13)))


def test_repair_raises_low_eigenvalues_and_counts_them():
    rng = np.random.default_rng(2)
    g = rng.normal(size=(200, 2, 2))
    g = g + np.swapaxes(g, -1, -2)
    done = repair(g, floor=0.1)
    low = np.linalg.eigvalsh(g)[:, 0] < 0.1
    assert done.count == low.sum() > 50
    np.testing.assert_array_equal(done.repaired, low)
    np.testing.assert_array_equal(done.metric[~low], g[~low])
    np.testing.assert_allclose(
        np.linalg.eigvalsh(done.metric), np.maximum(np.linalg.eigvalsh(g), 0.1), atol=1e-12
    )


def test_repair_refuses_what_it_cannot_mend():
    g = np.broadcast_to(np.eye(2), (5, 2, 2)).copy()
    with pytest.raises(ValueError, match="floor is 0"):
        repair(g, floor=0.0)
    g[2, 0, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 5 matrices"):
        repair(g, floor=0.1)
    with pytest.raises(ValueError, match="median"):
        relative_floor(-np.broadcast_to(np.eye(2), (5, 2, 2)))


def feature_map(t):
    a, b = t[..., 0], t[..., 1]
    return torch.stack([a.sin() * b, a * b**2, b.exp()], dim=-1)


def test_pullback_by_both_derivatives():
    a, b = T.unbind(-1)
    jacobian = torch.stack(
        [
            torch.stack([a.cos() * b, a.sin()], dim=-1),
            torch.stack([b**2, 2 * a * b], dim=-1),
            torch.stack([torch.zeros_like(a), b.exp()], dim=-1),
        ],
        dim=-2,
    )
    expected = jacobian.mT @ jacobian
    close(PullbackMetric(feature_map)(T), expected)
    close(
        PullbackMetric(feature_map, derivatives="differences")(T), expected, atol=1e-7
    )  # (1e-4)^2 times g'''
    close(PullbackMetric(feature_map)(T[None, :, None]), expected[None, :, None])


def test_error_of_differences_is_of_second_order():
    exact = PullbackMetric(feature_map)(T)
    errors = [
        float((PullbackMetric(feature_map, derivatives="differences", step=h)(T) - exact).abs().max())
        for h in (0.02, 0.01)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)


def test_pullback_of_a_sphere_is_the_sphere():
    def on_sphere(t):
        theta, phi = t.unbind(-1)
        return torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], dim=-1)

    close(PullbackMetric(on_sphere)(T), SphereMetric()(T))
    close(gauss_curvature(PullbackMetric(on_sphere), T), torch.ones(3, dtype=torch.float64))


def test_metric_of_gridded_features_converges_at_second_order():
    errors, inner = [], 0.2 + OFF_NODES * 0.8  # at the edge one-sided differences are of first order
    for nodes in (25, 49):
        grid = Grid(GRID.extent, (nodes, nodes))
        features = feature_map(torch.from_numpy(grid.points)).numpy().reshape(*grid.shape, 3)
        found = feature_metric(features, grid, floor=1e-6)
        assert found.repaired == 0
        errors.append(float((found.metric(inner) - PullbackMetric(feature_map)(inner)).abs().max()))
    assert errors[0] / errors[1] > 3  # 4 for central differences


def test_constant_features_are_repaired_and_counted():
    a = GRID.points[:, 0].reshape(GRID.shape)
    found = feature_metric(np.stack([a, a**2], axis=-1), GRID)  # nothing changes along b
    assert found.repaired == GRID.size
    g = found.metric(T)
    torch.testing.assert_close(
        g[:, 1, 1], torch.full((3,), found.floor, dtype=torch.float64), rtol=1e-6, atol=0
    )


def log_normal(t):
    return -(t**2).sum(-1) / 2


def test_density_metric_has_its_limits():
    # lambda to zero: p^-2; lambda far above p: Euclid's. Both far beyond what exp can hold.
    t = torch.tensor([[3.0, 4.0], [30.0, 40.0]], dtype=torch.float64)
    sharp = DensityMetric(log_normal, log_p0=0.0, log_lam=-math.inf)
    close(sharp.log_speed(t), torch.tensor([12.5, 1250.0], dtype=torch.float64))
    for flat in (800.0, math.inf):
        metric = DensityMetric(log_normal, log_p0=0.0, log_lam=flat)
        close(metric(t), torch.eye(2, dtype=torch.float64).expand(2, 2, 2))
    both = DensityMetric(log_normal, log_p0=math.log(0.25), log_lam=math.log(0.5))
    expected = ((0.25 + 0.5) / (log_normal(t[:1]).exp() + 0.5)) ** 2
    close(both(t[:1])[:, 0, 0], expected)


def test_an_infinite_lambda_is_euclidean_whatever_the_density():
    def unknown(t):
        raise AssertionError("the density is asked")

    flat, (start, end) = DensityMetric(unknown, log_p0=3.0, log_lam=math.inf), T[:2]
    close(flat(T), torch.eye(2, dtype=torch.float64).expand(3, 2, 2))
    close(flat.log_speed_and_gradient(T)[1], torch.zeros_like(T))
    close(flat.segment_lengths(start[None], end[None]), (end - start).norm()[None])
    close(gauss_curvature(flat, T), torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("log_lam", [-math.inf, -1.0, 2.0])
def test_the_slope_of_a_step_is_that_of_the_formula_with_and_without_a_score(log_lam):
    for score in (None, lambda t: -t):
        metric = DensityMetric(log_normal, log_p0=0.5, log_lam=log_lam, score=score)
        value, slope = metric.log_speed_and_gradient(T)
        close(value, metric.log_speed(T))
        p, lam = log_normal(T).exp()[:, None], math.exp(log_lam)
        close(slope, p / (p + lam) * T)


def test_lambda_by_quantile():
    log_density = torch.arange(101, dtype=torch.float64)
    assert quantile_constants(log_density, 0.25) == (50.0, 25.0)
    with pytest.raises(ValueError, match="quantile is 2"):
        quantile_constants(log_density, 2)
