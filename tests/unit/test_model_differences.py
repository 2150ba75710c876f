"""What differs between two models: exact where one is the other, moved by known steps, or scaled by a known factor."""

import numpy as np
import pytest
from matplotlib.text import Text
from sklearn.metrics import adjusted_rand_score

from hessgeo.evaluation.model_differences import (
    Blocks,
    agreement,
    boundary_shift,
    fewest_that_keep,
    kept_at_half_a_step,
    matched_labels,
    metric_distance,
)
from hessgeo.evaluation.reseeding import Reseeded, reseeded
from hessgeo.figures import model_differences
from hessgeo.figures.saving import verdict_of
from hessgeo.grids import Grid
from hessgeo.phases.agreement import rand_of_table
from hessgeo.pipeline.differences import Compared, measure_differences
from hessgeo.systems.base import System

GRID = Grid(((-1.0, 2.0), (10.0, 10.5)), (24, 20))
SETTINGS = {"share": 0.95, "cells": 1024, "blocks": 8, "resamples": 200, "confidence": 0.95}


def stripes(*edges, shape=GRID.shape):
    """Phases from 1, parted by straight lines along the second axis."""
    i = np.arange(shape[0])[:, None]
    return 1 + sum((i >= edge).astype(int) for edge in edges) + np.zeros(shape, int)


def metrics(seed, shape=GRID.shape):
    root = np.random.default_rng(seed).standard_normal((*shape, 2, 3))
    return root @ np.swapaxes(root, -1, -2)


def blocks(**options):
    return Blocks.over(GRID.shape, **{"resamples": 200, "seed": 0, **options})


def test_a_model_does_not_differ_from_itself():
    label, metric = stripes(7, 15), metrics(0)
    found = agreement(label, label, blocks())
    assert (found.value, found.low, found.high) == (1, 1, 1)
    shift = boundary_shift(label, label)
    assert (shift.median, shift.upper, shift.there, shift.back) == (0, 0, 0, 0)
    assert metric_distance(metric, metric).max() < 1e-7
    # Names of phases are no difference.
    assert np.array_equal(matched_labels(label, 4 - label), label)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_boundary_that_is_moved_is_found_so_many_steps_away(steps):
    first, other = stripes(10), stripes(10 + steps)
    shift = boundary_shift(first, other)
    assert (shift.median, shift.upper, shift.there, shift.back) == (steps, steps, steps, steps)
    kept = blocks().share(matched_labels(first, other) == first)
    assert kept.value == 1 - steps / GRID.shape[0]
    assert kept.low <= kept.value <= kept.high < 1


def test_a_boundary_too_many_shows_in_one_direction_alone():
    shift = boundary_shift(stripes(10), stripes(10, 16))
    assert (shift.there, shift.back) == (0, 6)
    assert boundary_shift(stripes(10), stripes()) is None
    assert boundary_shift(stripes(), stripes()).back == 0
    # Of the second phase the larger part keeps the name, the other has a number of its own.
    split = matched_labels(stripes(10), stripes(10, 16))
    assert split[[0, 12, 20], 0].tolist() == [1, 3, 2]


@pytest.mark.parametrize("seed", range(3))
def test_the_adjusted_rand_index_is_scikit_learn_s(seed):
    rng = np.random.default_rng(seed)
    first, other = rng.integers(1, 5, GRID.shape), rng.integers(1, 4, GRID.shape)
    other = np.where(rng.random(GRID.shape) < 0.6, first, other)
    known = adjusted_rand_score(first.ravel(), other.ravel())
    assert agreement(first, other, blocks()).value == pytest.approx(known, abs=1e-12)
    assert rand_of_table(np.array([[[7.0]], [[2.0]]])).tolist() == [1, 1]


