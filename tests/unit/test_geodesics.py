"""Geodesics: closed forms, orders of convergence, certificates, invariances, and the scheme they replace."""

import math

import numpy as np
import pytest
import torch
from potentials import POTENTIALS

from hessgeo.geodesics import Curves, geodesics
from hessgeo.geodesics.curves import (
    curvature,
    length,
    subdivided,
    turning_angles,
)
from hessgeo.geodesics.distances import distance_matrix
from hessgeo.geodesics.graphs import grid_graph, grid_paths
from hessgeo.geodesics.newton import minimise
from hessgeo.geodesics.reference import adam_geodesics
from hessgeo.geodesics.residual import geodesic_residual
from hessgeo.geodesics.shooting import exponential, exponential_path, logarithm
from hessgeo.geodesics.solve import RESIDUAL_TOLERANCE
from hessgeo.grids import Grid
from hessgeo.metrics.base import FunctionMetric
from hessgeo.metrics.gridded import smooth_metric
from hessgeo.metrics.hessian import HessianMetric
from hessgeo.metrics.known import (
    CategoricalMetric,
    ConstantMetric,
    HalfPlaneMetric,
    NormalMetric,
    PoissonMetric,
    SphereMetric,
)
from hessgeo.numerics import block_tridiagonal

QUADRATIC = ConstantMetric(POTENTIALS["quadratic"].hessian(torch.zeros(1, 2, dtype=torch.float64))[0])
KNOWN = [
    QUADRATIC,
    SphereMetric(2.0),
    HalfPlaneMetric(),
    NormalMetric(),
    PoissonMetric(),
    CategoricalMetric(),
]
IDS = ["quadratic potential", "sphere", "half-plane", "normal family", "Poisson", "categorical"]
BOX = ((0.4, 2.4), (0.4, 2.4))


def pairs(count, seed=0):
    unit = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.4 + 2 * unit


def equidistant(points, metric, count):
    curves = Curves.polyline(points)
    return curves.at(curves.equidistant(metric, count))


def straight(starts, ends, points):
    share = torch.linspace(0, 1, points, dtype=torch.float64)[:, None]
    return starts[:, None] + share * (ends - starts)[:, None]


@pytest.mark.parametrize("metric", KNOWN, ids=IDS)
def test_closed_forms_at_90_points(metric):
    starts, ends = pairs(12)
    paths = geodesics(metric, starts, ends, points=90)
    distance = metric.distance(starts, ends)
    # Sixth order: (1 / 89)^6 = 2e-12, times derivatives of the curve; the target is 1e-6.
    torch.testing.assert_close(paths.length, distance, rtol=1e-9, atol=0)
    expected = metric.geodesic(starts, ends, torch.linspace(0, 1, 90, dtype=torch.float64))
    torch.testing.assert_close(paths.points, expected, rtol=0, atol=1e-8)
    assert bool(paths.converged.all())
    assert bool(paths.minimal.all())
    assert bool(paths.certified.all())
    # The residual's own difference is of sixth order beside the ends, eighth elsewhere.
    assert float(paths.residual.max()) < 1e-7
    assert int(paths.held.sum()) == 0


@pytest.mark.parametrize("metric", KNOWN[1:], ids=IDS[1:])
def test_error_of_the_length_is_of_sixth_order(metric):
    starts, ends = pairs(6, seed=1)
    errors = []
    for points in (5, 9, 17):
        paths = geodesics(metric, starts, ends, points=points, grid_starts=False)
        errors.append(float((paths.length / metric.distance(starts, ends) - 1).max()))
    # Lengths are of curves that exist: from above. Twice the segments: 2^6 = 64 times less, asymptotically.
    assert min(errors) > 0
    assert math.log2(errors[1] / errors[2]) == pytest.approx(6, abs=0.7)


def test_residual_falls_at_sixth_order_and_sees_a_wrong_curve():
    metric, (starts, ends) = HalfPlaneMetric(), pairs(6)
    residuals = [
        float(geodesics(metric, starts, ends, points=points, grid_starts=False).residual.max())
        for points in (13, 25)
    ]
    assert math.log2(residuals[0] / residuals[1]) == pytest.approx(6, abs=0.8)
    line = straight(starts, ends, 49)
    wrong = geodesic_residual(metric, line, (ends - starts)[:, None].expand_as(line) / 48)
    assert float(wrong.amax(dim=1).min()) > 0.1


