"""What noise leaves of phases: known contrasts and agreements are found, and the verdict says them."""

from functools import cache

import numpy as np
import pytest
from printed import assert_printable, assert_whole, said

from hessgeo.evaluation.flow_boundaries import pair_flow
from hessgeo.evaluation.model_differences import Blocks, Interval
from hessgeo.evaluation.noise_scan import (
    NoiseLevel,
    decided_by_noise,
    exact_contrasts,
    finding,
    flat_from,
    half_way,
    metric_contrast,
)
from hessgeo.figures import noise_scan, style
from hessgeo.grids import Grid
from hessgeo.pipeline.noise_studies import Scanned, measure_scan
from hessgeo.systems.solvable.noisy_flow import NoisyFlow

GRID = Grid(((-1.0, 2.0), (10.0, 10.5)), (24, 20))
SETTINGS = {"blocks": 8, "resamples": 200, "confidence": 0.95}
TWO = 1 + (np.arange(24) >= 12).astype(int)[:, None] + np.zeros((1, 20), int)
BESIDE = np.isin(np.arange(24), [11, 12])[:, None] & np.ones((1, 20), bool)


def metric(contrast):
    """Lengths that are so many times as long beside the boundary of ``TWO`` as elsewhere, along some direction."""
    direction = np.array([0.6, 0.8])
    long = 9.0 * np.where(BESIDE, contrast**2, 1.0)[..., None, None] * np.outer(direction, direction)
    return long + 0.1 * (np.eye(2) - np.outer(direction, direction))


def level(eta, contrast, *, again=1.0, spread=0.01):
    around = Interval(contrast, contrast * (1 - spread), contrast * (1 + spread))
    same = Interval(again, again - spread, again + spread)
    return NoiseLevel(eta, 2, same, same, around, around)


@pytest.mark.parametrize("contrast", [0.5, 1.0, 6.0])
@pytest.mark.parametrize("unit", [1e-8, 1.0])
def test_the_metric_s_contrast_is_that_of_lengths_in_all_units(contrast, unit):
    blocks = Blocks.over(GRID.shape, resamples=100, seed=0)
    found = metric_contrast(metric(contrast) / unit**2, TWO, blocks)
    assert [found.value, found.low, found.high] == pytest.approx([contrast] * 3, rel=1e-9)
    assert metric_contrast(-metric(contrast), TWO, blocks) is None


def test_half_of_the_sharpness_is_lost_where_its_root_is_crossed():
    levels = [
        level(eta, contrast) for eta, contrast in ((0, 9), (0.1, 8), (0.3, 3.1), (0.5, 2.9), (1, 1.005))
    ]
    assert half_way(levels, "images") == (0.3, 0.5)
    assert flat_from(levels, "metric") == 1
    assert flat_from(levels[:-1], "metric") is None
    assert half_way(levels[:3], "images") is None
    # Flat in between and sharp again is not flat from there on.
    assert flat_from([level(0, 9), level(0.1, 1), level(0.2, 2)], "images") is None


def test_a_map_that_no_two_seeds_agree_on_is_one_of_the_noise():
    levels = [level(eta, 4, again=again) for eta, again in ((0, 1.0), (0.1, 0.505), (0.2, 0.48), (0.3, 0.1))]
    assert decided_by_noise(levels) == 0.2
    assert decided_by_noise(levels[:2]) is None
    assert "from 0.2 on two seeds draw two maps" in finding({"ddim": levels})


def test_the_exact_contrast_is_that_of_the_metric_at_the_boundary():
    etas = (0, 0.05, 0.3, 0.6, 1)
    found = exact_contrasts(0.4, 3, etas, ["ddim", "renewal"])
    # By symmetry the boundary is at zero, and far from both modes the flow is that of one Gaussian.
    for rule, known in found.items():
        assert np.isnan(known).tolist() == [True, True, False, False, True]
        system = NoisyFlow(pair_flow(0.4), steps=3, eta=0.3, eta_rule=rule)
        ends = system.fisher_metric(np.array([[0.0], [2.0]]), nodes=3.0)[:, 0, 0]
        assert known[2] == pytest.approx(np.sqrt(ends[0] / ends[1]), rel=0.02)
        assert known[2] > known[3] > 1


@cache
def scanned():
    """Phases that noise first moves by two columns, then makes one of; each drawn by two seeds."""
    moved, none = np.roll(TWO, 2, axis=0), np.ones_like(TWO)
    moved[:2] = 1
    studies = [
        Scanned("still", 0.0, "ddim", TWO, metric(6.0)),
        Scanned("more", 0.5, "renewal", none, metric(1.0)),
        Scanned("some", 0.2, "renewal", moved, metric(2.0)),
        Scanned("some-again", 0.2, "renewal", 3 - moved, metric(2.0)),
    ]
    of = {"still": 6.0, "some": 2.0, "some-again": 2.0, "more": 1.0}
    numbers = [
        {
            "study": name,
            "adjusted_rand": {"value": 0.7, "low": 0.6, "high": 0.8},
            "boundary_contrast": {"value": contrast, "low": 0.95 * contrast, "high": 1.1 * contrast},
        }
        for name, contrast in of.items()
    ]
    differences = {"models": numbers[1:], "slopes": {"boundary_contrast": numbers[0]["boundary_contrast"]}}
    return measure_scan(studies, differences, GRID, SETTINGS, steps=3, seed=0)


def test_a_scan_has_the_numbers_of_its_studies_by_noise():
    maps, table, numbers = scanned()
    assert table["eta"].tolist() == [0, 0.2, 0.5]
    assert table["phases"].tolist() == [2, 2, 1]
    np.testing.assert_allclose(table["metric"], [6, 2, 1], rtol=1e-9)
    np.testing.assert_allclose(table["images"], [6, 2, 1])
    # Another seed drew the same map with other names; of the third study there is none.
    np.testing.assert_array_equal(table["again"], [1, 1, np.nan])
    assert maps["label"].sel(eta_rule="renewal", eta=0.2).to_numpy()[13:15, 0].tolist() == [1, 2]
    assert "smooths between eta = 0 and 0.2" in numbers["finding"]
    assert "from 0.5 on they are less than 5 % steeper there" in numbers["finding"]
    assert "2 phases at eta = 0 are 1 at 0.5" in numbers["finding"]


def test_the_figure_shows_maps_and_verdict_at_legible_sizes_and_cuts_nothing():
    maps, table, numbers = scanned()
    figure, shown = noise_scan.draw(maps, table, numbers)
    assert shown is table
    assert_whole(figure)
    assert_printable(figure)
    assert figure.get_figwidth() == style.DOUBLE_COLUMN
    assert numbers["finding"] in said(figure)
    assert len(figure.axes) == 4 + 3


def test_a_comparison_that_differs_in_noise_alone_is_a_scan(layout_of):
    found = layout_of("eta-digits.yaml")
    assert found.scans_noise("noise")
    made = found.difference_targets
    assert "results/comparisons/noise/noise_scan.svg" in made
    assert not any("model_differences" in path for path in made)
    steps = layout_of("steps.yaml")
    assert not steps.scans_noise("steps")
    assert not any("noise" in path for path in steps.difference_targets)


@pytest.mark.parametrize(
    "change", [{"eta-0": {"system": {"eta": 0.01}}}, {"ddim-05": {"system": {"steps": 12}}}]
)
def test_one_that_differs_in_more_or_has_noise_from_the_first_on_is_none(layout_of, change):
    assert not layout_of("eta-digits.yaml", studies=change).scans_noise("noise")
