"""Lengths are measured: what fixed nodes pass over, curves that fail, and pairs that rounding hides."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from hessgeo.geodesics import Curves, geodesics
from hessgeo.geodesics.distances import distance_matrix
from hessgeo.geodesics.graphs import grid_graph
from hessgeo.geodesics.shooting import logarithm
from hessgeo.grids import Grid
from hessgeo.metrics.base import FunctionMetric
from hessgeo.metrics.known import HalfPlaneMetric, NormalMetric
from hessgeo.numerics.quadrature import MEASURED, gauss_kronrod, integrate


def pair(*ends):
    start, end = torch.tensor([ends], dtype=torch.float64).unbind(1)
    return start, end


def conformal(factor):
    """The metric in which a step costs ``factor(t)``."""
    return lambda t: factor(t)[..., None, None] ** 2 * torch.eye(2, dtype=t.dtype)


def stereographic(t):
    return 4 / (1 + (t**2).sum(-1))[..., None, None] ** 2 * torch.eye(2, dtype=t.dtype)


def on_sphere(t):
    square = (t**2).sum(-1, keepdim=True)
    return torch.cat([2 * t, square - 1], dim=-1) / (1 + square)


def wall(width, place=0.5, height=300.0):
    return conformal(lambda t: 1 + height * torch.exp(-((t[..., 0] - place) ** 2) / (2 * width**2)))


# Quadrature.


def test_the_rule_of_15_nodes_is_exact_to_degree_22_and_holds_gausss():
    nodes, kronrod, gauss = gauss_kronrod()
    for degree in range(23):
        assert float(nodes**degree @ kronrod) == pytest.approx(1 / (degree + 1), rel=1e-14)
    for degree in range(14):
        assert float(nodes[1::2] ** degree @ gauss) == pytest.approx(1 / (degree + 1), rel=1e-14)
    # Of degree 24 it is not, which shows on [-1, 1] alone.
    assert abs(float((2 * nodes - 1) ** 24 @ kronrod) * 25 - 1) > 1e-12


@pytest.mark.parametrize(
    ("name", "rate", "exact"),
    [
        ("smooth", lambda x: x.exp(), math.e - 1),
        ("steep", lambda x: 1 / (1e-7 + x), math.log1p(1e7)),
        ("root", lambda x: x.sqrt(), 2 / 3),
        ("singular", lambda x: x**-0.5, 2.0),
        (
            "jump",
            lambda x: torch.where(x < 1 / math.pi, 1.0, 100.0).to(x),
            1 / math.pi + 100 * (1 - 1 / math.pi),
        ),
        ("kink", lambda x: (x - 0.3).abs(), (0.3**2 + 0.7**2) / 2),
        ("cusp", lambda x: (x - 0.3).abs() ** (1 / 3), 0.75 * (0.3 ** (4 / 3) + 0.7 ** (4 / 3))),
        ("waves", lambda x: 2 + (300 * x).sin(), 2 + (1 - math.cos(300)) / 300),
        ("wall", lambda x: 1 + 1e6 * torch.exp(-(((x - 0.41234) / 1e-4) ** 2)), 1 + 100 * math.sqrt(math.pi)),
        ("tiny", lambda x: 1e-200 * x, 5e-201),
    ],
)
def test_integrals_are_right_to_the_error_that_they_state(name, rate, exact):
    like, one = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    found = integrate(lambda _, x: rate(x), one, 1, cells=160, like=like)
    assert abs(found.value.item() - exact) <= found.error.item()
    # What is singular is found to the last cell that floating-point numbers can halve.
    assert found.error.item() <= (1e-6 if name == "singular" else 3e-9) * exact
    assert float(found.part.sum()) == pytest.approx(exact, rel=1e-6)


def test_noise_of_single_precision_is_not_chased():
    like, one = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    found = integrate(lambda _, x: (1 / (0.1 + x.float())).double(), one, 1, cells=16, like=like)
    assert abs(found.value.item() - math.log(11)) < found.error.item() < MEASURED * math.log(11)
    assert len(found.part) < 2000


def test_what_has_no_integral_is_not_given_one():
    like = torch.zeros(1, dtype=torch.float64)

    def rate(piece, x):  # the first diverges, the second is nowhere defined on half of its way
        return torch.where(piece[:, None] == 0, 1 / (x - 1 / 3).abs(), (0.5 - x).sqrt())

    found = integrate(rate, torch.arange(2), 2, cells=8, like=like)
    assert not bool(found.error[0] <= MEASURED * found.value[0])
    assert found.value[1].isnan()


@pytest.mark.parametrize("place", [0.5, 0.1234567, 1 / math.pi])
def test_a_thin_wall_is_measured_wherever_it_stands(place):
    line = Curves.polyline(torch.tensor([[[0.0, 0.0], [1.0, 0.0]]], dtype=torch.float64))
    for width in (0.01, 0.003, 2e-4, 5e-5):
        exact = 1 + 300 * width * math.sqrt(2 * math.pi)
        found = line.measure(wall(width, place))
        assert found.length.item() == pytest.approx(exact, abs=max(found.error.item(), 1e-14), rel=1e-14)
        assert found.error.item() < 1e-8
        ends = line.at(line.equidistant(wall(width, place), 7))[0]
        steps = Curves.polyline(torch.stack([ends[:-1], ends[1:]], dim=1)).length(wall(width, place))
        torch.testing.assert_close(steps, torch.full_like(steps, exact / 6), rtol=1e-7, atol=0)


# Distances that are known.


@pytest.mark.parametrize(
    ("metric", "ends"),
    [
        (NormalMetric(), ((-50.0, 0.01), (50.0, 0.01))),
        (HalfPlaneMetric(), ((0.0, 1e-5), (0.0, 1.0))),
        (HalfPlaneMetric(), ((0.0, 1.0), (0.0, 1e-5))),
        (HalfPlaneMetric(), ((-1.0, 1e-4), (1.0, 1e-4))),
        (HalfPlaneMetric(), ((-3.0, 1e-3), (20.0, 5.0))),
    ],
)
def test_distances_over_many_orders_of_the_metric(metric, ends):
    start, end = pair(*ends)
    found = geodesics(metric, start, end)
    exact = float(metric.distance(start, end))
    assert bool(found.certified)
    assert -1e-12 < found.length.item() / exact - 1 < 1e-8
    assert found.length_error.item() < 1e-9 * exact


def test_lengths_across_a_thin_wall():
    for width in (0.003, 5e-4):
        exact = 1 + 300 * width * math.sqrt(2 * math.pi)
        found = geodesics(
            wall(width), *pair((0.0, 0.0), (1.0, 0.0)), points=16, grid_starts=False, max_iterations=8
        )
        assert found.length.item() == pytest.approx(exact, rel=1e-6)


def test_distances_on_the_sphere_keep_the_triangle_inequality():
    # The way between the first two passes near the point at infinity.
    t = torch.tensor([[3.0, 0.0], [-3.0, 0.1], [0.0, 2.5]], dtype=torch.float64)
    found = distance_matrix(stereographic, t, points=13, max_iterations=12)
    exact = torch.acos((on_sphere(t) @ on_sphere(t).T).clamp(-1, 1)).fill_diagonal_(0)
    assert bool((found.matrix >= exact - 1e-7).all())
    torch.testing.assert_close(found.matrix[2], exact[2], rtol=1e-4, atol=1e-12)
    ways = (found.matrix[:, :, None] + found.matrix[None]).amin(dim=1)
    assert bool((found.matrix <= ways * (1 + 1e-8)).all())
    assert found.failed == 0
    assert found.uncertified > 0 or abs(float(found.matrix[0, 1]) / float(exact[0, 1]) - 1) < 1e-3


# What fails, and what is hidden.


def pit(t):
    """Indefinite in a disc of radius 0.3 about (0, 0), the plane elsewhere."""
    sign = torch.tanh(20 * (t.norm(dim=-1) - 0.3))
    return torch.diag_embed(torch.stack([torch.ones_like(sign), sign], dim=-1))


def test_a_pair_that_crosses_an_indefinite_cell_fails_alone():
    starts = torch.tensor([[0.0, 0.0], [0.7, -1.0], [-1.0, 0.9]], dtype=torch.float64)
    ends = torch.tensor([[1.0, 0.1], [0.8, 1.0], [1.0, 0.8]], dtype=torch.float64)
    found = geodesics(pit, starts, ends, points=30)
    assert found.failed.tolist() == [True, False, False]
    assert list(found.failures) == [0]
    assert found.reasons()[0] == found.failures[0]
    assert "not positive definite" in found.failures[0] or "negative or not finite" in found.failures[0]
    assert found.certified.tolist()[0] is False
    assert found.equidistant(4)[0].isnan().all()
    assert not bool(found.equidistant(4)[1:].isnan().any())
    alone = geodesics(pit, starts[1:], ends[1:], points=30)
    torch.testing.assert_close(found.length[1:], alone.length, rtol=1e-9, atol=0)
    with pytest.raises(ValueError, match="the metric is"):
        geodesics(pit, starts[:1], ends[:1], points=30)
    distances = distance_matrix(pit, torch.cat([starts[:1], ends]), points=20)
    assert distances.failed >= 1
    assert not bool(logarithm(pit, starts, ends, points=20, steps=20).converged[0])


def test_a_pair_that_is_refused_does_not_stop_the_others():
    def skewed(t):  # no symmetric matrix left of x = -1.5
        g = HalfPlaneMetric()(t)
        off = torch.where(t[..., 0] < -1.5, 0.3, 0.0)
        return g + off[..., None, None] * torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=t.dtype)

    starts = torch.tensor([[-1.0, 1.0], [0.0, 9.0], [math.nan, 1.0], [-1.9, 1.0], [0.5, 1.0]]).double()
    ends = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [math.inf, 1.0]]).double()
    found = geodesics(skewed, starts, ends, points=8, doublings=3, box=((-2.0, 2.0), (0.5, 3.0)))
    assert found.failed.tolist() == [False, True, True, True, True]
    assert found.reasons() == [
        None,
        "its start lies outside the box ((-2.0, 2.0), (0.5, 3.0))",
        "its start is not finite",
        "the metric at (-1.9, 1) is not symmetric: g_ab is 0.3 and g_ba is 0",
        "its end is not finite",
    ]
    alone = geodesics(HalfPlaneMetric(), starts[:1], ends[:1], points=8, doublings=3)
    torch.testing.assert_close(found.length[:1], alone.length, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.equidistant(5)[:1], alone.equidistant(5), rtol=0, atol=1e-7)
    assert found.equidistant(5)[1:].isnan().all()


def test_what_keeps_a_curve_from_being_certified_is_said_in_words():
    found = geodesics(HalfPlaneMetric(), *pair((-1.0, 1.0), (1.2, 0.8)), points=30)
    assert found.reasons() == [None]
    long = geodesics(HalfPlaneMetric(), *pair((-5.0, 0.1), (5.0, 0.1)), points=30, max_iterations=1)
    (words,) = long.reasons()
    assert f"Newton's decrement is {float(long.decrement[0]):.1e} of the energy, above 1.0e-14" in words
    spoilt = {
        "a direction lowers the energy: it is no minimum": {"minimal": torch.tensor([False])},
        "is known to": {"length_error": found.length / 100},
        "the solver misjudges its length": {"energy": 1.1 * found.energy},
        "Newton's method made it no shorter": {
            "converged": torch.tensor([False]),
            "decrement": torch.full_like(found.length, torch.nan),
        },
    }
    for expected, values in spoilt.items():
        (words,) = replace(found, **values).reasons()
        assert expected in words
        assert ";" not in words


@pytest.mark.parametrize("apart", [1e-12, 1e-9, 1e-6])
def test_ends_that_rounding_all_but_hides_are_certified(apart):
    start, end = pair((0.3, 0.7), (0.3 + apart, 0.7 + 2 * apart))
    found = geodesics(HalfPlaneMetric(), start, end)
    assert bool(found.certified)
    assert found.length.item() == pytest.approx((end - start).norm().item() / 0.7, rel=2 * apart + 1e-12)


def test_a_metric_that_is_not_symmetric_is_refused_and_one_of_single_precision_converted():
    skew = torch.tensor([[1.0, 0.5], [0.4, 1.0]], dtype=torch.float64)
    with pytest.raises(
        ValueError, match=r"the metric at \(0, 0.1\) is not symmetric: g_ab is 0.5 and g_ba is 0.4"
    ):
        geodesics(lambda t: skew.expand(*t.shape, 2), *pair((0.0, 0.1), (1.0, 1.0)))

    def single(t):
        return t[..., 1, None, None].float() ** -2 * torch.eye(2)

    start, end = pair((-1.0, 0.5), (1.0, 0.5))
    assert FunctionMetric(single)(start).dtype == torch.float64
    found = geodesics(single, start, end)
    assert found.length.item() == pytest.approx(float(HalfPlaneMetric().distance(start, end)), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_the_unit_of_length_does_not_matter(scale):
    start, end = pair((-1.0, 0.5), (1.2, 1.0))
    found = geodesics(lambda t: scale * HalfPlaneMetric()(t), start, end, points=40)
    exact = math.sqrt(scale) * float(HalfPlaneMetric().distance(start, end))
    assert found.length.item() == pytest.approx(exact, rel=1e-8)
    assert bool(found.certified)


def test_edges_of_a_grid_do_not_pass_over_a_wall():
    grid = Grid(((0.0, 1.0), (0.0, 0.5)), (6, 4))
    graph, ends = (
        grid_graph(wall(0.01), grid, neighbours=32),
        grid.nearest(np.array([[0.0, 0.0], [1.0, 0.0]])),
    )
    exact = quad(
        lambda x: 1 + 300 * math.exp(-((x - 0.5) ** 2) / (2 * 0.01**2)), 0, 1, points=[0.45, 0.5, 0.55]
    )[0]
    assert graph.distances(ends)[0, ends[1]] == pytest.approx(exact, rel=1e-8)