def test_curves_of_too_few_segments_are_not_certified_and_are_refined_alone():
    # The first pair is joined by a wide half circle that starts steeply at y = 0.05, the other by a flat arc.
    metric, ends = HalfPlaneMetric(), torch.tensor([[1.0, 0.05], [0.6, 1.0]], dtype=torch.float64)
    starts = ends * torch.tensor([-1.0, 1.0], dtype=torch.float64)
    rough = geodesics(metric, starts, ends, points=8, doublings=0)
    assert rough.converged.tolist() == [True, True]
    assert rough.certified.tolist() == [False, True]
    assert float(rough.residual[0]) > RESIDUAL_TOLERANCE
    words, none = rough.reasons()
    assert words == (
        f"the residual of the geodesic equation is {float(rough.residual[0]):.2g} rad, allowed 0.01"
    )
    assert none is None
    fine = geodesics(metric, starts, ends, points=8, doublings=6)
    assert fine.certified.tolist() == [True, True]
    assert 7 < fine.segments[0] <= 56
    assert fine.segments[1] == 7
    torch.testing.assert_close(fine.points[1], rough.points[1], rtol=0, atol=0)
    distance, share = metric.distance(starts, ends), torch.linspace(0, 1, 8, dtype=torch.float64)
    expected = metric.geodesic(starts, ends, share)
    missed = [float((paths.points - expected)[0].norm(dim=-1).max()) for paths in (rough, fine)]
    # Sixth order: each doubling divides both errors by up to 64.
    assert missed[1] < missed[0] / 30
    assert 0 < float(fine.length[0] - distance[0]) < float(rough.length[0] - distance[0]) / 30
    velocity = metric.geodesic(starts, ends, share + 1e-6) - metric.geodesic(starts, ends, share - 1e-6)
    torch.testing.assert_close(fine.tangents[0], velocity[0] / 2e-6 / 7, rtol=1e-3, atol=1e-4)
    places = fine.equidistant(5)
    steps = metric.distance(places[:, :-1], places[:, 1:])
    torch.testing.assert_close(steps, (fine.length / 4)[:, None].expand_as(steps), rtol=1e-5, atol=0)
    apart = geodesics(metric, starts, ends, points=8, doublings=6, batch_size=1)
    torch.testing.assert_close(apart.equidistant(5), places, rtol=0, atol=1e-10)
    once = geodesics(metric, starts, ends, points=8, doublings=1)
    assert once.segments.tolist() == [14, 7]


def test_solutions_are_the_same_backwards_in_other_units_and_in_any_batch():
    starts, ends = pairs(8, seed=2)
    metric = CategoricalMetric()
    paths = geodesics(metric, starts, ends, points=30)
    back = geodesics(metric, ends, starts, points=30)
    torch.testing.assert_close(back.points.flip(1), paths.points, atol=1e-9, rtol=0)
    small = geodesics(metric, starts, ends, points=30, batch_size=3)
    torch.testing.assert_close(small.points, paths.points, atol=1e-11, rtol=0)
    # t = M u: the metric in u is M' g M, its geodesics are the images.
    change = torch.tensor([[2.0, 1.0], [0.5, 3.0]], dtype=torch.float64)
    inverse = torch.linalg.inv(change)
    pulled = geodesics(
        lambda u: change.T @ metric(u @ change.T) @ change, starts @ inverse.T, ends @ inverse.T, points=30
    )
    torch.testing.assert_close(pulled.points @ change.T, paths.points, atol=1e-7, rtol=0)
    torch.testing.assert_close(pulled.length, paths.length, rtol=1e-10, atol=0)


def test_a_metric_function_of_the_user():
    starts, ends = pairs(3)
    paths = geodesics(lambda t: torch.diag_embed(t.exp()), starts, ends)
    torch.testing.assert_close(paths.length, PoissonMetric().distance(starts, ends), rtol=1e-9, atol=0)

    def opaque(t):  # leaves torch: no derivatives but differences
        return torch.from_numpy(PoissonMetric()(t).numpy())

    paths = geodesics(FunctionMetric(opaque, step=1e-3), starts, ends)
    torch.testing.assert_close(paths.length, PoissonMetric().distance(starts, ends), rtol=1e-9, atol=0)
    assert bool(paths.converged.all())


