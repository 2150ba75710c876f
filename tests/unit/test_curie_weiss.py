"""The Curie-Weiss model: a sum over the magnetisation against enumeration, and its first-order line."""

import numpy as np
import pytest
import truths
from scipy.optimize import brentq

from hessgeo.systems.solvable.base import TEMPERATURE_FIELD
from hessgeo.systems.solvable.curie_weiss import CurieWeiss

POINTS = np.array([[0.5, 0.2], [1.5, -0.01], [-0.6, 0.5], [0.0, 0.0], [3.0, 0.0]])


@pytest.mark.parametrize("size", [2, 7, 10])
def test_the_sum_over_magnetisations_is_that_over_states(size):
    truths.assert_enumeration_agrees(CurieWeiss(size), POINTS)


def test_derivatives_are_those_of_log_z():
    # A short step: where M jumps, by 120, the fourth derivative is 120^2 times the second.
    truths.assert_derivatives_agree(CurieWeiss(60), POINTS, step=1e-5)


def test_the_magnetisation_of_a_large_system_solves_the_mean_field_equation():
    size, coupling, field = 20_000, 1.4, 0.05
    solution = brentq(lambda m: m - np.tanh(coupling * m + field), 0.1, 1)
    mean = CurieWeiss(size).statistics_mean(np.array([[coupling, field]]))
    # The correction is of order 1 / size, with a factor of the susceptibility, a few units.
    assert mean[0, 1] / size == pytest.approx(solution, abs=10 / size)


def test_a_line_of_first_order_transitions_ends_at_the_critical_point():
    # On the line the variance of M is the square of a jump, size^2; beyond its end it is size / (1 - K).
    variances = np.array(
        [
            CurieWeiss(size).fisher_metric(np.array([[1.3, 0.0], [0.7, 0.0]]))[:, 1, 1]
            for size in (1000, 2000, 4000)
        ]
    )
    slopes = np.diff(np.log(variances), axis=0) / np.log(2)
    np.testing.assert_allclose(slopes, [[2, 1], [2, 1]], atol=0.01)


@pytest.mark.parametrize("point", [(0.5, 0.1), (1.3, 0.0), (1.5, -0.01), (-2.0, 0.3)])
def test_samples_have_the_exact_moments(point):
    truths.assert_moments_agree(CurieWeiss(40), point, samples=20_000)


def test_samples_at_temperatures_have_the_exact_moments():
    truths.assert_moments_agree(CurieWeiss(15, coordinates=TEMPERATURE_FIELD), (0.9, 0.05), samples=20_000)


def test_every_spin_is_alike():
    truths.assert_odds_agree(CurieWeiss(6), (6,), (0.8, 0.2), samples=40_000, seed=4)


def test_a_state_depends_on_seed_index_and_point_alone(monkeypatch):
    points = np.random.default_rng(1).uniform([0, -0.5], [1.5, 0.5], (20, 2))
    truths.assert_batches_do_not_matter(CurieWeiss(30), points)
    whole = CurieWeiss(30).sample(points, np.arange(20), 0), CurieWeiss(30).cumulants(points)
    # The size of its tables is no part of the result.
    monkeypatch.setattr("hessgeo.systems.solvable.curie_weiss.TABLE", 100)
    np.testing.assert_array_equal(CurieWeiss(30).sample(points, np.arange(20), 0), whole[0])
    np.testing.assert_allclose(CurieWeiss(30).cumulants(points).metric, whole[1].metric, rtol=1e-12)


def test_a_single_spin_is_refused():
    with pytest.raises(ValueError, match="size is 1, must be at least 2"):
        CurieWeiss(1)
