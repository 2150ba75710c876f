"""Scores of paths against closed forms, and the coverage of their intervals."""

import numpy as np
import pytest

from hessgeo.evaluation.path_scores import (
    bend,
    draw_pairs,
    draw_shares,
    independent_difference,
    mean_interval,
    near_boundary,
    paired_difference,
    path_length,
    perceptual_path_length,
    points_at,
    step_deviation,
    turning_by_place,
    within_one_phase,
)
from hessgeo.grids import Grid

GRID = Grid(((0.0, 1.0), (0.0, 2.0)), (11, 21))
LABEL = np.where(np.arange(11)[:, None] < 5, 1, 2) * np.ones((1, 21), dtype=int)  # a boundary at a = 0.45


def arc(points, angle, radius=1.0):
    phi = np.linspace(0, angle, points)
    return radius * np.stack([np.cos(phi), np.sin(phi)], axis=-1)[None]


def test_length_of_a_polygon_tends_to_that_of_the_arc_from_below():
    errors = [2.0 - path_length(arc(points, 2.0))[0] for points in (11, 21)]
    assert errors[1] > 0
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)  # chords: second order
    with pytest.raises(ValueError, match="n at least 2"):
        path_length(arc(1, 2.0))


def test_steps_of_an_arc_deviate_by_the_chords_of_their_angles():
    even, uneven = np.linspace(0, 2, 9), 2 * np.linspace(0, 1, 9) ** 2
    circle = lambda phi: np.stack([np.cos(phi), np.sin(phi), np.full_like(phi, 4.0)], axis=-1)  # noqa: E731
    found = step_deviation(np.stack([circle(even), circle(uneven)]))
    chords = 2 * np.sin(np.diff(uneven) / 2)
    assert found[0] == pytest.approx(0, abs=1e-12)
    assert found[1] == pytest.approx(np.sqrt(np.mean(chords**2) - np.mean(chords) ** 2), rel=1e-12)
    # Of points a, 2 a, .. n a: over n steps the variance of 1 .. n is (n^2 - 1) / 12, and units go through.
    triangular = np.cumsum(np.arange(8.0))[None, :, None] * np.array([0.3, 0.4])
    assert step_deviation(triangular)[0] == pytest.approx(0.5 * np.sqrt((7**2 - 1) / 12))
    with pytest.raises(ValueError, match="n at least 3"):
        step_deviation(arc(2, 2.0))


def test_perceptual_path_length_is_the_energy_of_the_features():
    s, epsilon = np.linspace(0, 0.9, 10), 1e-4
    features = np.stack([np.sin(3 * s), np.cos(3 * s)], axis=-1)[None]
    ahead = np.stack([np.sin(3 * (s + epsilon)), np.cos(3 * (s + epsilon))], axis=-1)[None]
    # On a circle run through at speed 3 the energy is 9; the chord is short by epsilon^2.
    assert perceptual_path_length(features, ahead, epsilon=epsilon)[0] == pytest.approx(9, rel=1e-6)
    jump = ahead.copy()
    jump[0, 4] += 1.0
    assert perceptual_path_length(features, jump, epsilon=epsilon)[0] > 1e6
    clipped = perceptual_path_length(features, jump, epsilon=epsilon, clip=(0.0, 0.9))[0]
    assert clipped == pytest.approx(9, rel=1e-6)
    with pytest.raises(ValueError, match="epsilon is 0"):
        perceptual_path_length(features, ahead, epsilon=0)
    with pytest.raises(ValueError, match="quantiles that rise"):
        perceptual_path_length(features, ahead, epsilon=epsilon, clip=(0.9, 0.1))


def test_shares_lie_one_in_each_part_and_depend_on_their_pair_alone():
    shares = draw_shares(400, 5, epsilon=0.2, seed=3)
    assert (np.floor(shares / 0.16) == np.arange(5)).all()
    assert (shares + 0.2 <= 1).all()
    # Uniform in each part: a deviation of 0.16 / sqrt(12) over the root of 400.
    np.testing.assert_allclose(shares.mean(axis=0), 0.16 * (np.arange(5) + 0.5), atol=4 * 0.046 / 20)
    np.testing.assert_array_equal(draw_shares(7, 5, epsilon=0.2, seed=3), shares[:7])
    assert not np.isin(draw_shares(7, 5, epsilon=0.2, seed=4), shares).any()
    with pytest.raises(ValueError, match="epsilon is 1"):
        draw_shares(7, 5, epsilon=1, seed=3)


def test_points_between_those_of_a_track():
    track = np.array([[[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]]])
    found = points_at(track, np.array([[0.0, 0.25, 0.5, 0.75, 1.0]]))
    np.testing.assert_allclose(found[0], [[0, 0], [0.5, 0], [1, 0], [1, 1], [1, 2]], atol=1e-15)