def test_points_are_equidistant_in_the_metric():
    starts, ends = pairs(4)
    metric = HalfPlaneMetric()
    paths = geodesics(metric, starts, ends, points=40)
    for points in (paths.points[:, ::13], paths.equidistant(4)):
        steps = metric.distance(points[:, :-1], points[:, 1:])
        torch.testing.assert_close(steps, (paths.length / 3)[:, None].expand_as(steps), rtol=1e-7, atol=0)


def test_a_way_around_is_found_from_the_grid_where_the_line_is_trapped():
    # Between (-1, 0) and (1, 0): a channel along the line at a cost of 2, a half circle above at 0.5, 4 elsewhere.
    def channels(t):
        radius, above = t.norm(dim=-1), torch.sigmoid(t[..., 1] / 0.02)
        straight_on = 2 * torch.exp(-((t[..., 1] / 0.15) ** 2))
        around = (3.5 - straight_on) * above * torch.exp(-(((radius - 1) / 0.15) ** 2))
        return (4 - straight_on - around)[..., None, None] ** 2 * torch.eye(2, dtype=t.dtype)

    starts, box = torch.tensor([[-1.0, 0.0]], dtype=torch.float64), ((-1.5, 1.5), (-1.5, 1.5))
    found, alone = (
        geodesics(channels, starts, -starts, box=box, points=60, grid_starts=grid_starts)
        for grid_starts in (True, False)
    )
    # Both are minima: about 2 x 2 long, less what the ends save, and about pi x 0.5.
    for paths in (found, alone):
        assert bool(paths.converged.all())
        assert bool(paths.minimal.all())
    assert found.from_grid.tolist() == [True]
    assert alone.from_grid.tolist() == [False]
    assert float(found.length[0]) < 0.95 * float(alone.length[0])
    assert float(found.points[0, :, 1].max()) > 0.8
    assert float(alone.points[0, :, 1].abs().max()) < 0.2


def test_the_box_holds_curves_that_would_leave_it():
    metric = HalfPlaneMetric()
    starts, ends = (
        torch.tensor([[-1.0, 1.0]], dtype=torch.float64),
        torch.tensor([[1.0, 1.0]], dtype=torch.float64),
    )
    paths = geodesics(metric, starts, ends, points=120, box=((-2.0, 2.0), (0.5, 1.2)))
    points = paths.points[0]
    assert bool(paths.converged.all())
    assert int(paths.held[0]) > 10
    assert float(points[:, 1].max()) <= 1.2
    # Tangent circles about (+-c, 0) of radius 1.2 to the line y = 1.2, along which it runs: each arc is
    # arcosh-like, artanh(sqrt(1.2^2 - 1) / 1.2) long, and spans sqrt(1.2^2 - 1) of the base line.
    span = math.sqrt(1.2**2 - 1)
    expected = 2 * math.atanh(span / 1.2) + (2 - 2 * span) / 1.2
    # Second order in the step while the box binds: (2 / 119)^2 / 24 = 1e-5.
    assert float(paths.length[0]) == pytest.approx(expected, rel=1e-5)
    assert float(paths.length[0]) > float(metric.distance(starts, ends)[0])
    # Where the box takes hold and lets go the curve bends, which is none of its fault. The difference of a point reads
    # two neighbours on either side.
    raw, held = geodesic_residual(metric, paths.points, paths.tangents)[0], points[:, 1] >= 1.2
    aside = torch.nn.functional.pad(held, (1, 1)).unfold(0, 5, 1)
    assert min(float(raw[aside[:, side] & ~aside[:, 2]].max()) for side in (1, 3)) > 20 * RESIDUAL_TOLERANCE
    second = aside[:, [0, 4]].any(dim=1) & ~aside[:, 1:4].any(dim=1)
    left_out = aside.any(dim=1)
    assert float(paths.residual[0]) == float(raw[~left_out].max()) < 2 * RESIDUAL_TOLERANCE
    assert float(raw[second].min()) > 10 * float(paths.residual[0])
    free = geodesics(metric, starts, ends, box=((-2.0, 2.0), (0.5, 3.0)))
    assert int(free.held[0]) == 0
    torch.testing.assert_close(free.length, metric.distance(starts, ends), rtol=1e-9, atol=0)