def test_intervals_of_blocks_cover_and_narrow():
    """Stripes of random cells: the share that holds is known, and its interval holds it about as often as it says."""
    rng = np.random.default_rng(5)
    hits, widths = 0, {4: [], 8: []}
    for trial in range(100):
        # Patches of 3 x 3 cells that agree by chance, as neighbours of a map do.
        holds = np.kron(rng.random((16, 16)) < 0.7, np.ones((3, 3), bool))
        of = Blocks.over(holds.shape, side=8, resamples=200, seed=trial)
        found = of.share(holds)
        hits += found.low <= 0.7 <= found.high
        quarter = Blocks.over((24, 24), side=4, resamples=200, seed=trial).share(holds[:24, :24])
        widths[8].append(found.high - found.low)
        widths[4].append(quarter.high - quarter.low)
    assert 86 <= hits <= 100  # 95 of 100 within three deviations of counting, and a little low for few blocks
    # A quarter of the cells: twice the width.
    assert np.mean(widths[4]) / np.mean(widths[8]) == pytest.approx(2, rel=0.15)


def test_a_metric_that_is_scaled_lies_at_the_logarithm_of_the_factor():
    metric = metrics(1)
    for factor in (2.5, 1e-6):
        np.testing.assert_allclose(
            metric_distance(metric, factor * metric), np.sqrt(2) * abs(np.log(factor)), rtol=1e-9
        )
    diagonal = np.diag([np.exp(3.0), np.exp(-4.0)])
    assert metric_distance(np.eye(2), diagonal) == pytest.approx(5)
    line = metric_distance(np.full((5, 1, 1), 2.0), np.full((5, 1, 1), 6.0))
    np.testing.assert_allclose(line, np.log(3))


def test_the_distance_of_metrics_is_the_same_in_all_coordinates():
    first, other = metrics(2), metrics(3)
    known = metric_distance(first, other)
    np.testing.assert_allclose(metric_distance(other, first), known, rtol=1e-8)
    for change in (np.array([[1e7, 0], [0, 1e-7]]), np.array([[2.0, 1.0], [-0.5, 3.0]])):
        moved = [change.T @ metric @ change for metric in (first, other)]
        np.testing.assert_allclose(metric_distance(*moved), known, rtol=1e-6)


def test_a_metric_that_is_none_has_no_distance():
    metric, other = metrics(4), metrics(5)
    other[0, 0], other[1, 1], other[2, 2] = np.diag([1.0, -1.0]), np.zeros((2, 2)), np.nan
    found = metric_distance(metric, other)
    assert np.isnan(found[[0, 1, 2], [0, 1, 2]]).all()
    assert np.isnan(found).sum() == 3


def test_half_a_step_changes_the_phase_of_half_of_those_beside_a_boundary():
    # Of 23 squares of nodes along the first axis one lies across the line: half of its corners have the other phase.
    assert kept_at_half_a_step(stripes(10)) == pytest.approx(1 - 0.5 / 23)
    assert kept_at_half_a_step(stripes()) == 1
    assert kept_at_half_a_step(np.array([1, 1, 2])) == 0.75


def test_the_fewest_that_keep_end_at_the_first_that_does_not():
    assert fewest_that_keep(["50", "25", "12", "8"], [0.99, 0.95, 0.94, 0.99]) == "25"
    assert fewest_that_keep(["50"], [0.9]) is None
    assert fewest_that_keep(["50"], [0.9], least=0.9) == "50"


class Coordinates(System):
    """A sample says where it was drawn, and by which noise, if there is any."""

    sample_shape, dtype, batch_size = (3,), np.dtype(float), 64

    def __init__(self, noise):
        self.noise = noise

    def sample(self, t, index, seed):
        drawn = [np.random.default_rng([seed, i]).standard_normal() for i in index]
        return np.column_stack([t, self.noise * np.array(drawn)])


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_cells_are_drawn_again_by_another_seed_or_half_a_step_away(noise):
    system, t = Coordinates(noise), GRID.points
    known = system.sample(t, np.arange(len(t)), 3)
    null = reseeded(system, np.asarray, t, known, GRID, cells=200, seed=3)
    assert null.row.shape == (200,)
    assert np.array_equal(null.row, np.unique(null.row))
    if noise:
        # The difference of two draws of that noise has this median.
        assert null.by == "another seed"
        assert np.median(null.distance) == pytest.approx(0.6745 * noise * np.sqrt(2), rel=0.25)
    else:
        assert null.by == "half a grid step"
        np.testing.assert_allclose(null.distance, np.linalg.norm(GRID.spacing) / 2)