def test_bend_of_a_half_circle_and_of_a_line():
    assert bend(arc(181, np.pi))[0] == pytest.approx(0.5)
    assert bend(np.linspace([0, 1], [3, 5], 7)[None])[0] == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="1 paths end where they start"):
        bend(np.zeros((1, 4, 2)))


def test_turning_goes_where_it_happens():
    # A straight line, then an arc of radius 1/2: curvature 0, then 2.
    line = np.stack([np.linspace(-1, 0, 50, endpoint=False), np.zeros(50)], axis=-1)
    phi = np.linspace(0, 1.5, 50)
    curve = 0.5 * np.stack([np.sin(phi), 1 - np.cos(phi)], axis=-1)
    points = np.concatenate([line, curve])[None]
    turned = turning_by_place(points, np.arange(100)[None] >= 50)
    assert turned[0, 0] == pytest.approx(0, abs=1e-12)
    # Half of the joint's angle is missing, one of 49 segments.
    assert turned[0, 1] == pytest.approx(2, rel=0.03)
    nowhere = turning_by_place(points, np.zeros((1, 100), dtype=bool))
    assert np.isnan(nowhere[0, 1])


def test_pairs_are_told_apart_by_their_phases():
    starts, ends = np.array([[0.1, 0.2], [0.1, 0.2]]), np.array([[0.4, 1.9], [0.9, 0.2]])
    assert within_one_phase(LABEL, GRID, starts, ends).tolist() == [True, False]
    along = np.stack([np.linspace(0, 1, 11), np.ones(11)], axis=-1)
    assert near_boundary(LABEL, GRID, along, cells=2).nonzero()[0].tolist() == [3, 4, 5, 6]
    assert not near_boundary(np.ones_like(LABEL), GRID, along).any()


def test_pairs_are_drawn_inside_the_margin_and_depend_on_their_index_alone():
    starts, ends = draw_pairs(GRID, 500, seed=3)
    both = np.concatenate([starts, ends])
    assert both.min(axis=0) == pytest.approx([0.1, 0.2], abs=0.01)
    assert both.max(axis=0) == pytest.approx([0.9, 1.8], abs=0.01)
    assert (both >= [0.1, 0.2]).all()
    assert (both <= [0.9, 1.8]).all()
    np.testing.assert_array_equal(draw_pairs(GRID, 20, seed=3)[1], ends[:20])
    with pytest.raises(ValueError, match=r"margin is 0\.5"):
        draw_pairs(GRID, 5, seed=3, margin=0.5)


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_intervals_cover_the_truth_as_often_as_they_say(method):
    rng, covered, repeats = np.random.default_rng(0), 0, 200
    for _ in range(repeats):
        common = 5 * rng.normal(size=40)
        found = paired_difference(
            common + 0.3 + rng.normal(size=40), common, confidence=0.9, method=method, resamples=400
        )
        covered += found.low <= 0.3 <= found.high
    # Binomial: 0.9 +- 3 * 0.021; the bootstrap of 40 falls short by about 0.01.
    assert abs(covered / repeats - 0.9) < 0.07


def test_pairing_takes_out_what_both_share():
    rng = np.random.default_rng(1)
    common = 100 * rng.normal(size=30)
    found = paired_difference(common + 1 + 0.01 * rng.normal(size=30), common)
    assert found.count == 30
    assert 0.99 < found.low < found.mean < found.high < 1.01


def test_differences_without_an_interval():
    a = np.array([1.0, 2.0, np.nan])
    assert paired_difference(a, np.zeros(3)).count == 2
    assert np.isnan(paired_difference(a[:1], np.zeros(1)).low)
    same = paired_difference(np.ones(4), np.zeros(4))
    assert (same.low, same.mean, same.high) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="method is 'z'"):
        paired_difference(a, a, method="z")
    with pytest.raises(ValueError, match="must both be"):
        paired_difference(a, a[:2])


def test_the_interval_of_independent_means_covers_the_truth_though_they_scatter_unalike():
    rng, covered, repeats = np.random.default_rng(0), [0, 0], 300
    for _ in range(repeats):
        few, many = 1.0 + 3 * rng.normal(size=8), 0.5 + 0.3 * rng.normal(size=40)
        found = independent_difference(few, many, confidence=0.9)
        covered[0] += found.low <= 0.5 <= found.high
        alone = mean_interval(few, confidence=0.9)
        covered[1] += alone.low <= 1.0 <= alone.high
    # Binomial: 0.9 +- 3 * 0.017. With one common variance the few would be taken for far too certain: 0.5.
    np.testing.assert_allclose(np.array(covered) / repeats, 0.9, atol=0.055)
    assert found.count == 48


def test_independent_differences_without_an_interval():
    ones = np.array([1.0, 1.0, np.nan])
    same = independent_difference(ones, np.zeros(3))
    assert (same.low, same.mean, same.high, same.count) == (1.0, 1.0, 1.0, 5)
    assert np.isnan(independent_difference(ones[:1], np.zeros(3)).low)
    assert np.isnan(independent_difference(ones[2:], np.zeros(3)).mean)