def test_a_gridded_metric_keeps_its_curves_in_its_box():
    metric = smooth_metric(NormalMetric(), Grid(BOX, (33, 33)))
    starts, ends = pairs(10)
    paths = geodesics(metric, starts, ends)
    assert bool(paths.converged.all())
    assert bool(((paths.points >= 0.4) & (paths.points <= 2.4)).all())
    # Interpolation of fourth order in 1/16.
    inside = paths.held == 0
    torch.testing.assert_close(
        paths.length[inside], NormalMetric().distance(starts, ends)[inside], rtol=1e-4, atol=0
    )
    with pytest.raises(ValueError, match="outside the box"):
        geodesics(metric, starts - 3, ends)
    moved = geodesics(metric, starts - 1, ends, points=5, grid_starts=False)
    assert moved.failed.tolist() == (starts - 1 < 0.4).any(dim=1).tolist()
    assert 0 < int(moved.failed.sum()) < 10


def test_beyond_a_conjugate_point_a_geodesic_is_not_minimal():
    metric = SphereMetric()
    # The long way around along the equator solves the equation, but is no minimum: pi is the conjugate point.
    s = torch.linspace(0, 1.3 * math.pi, 41, dtype=torch.float64)
    points = torch.stack([torch.full_like(s, math.pi / 2), s], dim=-1)[None]
    tangents = torch.zeros_like(points)
    tangents[..., 1] = s[1]
    solved = minimise(metric, points, tangents, max_iterations=0)
    assert not bool(solved.minimal[0])
    short = minimise(metric, points[:, :24], tangents[:, :24], max_iterations=0)
    assert bool(short.minimal[0])


def test_pairs_of_one_point_have_no_length():
    starts, _ = pairs(2)
    paths = geodesics(HalfPlaneMetric(), starts, starts)
    assert paths.length.tolist() == [0.0, 0.0]
    assert bool(paths.converged.all())
    assert paths.residual.tolist() == [0.0, 0.0]


def test_what_cannot_be_solved_is_refused():
    starts, ends = pairs(2)
    with pytest.raises(ValueError, match="must both be"):
        geodesics(QUADRATIC, starts, ends[:1])
    with pytest.raises(ValueError, match="not finite"):
        geodesics(QUADRATIC, starts, ends * torch.nan)
    with pytest.raises(ValueError, match="points is 2"):
        geodesics(QUADRATIC, starts, ends, points=2)
    with pytest.raises(ValueError, match="no pair"):
        geodesics(QUADRATIC, starts[:0], ends[:0])
    with pytest.raises(ValueError, match="negative or not finite"):
        geodesics(lambda t: -QUADRATIC(t), starts, ends, grid_starts=False)


def test_a_metric_with_a_negative_direction_is_refused_and_never_converges():
    # Along the line from (0, 0) to (1, 0.1) squared lengths are positive, but swerves in y shorten it without bound.
    split = FunctionMetric(
        lambda t: torch.diag_embed(torch.stack([t[..., 0] * 0 + 1, t[..., 1] * 0 - 1], dim=-1))
    )
    starts, ends = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[1.0, 0.1]], dtype=torch.float64)
    for grid_starts in (True, False):
        with pytest.raises(ValueError, match="not positive definite along 1 of 1"):
            geodesics(split, starts, ends, grid_starts=grid_starts)
    line = straight(starts, ends, 20)
    solved = minimise(split, line, (ends - starts)[:, None].expand_as(line) / 19)
    assert not bool(solved.converged[0])
    assert not bool(solved.minimal[0])
    # The flag is of each curve: one where the metric is positive converges beside one where it is not.
    starts, ends = (
        torch.tensor([[0.0, 2.0], [0.0, -2.0]]).double(),
        torch.tensor([[1.0, 2.0], [1.0, -2.0]]).double(),
    )

    def half(t):
        sign = torch.tanh(8 * t[..., 1])
        return torch.diag_embed(torch.stack([torch.ones_like(sign), sign], dim=-1))

    line = straight(starts, ends, 20)
    solved = minimise(FunctionMetric(half), line, (ends - starts)[:, None].expand_as(line) / 19)
    assert solved.converged.tolist() == [True, False]


