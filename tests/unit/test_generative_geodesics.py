"""Lengths, graphs, refinement and the geodesic equation in metrics whose distances are known."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erfi
from truths import boundary_value_geodesic

from hessgeo.densities.base import Density
from hessgeo.densities.convergence import (
    compare_draws,
    fitted_slope,
    node_convergence,
    point_convergence,
    theoretical_slope,
)
from hessgeo.densities.experiments import reference_geodesic
from hessgeo.densities.mixtures import GaussianMixture
from hessgeo.densities.toys import HORSESHOE_BOX, HORSESHOE_ENDS, horseshoe
from hessgeo.geodesics import geodesics
from hessgeo.geodesics.chains import energy_and_gradient, refine, resample
from hessgeo.geodesics.graphs import connecting_radius, epsilon_edges, geodesic_graph, neighbour_edges


def metric_of(density, log_p0, log_lam):
    return density.metric(log_p0=log_p0, log_lam=log_lam)


class Height(Density):
    """``p(x) = x_2``, not normalised: with ``lam = 0`` and ``p0 = 1`` its metric is the hyperbolic half-plane."""

    dimension = 2

    def log_prob(self, x):
        return x[..., 1].log()


HALF_PLANE = metric_of(Height(), 0.0, -math.inf)
ENDS = torch.tensor([[-1.0, 0.5], [1.2, 1.0]], dtype=torch.float64)
DISTANCE = math.acosh(1 + (ENDS[1] - ENDS[0]).square().sum().item() / (2 * 0.5 * 1.0))
SHOE_ENDS = torch.tensor(HORSESHOE_ENDS, dtype=torch.float64)


def line(ends=ENDS, count=20):
    return ends[0] + torch.linspace(0, 1, count, dtype=torch.float64)[:, None] * (ends[1] - ends[0])


def unit_normal():
    return GaussianMixture(
        torch.ones(1, dtype=torch.float64),
        torch.zeros(1, 2, dtype=torch.float64),
        torch.eye(2, dtype=torch.float64)[None],
    )


def uniform(count, seed):
    return torch.rand((count, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The metric.


def test_the_metric_is_the_formula_of_the_paper():
    density, x = unit_normal(), torch.randn((6, 2), dtype=torch.float64)
    p = density.log_prob(x).exp()
    metric = metric_of(density, math.log(0.2), math.log(0.03))
    expected = (0.23 / (p + 0.03)) ** 2
    torch.testing.assert_close(metric(x), expected[:, None, None] * torch.eye(2, dtype=torch.float64))


def test_a_large_lam_is_euclidean_and_a_small_one_the_inverse_density():
    density = unit_normal()
    path = line(torch.tensor([[-1.0, 0.0], [2.0, 1.0]], dtype=torch.float64))
    euclidean = metric_of(density, -1.0, math.inf)
    assert euclidean.length(path) == pytest.approx(math.sqrt(10), rel=1e-12)
    assert metric_of(density, -1.0, 40.0).length(path) == pytest.approx(math.sqrt(10), rel=1e-12)
    inverse = metric_of(density, -1.0, -math.inf).length(path)
    assert metric_of(density, -1.0, -60.0).length(path) == pytest.approx(inverse, rel=1e-12)
    # Between the limits the length falls as lam grows, where p0 is above p on all of the path.
    lengths = [metric_of(density, 0.0, log_lam).length(path) for log_lam in (-8, -4, -2, 0, 4)]
    assert (np.diff(lengths) < 0).all()


def test_a_radial_line_of_a_normal_density_has_the_length_of_its_integral():
    # int_0^b exp(x^2 / 2) dx = sqrt(pi / 2) erfi(b / sqrt 2); by symmetry the line is the shortest path.
    metric = metric_of(unit_normal(), -math.log(2 * math.pi), -math.inf)
    radius = torch.tensor([[0.0, 0.0], [1.2, 1.6]], dtype=torch.float64)
    exact = math.sqrt(math.pi / 2) * erfi(2 / math.sqrt(2))
    assert metric.length(line(radius, 10), nodes=8) == pytest.approx(exact, rel=1e-12)
    bent = line(radius, 9) + torch.tensor([0.1, -0.1]) * torch.linspace(0, math.pi, 9).sin()[:, None]
    refined = refine(bent, metric, count=33)
    # Points on the line itself: no chord is cut, and the rest is the quadrature's.
    assert refined.length == pytest.approx(exact, rel=1e-6)


def test_no_density_is_too_small_for_a_length():
    far = torch.tensor([[50.0, 0.0], [51.0, 0.0]], dtype=torch.float64)
    metric = metric_of(unit_normal(), 0.0, -2000.0)
    assert math.isinf(metric.length(far))  # exp(1250) has no floating-point number
    assert math.isfinite(metric_of(unit_normal(), 0.0, -600.0).length(far))
    assert math.exp(600) == pytest.approx(metric_of(unit_normal(), 0.0, -600.0).length(far), rel=1e-9)


def test_lam_by_quantile_is_the_density_at_that_share_of_the_data():
    density, data = horseshoe(), horseshoe().sample(500, torch.Generator().manual_seed(0))
    metric = density.metric_of(data, quantile=0.1)
    log_p = density.log_prob(data)
    assert (log_p < metric.log_lam).double().mean().item() == pytest.approx(0.1, abs=1 / 500)
    assert (log_p < metric.log_p0).double().mean().item() == pytest.approx(0.5, abs=1 / 500)


# The refinement and the geodesic equation.


def test_a_refined_path_comes_to_the_half_circle_at_second_order():
    errors = []
    for count in (17, 33, 65):
        found = refine(line(), HALF_PLANE, count=count)
        assert found.converged
        steps = HALF_PLANE.segment_lengths(found.points[:-1], found.points[1:], nodes=8)
        # Equal by the quadrature of the energy, which errs on chords that double the height of their ends.
        assert (steps.max() / steps.min()).item() == pytest.approx(1, abs=0.03 * (16 / count) ** 2)
        errors.append(found.length / DISTANCE - 1)
    assert min(errors) > 0  # a chain of segments is no shorter than the distance
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2, atol=0.02)
    centre = (1.2**2 + 1 - 1 - 0.25) / (2 * 2.2)
    radius = (found.points - torch.tensor([centre, 0.0])).norm(dim=1)
    assert (radius / radius[0] - 1).abs().max().item() < 1e-4


def test_geodesics_of_a_density_are_those_of_its_differential_equation():
    _, length = boundary_value_geodesic(HALF_PLANE, refine(line(), HALF_PLANE, count=33).points)
    assert length == pytest.approx(DISTANCE, rel=1e-9)
    # A kernel estimate, whose distances torch cannot differentiate forward by its own function.
    metric = metric_of(horseshoe(), math.log(0.3), math.log(0.1))
    found = geodesics(metric, SHOE_ENDS[:1], SHOE_ENDS[1:], points=65, box=HORSESHOE_BOX, grid_nodes=25)
    assert found.reasons() == [None]
    _, length = boundary_value_geodesic(metric, found.points[0])
    assert found.length.item() == pytest.approx(length, rel=1e-9)


def test_the_gradient_of_the_energy_is_that_of_its_differences():
    metric = metric_of(horseshoe(), -1.0, -3.0)
    generator = torch.Generator().manual_seed(0)
    path = line(SHOE_ENDS, 6) + 0.2 * torch.randn((6, 2), generator=generator, dtype=torch.float64)
    _, gradient = energy_and_gradient(path, metric)
    for row, axis in ((0, 0), (2, 1), (5, 0)):
        shift = torch.zeros_like(path)
        shift[row, axis] = 1e-5
        ahead, behind = (energy_and_gradient(path + s * shift, metric)[0] for s in (1, -1))
        assert gradient[row, axis].item() == pytest.approx((ahead - behind) / 2e-5, rel=1e-6, abs=1e-8)


def test_a_refined_path_is_never_longer():
    shortest = refine(line(), HALF_PLANE, count=65).points
    again = refine(shortest, HALF_PLANE, count=9)
    assert not again.shortened
    assert torch.equal(again.points, shortest)
    assert again.length == again.start_length
    assert refine(line(), HALF_PLANE, count=9).shortened


def test_points_are_resampled_at_equal_distances():
    chain = line(count=7)
    path = resample(chain, HALF_PLANE, 30)
    assert torch.equal(path[[0, -1]], chain[[0, -1]])
    steps = HALF_PLANE.segment_lengths(path[:-1], path[1:])
    assert (steps.max() / steps.min()).item() == pytest.approx(1, abs=0.01)  # linear in parts of a segment


def test_geodesics_in_three_dimensions_stay_on_their_plane():
    # The half-space: the same half circle on a vertical plane.
    class Upper(Density):
        dimension = 3

        def log_prob(self, x):
            return x[..., 2].log()

    along = torch.tensor([0.6, 0.8, 0.0], dtype=torch.float64)
    ends = ENDS[:, :1] * along + ENDS[:, 1:] * torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    metric = metric_of(Upper(), 0.0, -math.inf)
    found = refine(line(ends), metric, count=33)
    assert found.length == pytest.approx(refine(line(), HALF_PLANE, count=33).length, rel=1e-9)
    assert (found.points @ torch.tensor([0.8, -0.6, 0.0], dtype=torch.float64)).abs().max().item() < 1e-7


# Graphs.


def test_edges_are_all_pairs_within_epsilon_or_nearest_neighbours():
    points = uniform(60, 0).numpy()
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    expected = np.argwhere(np.triu(distance <= 0.2, 1))
    np.testing.assert_array_equal(epsilon_edges(points, 0.2), expected)
    near = np.argsort(distance, axis=1)[:, 1:4]
    either = {(min(i, j), max(i, j)) for i, row in enumerate(near) for j in row}
    assert set(map(tuple, neighbour_edges(points, 3))) == either


def test_the_connecting_radius_is_where_a_graph_becomes_one():
    flat = metric_of(Height(), 0.0, math.inf)
    for seed in range(5):
        points = uniform(80, seed).numpy()
        points[:40] += 3  # two parts far apart, which no few neighbours join
        radius = connecting_radius(points)
        joined = geodesic_graph(points, epsilon_edges(points, radius), flat)
        apart = geodesic_graph(points, epsilon_edges(points, radius * (1 - 1e-9)), flat)
        assert (joined.component_count, joined.unreachable_pairs) == (1, 0)
        assert (apart.component_count, apart.unreachable_pairs) == (2, 40 * 40)
        distances = apart.distances([0])[0]
        assert np.isinf(distances).sum() == 40
        with pytest.raises(ValueError, match="no path leads from point 0 to 79"):
            apart.paths(0, [79])


def test_distances_and_paths_agree_and_obey_the_triangle_inequality():
    points = torch.cat([ENDS, uniform(200, 1) * 2 + torch.tensor([-1.0, 0.3])]).numpy()
    graph = geodesic_graph(points, epsilon_edges(points, 0.5), HALF_PLANE)
    distances = graph.distances(np.arange(len(points)))
    np.testing.assert_allclose(distances, distances.T, rtol=1e-12)
    (path,) = graph.paths(0, [1])
    assert HALF_PLANE.length(torch.from_numpy(points[path]), nodes=3) == pytest.approx(distances[0, 1])
    assert (distances[0] <= distances[0, :, None] + distances + 1e-9).all()
    assert distances[0, 1] >= DISTANCE  # a chain of segments


def test_an_edge_beyond_all_numbers_is_left_out_and_counted():
    metric = metric_of(unit_normal(), 0.0, -math.inf)
    points = np.array([[0.0, 0.0], [1.0, 0.0], [60.0, 0.0]])
    graph = geodesic_graph(points, np.array([[0, 1], [1, 2]]), metric)
    assert (graph.impassable, graph.edge_count, graph.component_count) == (1, 1, 2)
    np.testing.assert_array_equal(graph.edges, [[0, 1]])


def test_points_in_one_place_are_joined():
    flat = metric_of(Height(), 0.0, math.inf)
    points = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    graph = geodesic_graph(points, epsilon_edges(points, 1.5), flat)
    assert graph.component_count == 1
    np.testing.assert_allclose(graph.distances([0])[0], [0, 0, 1], atol=1e-300)
    assert connecting_radius(points) == pytest.approx(1)


def test_quadrature_blocks_do_not_change_a_graph(monkeypatch):
    points = (uniform(50, 2) + 0.2).numpy()
    edges = epsilon_edges(points, 0.4)
    expected = geodesic_graph(points, edges, HALF_PLANE).weights.toarray()
    monkeypatch.setattr("hessgeo.metrics.conformal.BLOCK", 10)
    np.testing.assert_allclose(
        geodesic_graph(points, edges, HALF_PLANE).weights.toarray(), expected, rtol=1e-14
    )


def ridge(width, height):
    """``p`` falls in a gap of that width about ``x_1 = 0``, and what an edge across it costs beyond its length."""

    class Gap(Density):
        dimension = 2

        def log_prob(self, x):
            return -(1 + height * torch.exp(-(x[..., 0] ** 2) / (2 * width**2))).log()

    return metric_of(Gap(), 0.0, -math.inf), height * width * math.sqrt(2 * math.pi)


@pytest.mark.parametrize(("width", "height"), [(0.3, 10.0), (0.02, 200.0), (0.01, 1e3)])
def test_no_edge_costs_less_than_its_integral(width, height):
    metric, crossing = ridge(width, height)
    points = np.array([[-1.0, 0.0], [-0.9, 0.1], [1.0, 0.0], [1.1, 0.1], [30.0, 0.0]])  # one far out
    graph = geodesic_graph(points, epsilon_edges(points, 60.0), metric)
    exact = np.linalg.norm(points[2] - points[0]) + crossing * math.erf(1 / (width * math.sqrt(2)))
    assert graph.weights[0, 2] == pytest.approx(exact, rel=1e-5)
    assert graph.weights[0, 4] == pytest.approx(
        31 + crossing / 2 * (1 + math.erf(1 / (width * math.sqrt(2)))), rel=1e-5
    )
    low, high = torch.from_numpy(points[graph.edges]).unbind(1)
    fine = metric.segment_lengths(low, high, tolerance=1e-10, scale=0.01)
    np.testing.assert_allclose(graph.weights[tuple(graph.edges.T)], fine.numpy(), rtol=1e-5)


def test_a_minimum_that_is_local_is_called_so():
    # A low ring around a hill: around it on either side, or straight over.
    class Hill(Density):
        dimension = 2

        def log_prob(self, x):
            return -(1 + 3 * torch.exp(-x.square().sum(-1) / (2 * 0.3**2))).log()

    metric = metric_of(Hill(), 0.0, -math.inf)
    angle = torch.linspace(math.pi, 0, 30, dtype=torch.float64)
    far = 3 * torch.stack([angle.cos(), angle.sin()], dim=1)
    far[0], far[-1] = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0])
    around = refine(far, metric, count=33)
    assert around.local
    assert around.length <= refine(far[[0, -1]], metric, count=33).length
    bent = line() + 0.1 * torch.linspace(0, math.pi, 20).sin()[:, None]
    alone = refine(bent, HALF_PLANE, count=33)
    assert not alone.local
    assert alone.converged


# Convergence.


def test_swerves_fall_with_the_square_of_the_number_of_points():
    # In the flat plane at a fixed epsilon only swerves are left: their share goes as (n epsilon^2)^-2.
    flat = metric_of(Height(), 0.0, math.inf)
    ends = np.array([[0.1, 0.25], [0.9, 0.25]])
    box = np.array([1.0, 0.5])
    counts, errors = [400, 800, 1600], []
    for count in counts:
        found = []
        for seed in range(8):
            points = np.concatenate([ends, uniform(count, 100 * seed + count).numpy() * box])
            graph = geodesic_graph(points, epsilon_edges(points, 0.17), flat, nodes=1)
            found.append(graph.distances([0])[0, 1] / 0.8 - 1)
        errors.append(np.mean(found))
    slope, _ = fitted_slope(np.array(counts, dtype=float), np.array(errors))
    assert slope == pytest.approx(-2, rel=0.2)  # the bound that the experiment has to meet


def test_graph_distances_in_the_half_plane_converge_at_the_rate_of_theory():
    def draw(count, seed):
        return uniform(count, seed) * torch.tensor([3.0, 1.6]) + torch.tensor([-1.4, 0.25])

    table = point_convergence(
        HALF_PLANE, ENDS, DISTANCE, draw, counts=[500, 1000, 2000], replicates=6, factor=3.6
    )
    mean = table.groupby("count")["error"].mean()
    assert (np.diff(mean) < 0).all()
    slope, _ = fitted_slope(mean.index.to_numpy(dtype=float), mean.to_numpy())
    assert slope == pytest.approx(theoretical_slope(2), rel=0.2)
    assert (table["components"] == 1).all()


def test_both_draws_have_their_rows():
    metric = metric_of(horseshoe(), math.log(0.3), math.log(0.05))
    table = compare_draws(
        horseshoe(), metric, SHOE_ENDS, 2.7, box=HORSESHOE_BOX, counts=[100, 200], replicates=2, factor=2.0
    )
    assert table.groupby(["draw", "count"], sort=False).size().to_dict() == {
        (draw, count): 2 for draw in ("uniform", "density") for count in (100, 200)
    }
    again = compare_draws(
        horseshoe(), metric, SHOE_ENDS, 2.7, box=HORSESHOE_BOX, counts=[200], replicates=1, factor=2.0
    )
    # A graph depends on the seed, its size and its number alone.
    first = table[(table["count"] == 200) & (table["replicate"] == 0)]
    assert first["error"].tolist() == again["error"].tolist()


def test_the_quadrature_converges_at_twice_the_number_of_nodes():
    metric = metric_of(horseshoe(), math.log(0.3), math.log(0.3))
    segments = torch.tensor([[[-1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.2], [0.5, 0.8]]], dtype=torch.float64)
    table = node_convergence(metric, segments, panels=[8, 16, 32], nodes=[1, 2, 3])
    alone = [node_convergence(metric, s[None], panels=[8], nodes=[1])["error"].item() for s in segments]
    assert table["error"][0] == pytest.approx(math.hypot(*alone) / math.sqrt(2), rel=1e-12)
    for nodes, part in table.groupby("nodes"):
        slope, _ = fitted_slope(part["panels"].to_numpy(dtype=float), part["error"].to_numpy())
        assert slope == pytest.approx(-2 * nodes, rel=0.1)


def test_the_reference_is_shorter_than_every_graph_and_solves_its_equation():
    metric = metric_of(horseshoe(), math.log(0.3), math.log(0.05))
    path, length, residual = reference_geodesic(metric, SHOE_ENDS, HORSESHOE_BOX, spacing=0.1)
    assert residual < 1e-8
    steps = metric.segment_lengths(path[:-1], path[1:])
    assert (steps.max() / steps.min()).item() == pytest.approx(
        1, abs=1e-3
    )  # equal arcs, whose chords bend alike
    assert length == pytest.approx(metric.length(path, nodes=8), rel=1e-3)  # 64 chords
    assert length < metric.length(path, nodes=8)
    # The density is the same left and right.
    torch.testing.assert_close(path.flip(0) * torch.tensor([-1.0, 1.0]), path, rtol=0, atol=1e-6)


def test_a_reference_that_is_not_certified_is_an_error(monkeypatch):
    rough = geodesics(HALF_PLANE, ENDS[:1], ENDS[1:], points=8, max_iterations=1, grid_starts=False)
    monkeypatch.setattr("hessgeo.densities.experiments.geodesics", lambda *_, **options: rough)
    with pytest.raises(
        ArithmeticError, match=r"the geodesic from \[-1.0, 0.5\] to \[1.2, 1.0\]: Newton's decrement"
    ):
        reference_geodesic(HALF_PLANE, ENDS, HORSESHOE_BOX)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metric_of(Height(), math.inf, 0.0), "log_p0 is inf, must be finite"),
        (lambda: metric_of(Height(), 0.0, math.nan), "log_lam is NaN"),
        (lambda: HALF_PLANE.length(ENDS, nodes=0), "nodes is 0, must be at least 1"),
        (lambda: HALF_PLANE.length(-ENDS), "lengths are NaN"),
        (lambda: Height().metric_of(ENDS, quantile=2.0), "quantile is 2.0, must be between 0 and 1"),
        (lambda: epsilon_edges(ENDS.numpy(), 0.0), "epsilon is 0.0, must be positive"),
        (lambda: neighbour_edges(ENDS.numpy(), 2), "neighbours is 2, must be between 1 and 1"),
        (lambda: connecting_radius(ENDS.numpy()[:1]), "two points or more"),
        (
            lambda: geodesic_graph(ENDS.numpy(), np.array([[0, 0]]), HALF_PLANE),
            "each edge must join two points",
        ),
        (
            lambda: geodesic_graph(ENDS.numpy(), np.array([[0, 1], [1, 0]]), HALF_PLANE),
            "stand in the list once",
        ),
        (lambda: refine(line(), HALF_PLANE, count=2), "count is 2"),
        (lambda: resample(ENDS[:1], HALF_PLANE, 5), "must be at least 2"),
        (lambda: fitted_slope(np.ones(2), np.ones(2)), "three points or more"),
    ],
)
def test_what_cannot_be_measured_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
