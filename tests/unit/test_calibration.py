"""Ranks of the truth in posteriors that are known to be right, too narrow, too wide or beside it."""

import numpy as np
import pytest
import xarray as xr

from hessgeo.figures.calibration import draw
from hessgeo.grids import Grid
from hessgeo.pipeline.calibration import calibrate_study
from hessgeo.posteriors import posterior, posterior_rows
from hessgeo.posteriors.calibration import (
    LEVELS,
    RankTests,
    coverage_band,
    drawn_points,
    expected_coverage,
    judge_ranks,
    kuiper_p_value,
    rank_names,
)

GRID = Grid(((-1.0, 1.0), (0.0, 3.0)), (24, 24))
NAMES = rank_names(2)
SIGMA = np.array([0.25, 0.4])
COUNT = 800


def gaussian(points, x, sigma):
    """Posterior over points that are equally likely before, of ``x = t + sigma noise``."""
    logit = -(((points[None] - x[:, None]) / sigma) ** 2).sum(axis=-1) / 2
    weight = np.exp(logit - logit.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


def ranks_of(points, *, width=1.0, shift=0.0, seed=0, count=COUNT):
    """Of parameters drawn from the points, seen with noise, in posteriors that take it for another."""
    rng, sigma = np.random.default_rng(seed), SIGMA[: points.shape[1]]
    truth = points[rng.integers(len(points), size=count)]
    x = truth + sigma * rng.standard_normal(truth.shape)
    p = gaussian(points, x + shift * sigma, width * sigma)
    return RankTests.draw(points, count, seed + 1).ranks(p, truth)


@pytest.mark.parametrize(
    ("points", "names"),
    [
        (GRID.points, NAMES),
        (np.random.default_rng(5).uniform(-1, 1, (500, 2)), NAMES),
        (np.linspace(-1, 1, 40)[:, None], rank_names(1)),
    ],
    ids=["nodes", "scattered", "one axis"],
)
def test_exact_posteriors_are_calibrated_and_others_are_told_apart(points, names):
    right = judge_ranks(ranks_of(points), names)
    assert right.calibrated
    assert right.words == "calibrated"
    # Two standard errors of a share of 800 are .035 at a half.
    assert right.coverage["coverage_50"] == pytest.approx(0.5, abs=0.05)
    assert right.coverage["coverage_90"] == pytest.approx(0.9, abs=0.04)
    for change, words in (({"width": 0.7}, "too narrow"), ({"width": 1.5}, "too wide")):
        wrong = judge_ranks(ranks_of(points, **change), names)
        assert not wrong.calibrated
        assert wrong.p_value < 1e-3
        assert wrong.words == words
    beside = judge_ranks(ranks_of(points, shift=0.5), names)
    assert not beside.calibrated
    assert beside.words.startswith("shifted along")
    # A posterior that lies above the truth has more than half of itself above it.
    assert beside.by_test["a"]["shift"] < -4


def test_few_posteriors_tell_no_more_than_they_can():
    """Of 200 calibrations by 30 posteriors each, about as many fall under a level as the level says."""
    points = Grid(GRID.extent, (12, 12)).points
    p_values = [judge_ranks(ranks_of(points, seed=k, count=30), NAMES).p_value for k in range(200)]
    # Four tests on the same posteriors hang together, so Bonferroni's correction is on the safe side.
    assert np.mean(np.array(p_values) < 0.05) < 0.09


def test_kuiper_s_test_has_its_level():
    rng = np.random.default_rng(1)
    p_values = np.array([kuiper_p_value(rng.random(50)) for _ in range(3000)])
    for level in (0.01, 0.05, 0.2, 0.5):
        # Three binomial standard errors, and the approximation's own few per cent.
        assert np.mean(p_values < level) == pytest.approx(level, abs=3 * np.sqrt(level / 3000) + 0.05 * level)
    assert kuiper_p_value(np.full(50, 0.5)) < 1e-6
    assert kuiper_p_value((np.arange(50) + 0.5) / 50) == 1.0


def test_coverage_is_that_of_the_levels_within_its_band():
    credibility = ranks_of(GRID.points)[:, -1]
    off = np.abs(expected_coverage(credibility) - LEVELS)
    assert off.max() < coverage_band(COUNT) == pytest.approx(1.358 / np.sqrt(COUNT), rel=0.02)
    narrow = expected_coverage(ranks_of(GRID.points, width=0.5)[:, -1])
    assert np.abs(narrow - LEVELS).max() > coverage_band(COUNT)


def test_the_observer_of_features_with_the_kernel_s_noise_is_calibrated():
    """``N`` is what the observer's noise is: any features will do. Without the noise the truth sits in the middle."""
    rng, n, count = np.random.default_rng(0), 200.0, 600
    u = GRID.unit.points
    features = np.stack(
        [np.sin(2 * u[:, 0]), np.tanh(3 * u[:, 1]), u[:, 0] * u[:, 1], np.cos(u[:, 1])], axis=1
    )
    sources = rng.integers(len(u), size=count)
    tests = RankTests.draw(GRID.points, count, 1)

    def rows(noise):
        seen = features[sources] + noise * rng.standard_normal((count, 4)) / np.sqrt(n)
        together = np.concatenate([features, seen])
        p = posterior_rows(together, np.arange(len(u), len(together)), kernel="gaussian", resolution=n)
        p = p[:, : len(u)]
        return p / p.sum(axis=1, keepdims=True)

    truth = GRID.points[sources]
    assert judge_ranks(tests.ranks(rows(1.0), truth), NAMES).calibrated
    assert judge_ranks(tests.ranks(rows(0.0), truth), NAMES).words == "too wide"
    assert judge_ranks(tests.ranks(rows(2.0), truth), NAMES).words == "too narrow"


def test_ranks_do_not_move_with_blocks_units_and_offsets():
    p = np.random.default_rng(0).dirichlet(np.full(GRID.size, 0.05), size=60)
    truth = GRID.points[drawn_points(p, np.random.default_rng(1).random(60))]
    tests = RankTests.draw(GRID.points, 60, 7)
    whole = tests.ranks(p, truth)
    parts = [tests.ranks(p[k : k + 7], truth[k : k + 7], slice(k, k + 7)) for k in range(0, 60, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    scale, offset = np.array([1e-4, 1e6]), np.array([3e2, -1e7])
    moved = RankTests.draw(GRID.points * scale + offset, 60, 7).ranks(p, truth * scale + offset)
    np.testing.assert_allclose(moved, whole, atol=1e-6)
    # Drawn from the posteriors themselves they are uniform.
    assert judge_ranks(whole, NAMES).calibrated


def test_a_truth_between_points_splits_the_probability_and_one_on_a_point_its_own():
    points, p = np.linspace(-1, 1, 5)[:, None], np.array([[0.1, 0.2, 0.4, 0.2, 0.1]])
    tests = RankTests.draw(points, 1, 0)
    assert tests.ranks(p, np.array([[0.2]]))[0, 0] == pytest.approx(0.7)
    assert tests.ranks(p, np.array([[0.0]]))[0, 0] == pytest.approx(0.3 + 0.4 * tests.tie[0, 0])


def test_points_are_drawn_as_often_as_they_are_likely():
    p = np.array([[0.0, 0.5, 0.0, 0.3, 0.2]])
    drawn = drawn_points(np.repeat(p, 4000, axis=0), np.random.default_rng(0).random(4000))
    share = np.bincount(drawn, minlength=5) / 4000
    assert share[[0, 2]].tolist() == [0, 0]
    np.testing.assert_allclose(share, p[0], atol=0.03)  # four standard errors


def test_what_is_no_posterior_is_refused():
    tests = RankTests.draw(GRID.points, 3, 0)
    with pytest.raises(ValueError, match="sum to one over 576 points"):
        tests.ranks(np.ones((3, 576)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="at least 8"):
        judge_ranks(np.zeros((5, 4)), NAMES)


def quadratic(grid, resolution, factor=1.0):
    """``F = factor |t|^2 / 2`` on the nodes, as a fit has it."""
    t = grid.points
    fields = {
        "free_energy": (grid.dims, (factor * (t**2).sum(axis=1) / 2).reshape(grid.shape)),
        "gradient": ((*grid.dims, "i"), (factor * t).reshape(*grid.shape, -1)),
    }
    return xr.Dataset(fields, attrs={"resolution": resolution})


@pytest.mark.parametrize(
    "grid", [Grid(((-1.0, 1.0), (-1.0, 1.0)), (18, 18)), Grid(((-1.0, 1.0),), (400,))], ids=["plane", "line"]
)
def test_a_study_s_fit_is_held_against_the_posterior_it_was_fitted_to(grid):
    """Features that are the parameters: the measured posterior is that of ``F = |t|^2 / 2``, exactly."""
    resolution, t = 40.0, grid.points
    found = posterior(t, t, resolution=resolution)
    dataset, numbers = calibrate_study(found, t, quadratic(grid, resolution), grid, seed=3)
    assert numbers["fitted"]["calibrated"]
    assert numbers["fitted"]["truth"] == "a draw from the measured posterior"
    # The source is the mode of its own row: all that this says is that the observer sees less than the samples tell.
    assert numbers["measured"]["verdict"] == "too wide"
    for factor, words in ((2.0, "too narrow"), (0.4, "too wide")):
        _, wrong = calibrate_study(found, t, quadratic(grid, resolution, factor), grid, seed=3)
        assert wrong["fitted"]["verdict"] == words
    again, _ = calibrate_study(found, t, quadratic(grid, resolution), grid, seed=3)
    xr.testing.assert_identical(dataset, again)
    figure, table = draw(dataset)
    assert len(figure.axes) == dataset.sizes["test"]
    bins = table[(table["posterior"] == "fitted") & (table["panel"] == "a")]
    assert bins["value"].mean() == pytest.approx(1)
    assert bins["value"].between(bins["low"], bins["high"]).all()
    assert set(table["panel"]) == {*dataset["test"].to_numpy()[:-1], "coverage"}


def test_the_posterior_of_a_network_is_calibrated_with_its_images_or_not_at_all():
    grid = Grid(((-1.0, 1.0), (-1.0, 1.0)), (8, 8))
    found = posterior(grid.points, grid.points, resolution=5.0)
    with pytest.raises(ValueError, match="needs its images"):
        calibrate_study(found, grid.points, quadratic(grid, 5.0), grid, seed=0, network=object())