def test_block_tridiagonal_systems_against_dense_ones():
    generator = torch.Generator().manual_seed(0)
    diagonal = torch.randn(5, 7, 3, 3, generator=generator, dtype=torch.float64)
    upper = torch.randn(5, 6, 3, 3, generator=generator, dtype=torch.float64)
    right = torch.randn(5, 7, 3, generator=generator, dtype=torch.float64)
    diagonal = diagonal @ diagonal.mT + 6 * torch.eye(3, dtype=torch.float64)
    diagonal[2] -= 30 * torch.eye(3, dtype=torch.float64)
    dense = torch.zeros(5, 21, 21, dtype=torch.float64)
    for k in range(7):
        dense[:, 3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = diagonal[:, k]
        if k < 6:
            dense[:, 3 * k : 3 * k + 3, 3 * k + 3 : 3 * k + 6] = upper[:, k]
            dense[:, 3 * k + 3 : 3 * k + 6, 3 * k : 3 * k + 3] = upper[:, k].mT
    solution, definite = block_tridiagonal.solve(diagonal, upper, right)
    positive = torch.linalg.eigvalsh(dense)[:, 0] > 0
    assert definite.tolist() == positive.tolist()
    assert not positive[2]
    assert positive.sum() >= 3
    expected = torch.linalg.solve(dense, right.flatten(1)).unflatten(1, (7, 3))
    torch.testing.assert_close(solution[positive], expected[positive])


def test_energy_and_length_of_a_known_curve():
    # The vertical line of the half-plane from y = 1 to e: length 1; at constant speed its energy is 1.
    s = torch.linspace(0, 1, 33, dtype=torch.float64)
    curve = torch.stack([torch.zeros_like(s), s.exp()], dim=-1)[None]
    assert float(length(curve, HalfPlaneMetric())) == pytest.approx(1, abs=1e-12)
    errors = [float(Curves.polyline(curve[:, ::k]).energy(HalfPlaneMetric(), nodes=1)) - 1 for k in (4, 2)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)  # the midpoint rule is of second order
    uneven = torch.stack([torch.zeros_like(s), (s**2).exp()], dim=-1)[None]
    assert float(length(uneven, HalfPlaneMetric())) == pytest.approx(1, abs=1e-12)
    assert (
        float(Curves.polyline(uneven).energy(HalfPlaneMetric(), nodes=4)) > 1.3
    )  # integral of (2 s)^2 is 4/3


def test_length_does_not_depend_on_direction_or_spacing():
    metric, (starts, ends) = NormalMetric(), pairs(4)
    line = straight(starts, ends, 20)
    share = torch.linspace(0, 1, 20, dtype=torch.float64)[:, None] ** 2
    uneven = starts[:, None] + share * (ends - starts)[:, None]
    torch.testing.assert_close(length(line.flip(1), metric), length(line, metric))
    torch.testing.assert_close(length(uneven, metric), length(line, metric), rtol=1e-9, atol=0)


def test_symmetrised_kl_is_the_energy_of_the_polyline():
    potential = POTENTIALS["three_phases_soft"]
    curve = straight(*pairs(3), 12) - 1.4
    steps, gradients = curve.diff(dim=1), potential.gradient(curve).diff(dim=1)
    by_gradient = steps.shape[1] * (steps * gradients).sum(dim=(1, 2))
    by_hessian = Curves.polyline(curve).energy(HessianMetric(potential), nodes=12)
    torch.testing.assert_close(by_gradient, by_hessian, rtol=1e-8, atol=0)


def test_equidistant_points_of_a_polyline():
    # On the vertical line of the half-plane equal distances are equal ratios of y.
    y = torch.linspace(1, 16, 7, dtype=torch.float64)
    line = torch.stack([torch.zeros_like(y), y], dim=-1)[None]
    even = equidistant(line, HalfPlaneMetric(), 5)
    torch.testing.assert_close(
        even[0, :, 1], torch.tensor([1.0, 2, 4, 8, 16], dtype=torch.float64), rtol=1e-8, atol=0
    )
    # Points that repeat have no length between them, and no share of the result.
    repeated = torch.cat([line[:, :1], line[:, :1], line], dim=1)
    torch.testing.assert_close(equidistant(repeated, HalfPlaneMetric(), 5), even)
    with pytest.raises(ValueError, match="count is 1"):
        equidistant(line, HalfPlaneMetric(), 1)


def ridge(t):
    """A ridge of width 0.05 at 7.3: eight nodes of quadrature on [0, 10] miss it."""
    height = 1 + 200 * torch.exp(-(((t[..., 0] - 7.3) / 0.05) ** 2))
    return height[..., None, None] ** 2 * torch.eye(2, dtype=t.dtype)


def test_a_long_segment_is_measured_as_its_short_ones_are():
    x = torch.tensor([0.0, 1.0, 10.0], dtype=torch.float64)
    line = torch.stack([x, torch.zeros_like(x)], dim=-1)[None].repeat(2, 1, 1)
    line[1] *= 0
    exact = 10 + 200 * 0.05 * math.sqrt(math.pi)
    torch.testing.assert_close(length(line, ridge), line.new_tensor([exact, 0.0]), rtol=1e-12, atol=0)
    fine = subdivided(line, 0.05)
    assert float(fine.diff(dim=1).norm(dim=-1).max()) <= 0.05 * (1 + 1e-9)
    for point in line[0]:
        assert float((fine[0] - point).norm(dim=-1).min()) == 0
    torch.testing.assert_close(length(fine, ridge), line.new_tensor([exact, 0.0]), rtol=1e-12, atol=0)
    torch.testing.assert_close(subdivided(line, 20.0), line)
    with pytest.raises(ValueError, match="step is 0"):
        subdivided(line, 0)


def test_curvature_of_a_circle_is_one_over_its_radius():
    errors = []
    for points in (51, 101):
        angle = torch.linspace(0, 2, points, dtype=torch.float64)
        circle = 0.5 * torch.stack([angle.cos(), angle.sin()], dim=-1)[None]
        torch.testing.assert_close(
            turning_angles(circle), torch.full((1, points - 2), 2 / (points - 1), dtype=torch.float64)
        )
        errors.append(2 - float(curvature(circle)))
    # The angles at the two ends are not there: first order.
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
    assert float(curvature(straight(*pairs(1), 9))) < 1e-12
    with pytest.raises(ValueError, match="at least 3"):
        curvature(straight(*pairs(1), 2))


def test_hermite_curves_reproduce_cubics():
    s = torch.linspace(0, 1, 4, dtype=torch.float64)
    points = torch.stack([s**3, 1 - s**2], dim=-1)[None]
    slopes = torch.stack([3 * s**2, -2 * s], dim=-1)[None]
    curve, fine = Curves.hermite(points, slopes / 3), torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(curve.at(fine)[0], torch.stack([fine**3, 1 - fine**2], dim=-1))
    torch.testing.assert_close(curve.velocity(fine)[0], torch.stack([3 * fine**2, -2 * fine], dim=-1))
    with pytest.raises(ValueError, match="n at least 2"):
        Curves.polyline(points[:, :1])


@pytest.mark.parametrize(("neighbours", "excess"), [(8, 1.0824), (16, 1.0275), (32, 1.0131)])
def test_paths_on_a_grid_are_as_long_as_their_stencil_says(neighbours, excess):
    # The worst direction lies half-way between two neighbouring steps, whatever the spacing.
    grid = Grid(((0.0, 1.0), (0.0, 1.0)), (41, 41))
    points = grid.points
    graph = grid_graph(ConstantMetric(), grid, neighbours=neighbours)
    ratio = graph.distances([0])[0, 1:] / np.linalg.norm(points[1:], axis=1)
    assert ratio.min() >= 1 - 1e-12
    assert excess - 0.006 < ratio.max() < excess + 1e-4


def test_grid_paths_join_their_pairs_and_leave_out_what_is_not_positive():
    grid = Grid(((0.0, 1.0), (-1.0, 1.0)), (21, 21))

    def walled(t):  # no metric on the strip |y| < 0.1 but for a gap
        wall = (t[..., 1].abs() < 0.1) & (t[..., 0] < 0.8)
        return torch.where(wall[..., None, None], -1.0, 1.0) * torch.eye(2, dtype=t.dtype)

    graph = grid_graph(walled, grid)
    assert graph.impassable > 0
    start, end = np.array([[0.11, -0.93], [0.5, -0.5]]), np.array([[0.12, 0.87], [0.52, -0.5]])
    paths = grid_paths(graph, start, end, count=30)
    np.testing.assert_array_equal(paths[:, 0], start)
    np.testing.assert_array_equal(paths[:, -1], end)
    assert paths[0, :, 0].max() > 0.75
    assert paths[1, :, 0].max() < 0.6
    with pytest.raises(ValueError, match="neighbours is 12"):
        grid_graph(walled, grid, neighbours=12)


def test_exponential_map_of_the_half_plane():
    metric, (starts, ends) = HalfPlaneMetric(), pairs(3)
    s = torch.tensor([0.0, 1e-4, 1.0], dtype=torch.float64)
    points = metric.geodesic(starts, ends, s)
    velocity = (points[:, 1] - points[:, 0]) / 1e-4
    found = logarithm(metric, starts, ends, points=25, steps=60)
    torch.testing.assert_close(found.velocity, velocity, rtol=1e-3, atol=1e-3)
    assert bool(found.converged.all())
    norm = torch.einsum("mi,mij,mj->m", found.velocity, metric(starts), found.velocity).sqrt()
    torch.testing.assert_close(norm, metric.distance(starts, ends), rtol=1e-7, atol=0)
    errors = [
        float((exponential(metric, starts, found.velocity, steps=steps) - ends).norm(dim=-1).max())
        for steps in (5, 10)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.8)  # Runge-Kutta
    path, speed = exponential_path(metric, starts, found.velocity, steps=60)
    norms = torch.einsum("smi,smij,smj->sm", speed, metric(path), speed).sqrt()
    torch.testing.assert_close(norms, norms[:1].expand_as(norms), rtol=1e-6, atol=0)


def test_distance_matrix_is_a_metric_space():
    points = pairs(3)[0].repeat(2, 1)[:5] + torch.arange(5, dtype=torch.float64)[:, None] / 10
    found = distance_matrix(SphereMetric(), points.clamp(0.4, 2.4), points=25)
    expected = SphereMetric().distance(points.clamp(0.4, 2.4)[:, None], points.clamp(0.4, 2.4)[None])
    torch.testing.assert_close(found.matrix, expected, rtol=1e-7, atol=1e-9)
    assert found.unconverged == 0
    assert found.uncertified == 0
    with pytest.raises(ValueError, match="no distances"):
        distance_matrix(SphereMetric(), points[:1])


def test_the_published_scheme_never_leaves_the_straight_line_of_a_conformal_metric():
    # Without the gradient through g, balance is g_k d_k = g_{k+1} d_{k+1}: where g is a multiple of the identity, all
    # d_k are parallel.
    metric = HalfPlaneMetric()
    starts, ends = (
        torch.tensor([[-1.0, 0.5]], dtype=torch.float64),
        torch.tensor([[1.0, 0.5]], dtype=torch.float64),
    )
    ours = geodesics(metric, starts, ends, points=20)
    detached = adam_geodesics(metric, starts, ends, points=20, steps=200)
    attached = adam_geodesics(metric, starts, ends, points=20, steps=400, detach=False)
    assert float(detached.length[0]) == pytest.approx(
        4, rel=1e-9
    )  # 2 / 0.5; the geodesic: 2 arsinh 2 = 2.887
    # A polyline of 20 points on the geodesic is longer by its second-order error, 1e-3.
    assert float(ours.length[0]) < float(attached.length[0]) < 1.005 * float(ours.length[0])
    flat = adam_geodesics(QUADRATIC, starts, ends, points=10, steps=5)
    torch.testing.assert_close(flat.length, QUADRATIC.distance(starts, ends), rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match="points is 2"):
        adam_geodesics(metric, starts, ends, points=2)
