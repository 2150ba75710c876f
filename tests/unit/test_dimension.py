"""Dimensions against fractals whose dimension is known, and against smooth curves, turned and shifted."""

import numpy as np
import pytest
from fractals import BASILICA, KOCH, RABBIT, below_weierstrass, julia, ruelle, smooth, snowflake

from hessgeo.phases import box_dimension, correlation_dimension, judge_fractality, uncertainty_exponent
from hessgeo.phases.fractality import smooth_curves

ESTIMATORS = (box_dimension, correlation_dimension, uncertainty_exponent)


@pytest.mark.parametrize("angle", [0.0, 0.2, 0.785, 1.1])
@pytest.mark.parametrize("name", ["circle", "line", "sine", "parabola"])
def test_smooth_curves_have_dimension_one(name, angle):
    labels = smooth(name, 256, angle=angle, shift=(3.3, -7.1))
    # What is left is of second order in the largest box over the radius of curvature, (16 / 60)^2 / 12 here.
    assert box_dimension(labels).value == pytest.approx(1, abs=0.006)
    assert uncertainty_exponent(labels).value == pytest.approx(1, abs=0.01)
    # Points on a lattice stand off a line by a third of a step, against a kernel of two steps.
    assert correlation_dimension(labels).value == pytest.approx(1, abs=0.04)


# At 256 nodes; benchmarks/dimensions.py holds 1,024 to 2 %. The second number is the tolerance of the uncertainty
# exponent, whose shares of a self-similar set swing about the law.
@pytest.mark.parametrize(
    ("labels", "expected", "near", "pairs"),
    [
        (lambda: snowflake(256, angle=0.1), KOCH, 0.01, 0.02),
        (lambda: snowflake(256, angle=0.9, shift=(5.4, -8.2)), KOCH, 0.01, 0.02),
        (lambda: julia(256, 0.3j), ruelle(0.3j), 0.01, 0.04),
        (lambda: julia(256, -1), BASILICA, 0.02, 0.08),
        (lambda: julia(256, -0.122561 + 0.744862j, shift=(4.4, 1.7)), RABBIT, 0.02, 0.03),
        (lambda: below_weierstrass(256, 0.5, period=0.25), 1.5, 0.04, 0.03),
        (lambda: below_weierstrass(256, 0.3, period=0.25), 1.7, 0.07, 0.04),
    ],
)
def test_fractals_have_their_dimension(labels, expected, near, pairs):
    labels = labels()
    box, correlation, uncertainty = (estimate(labels) for estimate in ESTIMATORS)
    assert box.value == pytest.approx(expected, rel=near)
    assert uncertainty.value == pytest.approx(expected, rel=pairs)
    # Boxes see a graph as rough only where it rises by much more than their side: of H = .3 they see less.
    # Of a graph the points crowd where it is steep; correlation dimensions are never above the others.
    assert expected * 0.88 < correlation.value < expected * 1.03
    assert judge_fractality(labels).verdict == ("smooth" if expected < 1.05 else "fractal")


@pytest.mark.parametrize(("estimate", "period"), [(box_dimension, 0.25), (uncertainty_exponent, 0.5)])
def test_nine_intervals_in_ten_hold_the_dimension_of_random_graphs(estimate, period):
    found = [estimate(below_weierstrass(160, 0.5, period=period, seed=seed)) for seed in range(20)]
    assert sum(one.low <= 1.5 <= one.high for one in found) >= 17
    # An interval that holds everything would say nothing.
    assert np.mean([one.high - one.low for one in found]) < 0.35


def test_the_error_falls_as_nodes_grow():
    def error(nodes):
        angles = (0.1, 0.5, 0.9)
        return np.mean([abs(box_dimension(snowflake(nodes, angle=angle)).value - KOCH) for angle in angles])

    assert error(512) < error(64) / 2


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_labels_order_and_axes_do_not_matter(estimate):
    labels = snowflake(96, shift=(2.0, -3.0))
    found = estimate(labels)
    assert estimate(7 - 3 * labels).value == found.value
    # A turned map is cut into blocks elsewhere, and boxes of odd sides stand half a step aside.
    for turned in (labels.T, labels[::-1], np.rot90(labels)):
        assert estimate(np.ascontiguousarray(turned)).value == pytest.approx(found.value, rel=0.01)


def test_what_was_counted_is_returned():
    found = box_dimension(smooth("line", 128))
    assert found.scales[0] == 1
    assert found.scales[-1] == 8
    # A line at slope .37 across a window without its margin of 4 nodes on each side.
    boxes = 120 * 1.37 / found.scales
    np.testing.assert_allclose(found.counts, boxes, rtol=0.01)


def test_windows_need_not_be_square():
    found = box_dimension(snowflake(256)[:, 40:])
    assert found.value == pytest.approx(KOCH, rel=0.02)


def smooth_phases(nodes, seed):
    """Three phases of smooth random fields."""
    rng, x = np.random.default_rng(seed), np.arange(nodes) / nodes
    fields = np.zeros((3, nodes, nodes))
    for a in range(-3, 4):
        for b in range(4):
            size = rng.normal(size=3) * np.exp(-(a * a + b * b) / 4)
            phase = rng.uniform(0, 2 * np.pi, 3)[:, None, None]
            fields += size[:, None, None] * np.cos(1.2 * np.pi * (a * x[:, None] + b * x) + phase)
    return fields.argmax(axis=0)


@pytest.mark.parametrize("nodes", [48, 96])
def test_smooth_boundaries_of_any_shape_are_never_called_fractal(nodes):
    verdicts = [judge_fractality(smooth_phases(nodes, seed)).verdict for seed in range(20)]
    assert "fractal" not in verdicts
    assert verdicts.count("smooth") >= 14


@pytest.mark.parametrize("nodes", [48, 96])
def test_fractals_are_told_from_smooth_curves_in_small_windows(nodes):
    for labels in (snowflake(nodes), julia(nodes, -1), below_weierstrass(nodes, 0.5, period=0.25)):
        assert judge_fractality(labels).verdict == "fractal"


def test_curves_of_the_null_have_about_the_length_asked_for():
    for count in (1, 2, 4):
        for name, labels in smooth_curves((96, 96), count).items():
            box = box_dimension(labels)
            length = np.pi / 4 * box.counts[-1] * box.scales[-1] / 96
            assert 0.4 * count < length < 3 * count + 1, name


@pytest.mark.parametrize("fill", ["constant", "noise"])
def test_nothing_is_said_without_a_boundary_or_where_it_is_everywhere(fill):
    noise = np.random.default_rng(0).integers(0, 3, (64, 64))
    found = judge_fractality(np.zeros((64, 64), dtype=int) if fill == "constant" else noise)
    assert found.verdict == "not resolved"
    assert np.isnan(found.box.value)
    assert "absent, fills the window" in found.reason


@pytest.mark.parametrize(
    "labels", [np.zeros((64, 64)), np.zeros((23, 64), dtype=int), np.zeros(64, dtype=int)]
)
def test_bad_maps_are_named(labels):
    for estimate in ESTIMATORS:
        with pytest.raises(
            ValueError, match="labels must be whole numbers on a grid of at least 24 x 24 nodes"
        ):
            estimate(labels)
