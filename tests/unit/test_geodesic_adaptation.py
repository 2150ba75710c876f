"""Curves get segments where they need them: thin curved ridges, uneven meshes, and the cheap graph of starts."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from hessgeo.geodesics import geodesics
from hessgeo.geodesics.curves import Curves, hermite_pieces, measure_pieces
from hessgeo.geodesics.graphs import grid_graph, start_graph
from hessgeo.geodesics.mesh import Mesh
from hessgeo.geodesics.residual import geodesic_residual, mesh_residual
from hessgeo.grids import Grid
from hessgeo.metrics import gridded
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.metrics.known import HalfPlaneMetric, StereographicMetric


def pair(*ends):
    start, end = torch.tensor([ends], dtype=torch.float64).unbind(1)
    return start, end


def ridge(width, height):
    """Costs rise by ``height`` along a wave, in a band of that width."""

    def metric(t):
        off = t[..., 1] - 0.3 * torch.sin(3 * t[..., 0])
        cost = 1 + height * torch.exp(-((off / width) ** 2) / 2)
        return cost[..., None, None] ** 2 * torch.eye(2, dtype=t.dtype)

    return metric


def test_a_curve_across_a_narrow_curved_ridge_is_certified_with_few_segments_more():
    metric, ends = ridge(0.02, 10.0), pair((-0.8, -0.7), (0.7, 0.8))
    found = geodesics(metric, *ends)
    assert bool(found.certified)
    assert 89 < int(found.segments) < 180
    # With 356 even segments, 2.574938267.
    assert found.length.item() == pytest.approx(2.574938267, rel=2e-8)
    line = Curves.polyline(torch.stack(ends, dim=1)).length(metric)
    assert found.length.item() < 0.9 * line.item()
    places = found.equidistant(9)[0]
    steps = [geodesics(metric, a[None], b[None]).length for a, b in pairwise(places)]
    torch.testing.assert_close(torch.cat(steps), (found.length / 8).expand(8), rtol=1e-6, atol=0)


def test_pairs_that_need_no_more_segments_keep_theirs():
    starts = torch.tensor([[-0.8, -0.7], [-0.8, -0.7], [0.0, -0.6]], dtype=torch.float64)
    ends = torch.tensor([[0.7, 0.8], [-0.5, -0.7], [-0.4, 0.6]], dtype=torch.float64)
    found = geodesics(ridge(0.05, 10.0), starts, ends)
    assert found.certified.tolist() == [True, True, True]
    assert int(found.segments[0]) > 89
    assert int(found.segments[1]) == 89
    assert int(found.segments[2]) > 89
    for row in (0, 2):
        alone = geodesics(ridge(0.05, 10.0), starts[row : row + 1], ends[row : row + 1])
        assert int(alone.segments) == int(found.segments[row])
        torch.testing.assert_close(found.length[row : row + 1], alone.length, rtol=1e-9, atol=0)
        even = found.equidistant(5)[row], alone.equidistant(5)[0]
        torch.testing.assert_close(*even, rtol=0, atol=1e-6)


def test_lengths_and_residuals_on_an_uneven_mesh_are_those_of_the_curve():
    metric, (start, end) = HalfPlaneMetric(), pair((-1.0, 0.5), (1.2, 1.0))
    width = torch.tensor(
        [0.02, 0.02, 0.04, 0.08, 0.16, 0.08, 0.04, 0.04, 0.08, 0.16, 0.16, 0.08, 0.04]
    ).double()
    mesh = Mesh(torch.zeros(13, dtype=torch.long), width / width.sum(), 1)
    shares = torch.cat([width.new_zeros(1), mesh.width.cumsum(0)])
    points = metric.geodesic(start, end, shares)[0]
    step = 1e-5
    around = [metric.geodesic(start, end, (shares + k * step).clamp(0, 1))[0] for k in (-1, 1)]
    velocity = (around[1] - around[0]) / ((shares + step).clamp(0, 1) - (shares - step).clamp(0, 1))[:, None]
    tangents = mesh.width[:, None, None] * torch.stack([velocity[:-1], velocity[1:]], dim=1)
    measured = measure_pieces(hermite_pieces(points, tangents, mesh), mesh, metric)
    assert measured.length.item() == pytest.approx(metric.distance(start, end).item(), rel=1e-5)
    residual = mesh_residual(metric, mesh, points, velocity)
    assert residual[[0, -1]].tolist() == [0.0, 0.0]
    assert float(residual.max()) < 2e-3
    bent = points.clone()
    bent[5, 1] += 1e-3
    assert float(mesh_residual(metric, mesh, bent, velocity)[4:7].max()) > 0.1
    two = Mesh(torch.cat([mesh.curve, mesh.curve + 1]), torch.cat([mesh.width, mesh.width]), 2)
    twice = mesh_residual(metric, two, torch.cat([points, bent]), torch.cat([velocity, velocity]))
    torch.testing.assert_close(twice[:14], residual, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(twice[14:], mesh_residual(metric, mesh, bent, velocity), rtol=1e-6, atol=1e-9)
    even = Mesh.even(1, 12, points)
    curve = Curves.hermite(points[None, :13], velocity[None, :13] / 12)
    both = (
        geodesic_residual(metric, points[None, :13], velocity[None, :13] / 12)[0],
        mesh_residual(metric, even, points[:13], velocity[:13])[1:-1],
    )
    torch.testing.assert_close(*both, rtol=1e-6, atol=1e-9)
    pieces = hermite_pieces(points[:13], torch.stack([velocity[:12], velocity[1:13]], dim=1) / 12, even)
    torch.testing.assert_close(pieces[None], curve.coefficients)


def test_the_cheap_graph_costs_what_the_measured_one_does():
    grid = Grid(((-1.0, 1.0), (0.5, 2.0)), (20, 16))
    for metric, tolerance in ((HalfPlaneMetric(), 1e-3), (ridge(0.2, 3.0), 1e-2), (ridge(0.03, 10.0), 0.1)):
        cheap, exact = (
            graph(metric, grid, neighbours=32).weights.tocsr() for graph in (start_graph, grid_graph)
        )
        assert cheap.nnz == exact.nnz
        assert np.abs(cheap.data / exact.data - 1).max() < tolerance
    broken = start_graph(lambda t: (t[..., 0] + 0.5)[..., None, None] * torch.eye(2, dtype=t.dtype), grid)
    nodes = np.unique(broken.weights.tocoo().row)
    assert 0 < len(nodes) < grid.size
    assert grid.points[nodes, 0].min() > -0.5


def test_the_compiled_metric_is_that_of_torch(monkeypatch):
    grid = Grid(((-1.0, 1.0), (0.0, 30.0)), (9, 7))
    x, y = grid.points.T
    y = y / 30
    entries = [
        2 + 0.5 * np.sin(3 * x),
        0.9 * np.cos(y),
        0.9 * np.cos(y),
        (1.5 + 0.9 * np.cos(2 * y)) * (1 + 9 * x**2),
    ]
    metric = GriddedMetric(np.stack(entries, axis=-1).reshape(9, 7, 2, 2), grid)
    t = torch.rand(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = t * torch.tensor([2.4, 36.0]) - torch.tensor([1.2, 3.0])
    compiled = metric(t), *metric.jet(t)
    traced = t.clone().requires_grad_()
    torch.testing.assert_close(metric(traced).detach(), compiled[0], rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(gridded, "_plain", lambda _: False)
    for found, expected in zip(compiled, (metric(t), *metric.jet(t)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize(("ends", "exact"), [(((3, 0), (-3, 0.1)), 1.2865), (((2, 0), (-2, 0)), 1.8546)])
def test_far_pairs_of_the_sphere_are_right_or_said_not_to_be(ends, exact):
    metric = StereographicMetric()
    start, end = pair(*(tuple(map(float, point)) for point in ends))
    assert metric.distance(start, end).item() == pytest.approx(exact, abs=5e-5)
    found = geodesics(metric, start, end)
    # The shortest way leads past the point at infinity: a curve that is no longer than it, or none that is certified.
    assert found.length.item() > exact - 1e-4
    assert not bool(found.certified) or found.length.item() == pytest.approx(exact, abs=5e-5)