def compared(name, label, metric=None, angle=0.0):
    """A study whose images turn by an angle in a quarter of the cells."""
    count = GRID.size
    turn = np.where(np.arange(count) % 4 == 0, angle, 0.0)
    embedding = np.column_stack([np.cos(turn), np.sin(turn)]).astype(np.float32)
    return Compared(
        name, {"system.steps": 5}, label, metrics(0) if metric is None else metric, embedding, GRID.points
    )


NULL = Reseeded(np.linspace(0, 0.2, 101), np.arange(101), "another seed")


def test_all_numbers_of_a_comparison_are_those_of_its_studies():
    studies = [
        compared("many", stripes(10)),
        compared("fewer", stripes(11), 2 * metrics(0), angle=0.1),
        compared("few", stripes(18), angle=0.5),
    ]
    dataset, rows, numbers = measure_differences(studies, GRID, NULL, SETTINGS, seed=0)
    fewer, few = numbers["models"]
    assert fewer["metric_distance"] == pytest.approx(np.sqrt(2) * np.log(2))
    assert (fewer["keeps_phase"]["value"], few["keeps_image"]["value"]) == (pytest.approx(23 / 24), 0.75)
    assert fewer["boundary_shift"]["median"] == 1
    assert (numbers["fewest_that_keep_phases"], numbers["fewest_that_keep_images"]) == ("fewer", "fewer")
    assert numbers["null"]["threshold"] == pytest.approx(0.19)
    assert "fewer keeps the phases of many (95.8 % of cells), few does not (66.7 %)" in numbers["finding"]
    assert rows[1]["keeps_image"] == 0.75
    assert rows[1]["changed"] == "system.steps: 5"
    assert rows[0]["boundary_shift_upper"] == 1
    assert rows[1]["lipschitz_upper"] > 0
    assert "boundary_contrast" in rows[1]
    assert set(numbers["slopes"]) == {"lipschitz_upper", "boundary_contrast"}
    assert dict(dataset.sizes) == {"study": 2, "a": 24, "b": 20}


def test_studies_of_other_parameters_are_refused():
    moved = compared("moved", stripes(10))
    moved = Compared("moved", {}, moved.label, moved.metric, moved.embedding, moved.t + 1e-3)
    with pytest.raises(ValueError, match="moved has other parameters than many"):
        measure_differences([compared("many", stripes(10)), moved], GRID, NULL, SETTINGS, seed=0)


def test_the_figure_shows_the_changed_cells_and_says_the_verdict():
    studies = [compared("many", stripes(10)), compared("few", stripes(13), angle=0.5)]
    dataset, _, numbers = measure_differences(studies, GRID, NULL, SETTINGS, seed=0)
    figure, table = model_differences.draw(dataset, numbers)
    assert len(table) == GRID.size
    assert (~table["keeps_phase"]).sum() == 3 * GRID.shape[1]
    assert (~table["keeps_image"]).sum() == GRID.size / 4
    text = " ".join(item.get_text().replace("\n", " ") for item in figure.findobj(Text))
    assert numbers["finding"] in text
    # What was found is no verdict of a fit, which would stand in red above.
    assert verdict_of(dataset, numbers) == "resolved"
    assert "keeps its image: 75.0 %" in text
    # A study without a boundary, and one without a metric, can be drawn.
    studies[1] = compared("few", stripes(), -metrics(0))
    dataset, _, numbers = measure_differences(studies, GRID, NULL, SETTINGS, seed=0)
    figure, _ = model_differences.draw(dataset, numbers)
    text = " ".join(item.get_text() for item in figure.findobj(Text))
    assert "no boundary in one of them" in text
    assert "no metric in common" in text


def test_a_grid_of_its_own_is_refused():
    with pytest.raises(ValueError, match="must be the same"):
        agreement(stripes(3), stripes(3, shape=(10, 10)), blocks())
