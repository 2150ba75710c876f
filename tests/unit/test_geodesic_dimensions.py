"""Geodesics in any number of dimensions: closed forms, derivatives of metrics, and the systems that they solve."""

import math

import pytest
import torch

from hessgeo.geodesics import geodesics, second_variation
from hessgeo.geodesics.curves import turning_angles
from hessgeo.geodesics.mesh import Mesh
from hessgeo.geodesics.shooting import logarithm
from hessgeo.metrics.base import FunctionMetric
from hessgeo.metrics.known import (
    ConstantMetric,
    HalfSpaceMetric,
    NormalMetric,
    ProductMetric,
    SphereMetric,
    StereographicMetric,
)


def points_of(count, d, seed=0):
    unit = torch.rand(2, count, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.6 + 0.8 * unit


def constant(d):
    return ConstantMetric(torch.eye(d, dtype=torch.float64) + torch.ones(d, d, dtype=torch.float64) / 2)


@pytest.mark.parametrize("d", [1, 2, 3, 8])
@pytest.mark.parametrize("kind", [lambda d: HalfSpaceMetric(), lambda d: StereographicMetric(), constant])
def test_closed_forms_in_d_dimensions(kind, d):
    metric, (starts, ends) = kind(d), points_of(2, d)
    if isinstance(metric, StereographicMetric):  # no pair through the point at infinity
        starts, ends = (2 * (t - 1) / math.sqrt(d) for t in (starts, ends))
    paths = geodesics(metric, starts, ends, points=33)
    torch.testing.assert_close(paths.length, metric.distance(starts, ends), rtol=1e-10, atol=0)
    expected = metric.geodesic(starts, ends, torch.linspace(0, 1, 33, dtype=torch.float64))
    torch.testing.assert_close(paths.points, expected, rtol=0, atol=1e-9)
    assert bool(paths.certified.all())


def test_sixty_four_dimensions():
    starts, ends = points_of(1, 64)
    paths = geodesics(HalfSpaceMetric(), starts, ends, points=7)
    # (1 / 6)^6 = 2e-5 times derivatives of the curve.
    torch.testing.assert_close(paths.length, HalfSpaceMetric().distance(starts, ends), rtol=1e-6, atol=0)
    assert bool(paths.certified.all())


def test_products_are_gone_through_together():
    metric = ProductMetric([(NormalMetric(), 2), (SphereMetric(), 2), (HalfSpaceMetric(), 1)])
    starts, ends = points_of(3, 5, seed=1)
    paths = geodesics(metric, starts, ends, points=30)
    torch.testing.assert_close(paths.length, metric.distance(starts, ends), rtol=1e-9, atol=0)
    expected = metric.geodesic(starts, ends, torch.linspace(0, 1, 30, dtype=torch.float64))
    torch.testing.assert_close(paths.points, expected, rtol=0, atol=1e-8)


def test_the_exponential_map_leads_back_in_three_dimensions():
    starts, ends = points_of(2, 3, seed=2)
    found = logarithm(HalfSpaceMetric(), starts, ends, points=20)
    assert bool(found.converged.all())
    norm = found.velocity.norm(dim=-1) / starts[:, -1]
    torch.testing.assert_close(norm, HalfSpaceMetric().distance(starts, ends), rtol=1e-8, atol=0)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_what_a_squared_speed_needs_of_its_metric(d):
    # g = (a.t)^3 A + exp(b.t) B has derivatives in closed form.
    unit = torch.rand(2 * d + 4, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    a, b, t, v = unit[0], unit[1], unit[2:4], unit[4:6]
    first, second = (m + m.T for m in (torch.outer(a, b), torch.outer(b, b)))

    def function(x):
        return (x @ a)[..., None, None] ** 3 * first + (x @ b).exp()[..., None, None] * second

    x, e = t @ a, (t @ b).exp()
    in_first, in_second = v @ first, v @ second
    along = (
        3 * x[:, None, None] ** 2 * in_first[:, :, None] * a + e[:, None, None] * in_second[:, :, None] * b
    )
    along_first, along_second = ((w * v).sum(-1) for w in (in_first, in_second))
    bend = (6 * x * along_first)[:, None, None] * torch.outer(a, a)
    bend = bend + (e * along_second)[:, None, None] * torch.outer(b, b)
    for step, tolerance in ((None, 1e-13), (1e-3, 1e-5)):
        found = FunctionMetric(function, step=step).speed_jet(t, v)
        torch.testing.assert_close(found.value, function(t), rtol=1e-14, atol=0)
        torch.testing.assert_close(found.along, along, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(found.bend, bend, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_systems_of_curves_of_any_mesh_against_dense_ones(d):
    generator = torch.Generator().manual_seed(d)
    curve, width = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0.2, 0.3, 0.5, 0.5, 0.5, 1.0]).double()
    mesh = Mesh(curve, width, 3)
    assert mesh.segments.tolist() == [3, 2, 1]
    assert torch.nonzero(mesh.edge)[:, 0].tolist() == [0, 3, 4, 6, 7, 8]
    root = torch.randn(6, 4 * d, 4 * d, generator=generator, dtype=torch.float64)
    hessian, gradient = root @ root.mT + torch.eye(4 * d), root[:, 0]
    hessian[3] -= 100 * torch.eye(4 * d)
    fixed = mesh.edge[:, None].repeat(1, d)
    fixed[1, 0] = True
    count, whole = 9 * d, torch.zeros(21 * d, 21 * d, dtype=torch.float64)
    right, every = torch.zeros(21 * d, dtype=torch.float64), torch.arange(d)
    for s, first in enumerate(mesh.first.tolist()):
        places = (first * d, count + 2 * s * d, first * d + d, count + (2 * s + 1) * d)
        rows = torch.cat([place + every for place in places])
        whole[rows[:, None], rows] += hessian[s]
        right[rows] -= gradient[s]
    free = torch.cat([~fixed.flatten(), torch.ones(12 * d, dtype=torch.bool)])
    exact = torch.zeros_like(right)
    exact[free] = torch.linalg.solve(whole[free][:, free], right[free])
    on_curve = torch.tensor([True, False, True])
    for solve in (second_variation.solve, second_variation._on_device):
        points, tangents, definite = solve(mesh, hessian, gradient, fixed)
        assert definite.tolist() == on_curve.tolist()
        good = on_curve[mesh.of_point], on_curve[mesh.curve]
        torch.testing.assert_close(points[good[0]], exact[:count].reshape(9, d)[good[0]], rtol=0, atol=1e-12)
        expected = exact[count:].reshape(6, 2, d)[good[1]]
        torch.testing.assert_close(tangents[good[1]], expected, rtol=0, atol=1e-12)


def test_boxes_shapes_and_broken_metrics_are_refused_in_any_dimension():
    starts, ends = points_of(1, 3)
    with pytest.raises(ValueError, match=r"box has 2 intervals, points have 3 coordinates"):
        geodesics(HalfSpaceMetric(), starts, ends, box=((0.0, 2.0), (0.0, 2.0)))
    with pytest.raises(ValueError, match="lies outside the box"):
        geodesics(HalfSpaceMetric(), starts, ends, box=((0.0, 2.0), (0.0, 2.0), (1.9, 2.0)))
    skew = torch.eye(3, dtype=torch.float64)
    skew[2, 0] = 0.5
    with pytest.raises(ValueError, match=r"g_1,3 is 0 and g_3,1 is 0\.5"):
        geodesics(lambda t: skew.expand(*t.shape, 3), starts, ends)
    broken = torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))
    with pytest.raises(ValueError, match="the metric is n"):
        geodesics(lambda t: broken.expand(*t.shape, 3), starts, ends, points=5)


def test_turning_is_the_same_in_the_plane_and_in_space():
    plane = torch.tensor([[[0.0, 0.0], [1.0, 0.2], [1.5, 1.0], [1.2, 2.0], [1.2, 2.0]]], dtype=torch.float64)
    turn = torch.linalg.qr(points_of(3, 3)[0])[0]
    space = torch.cat([plane, torch.zeros_like(plane[..., :1])], dim=-1) @ turn
    torch.testing.assert_close(turning_angles(space), turning_angles(plane), rtol=1e-12, atol=1e-12)
