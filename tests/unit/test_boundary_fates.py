"""The line h = 0 of exact magnets: a transition beyond the critical coupling, a crossover before it."""

import numpy as np
import pytest

from hessgeo.evaluation.boundary_fates import line_fate, line_fates
from hessgeo.systems.solvable.ising import CRITICAL_COUPLING


@pytest.fixture(scope="module")
def fates():
    return {one.system: one for one in line_fates()}


def test_no_place_is_called_what_it_is_not(fates):
    assert {name: one.wrong for name, one in fates.items()} == {"curie_weiss": 0, "ising": 0}


def test_the_curie_weiss_line_ends_at_one(fates):
    fate = fates["curie_weiss"]
    assert fate.crossover_up_to == pytest.approx(0.9)
    assert fate.transition_from == pytest.approx(1.0)
    # The susceptibility of the infinite system, 1 / (1 - K), and n times the squared magnetisation.
    assert fate.strengths[-1, 0] == pytest.approx(np.log(1 / 0.6), rel=0.01)
    assert fate.rates[0] == pytest.approx(0, abs=0.01)
    assert fate.rates[-1] == pytest.approx(1, abs=1e-3)
    assert fate.rates[6] == pytest.approx(0.5, abs=0.03)  # at K = 1 as the root of n


def test_the_line_of_the_torus_grows_below_the_critical_temperature_and_saturates_above(fates):
    fate = fates["ising"]
    assert fate.crossover_up_to >= 0.6 * CRITICAL_COUPLING
    assert fate.transition_from <= 1.2 * CRITICAL_COUPLING
    assert fate.rates[-1] == pytest.approx(1, abs=1e-2)
    # Far above it the susceptibility of the infinite lattice, by its series in v = tanh K (Domb and Sykes 1957).
    v = np.tanh(fate.couplings[0])
    series = [1, 4, 12, 36, 100, 276, 740, 1972, 5172, 13492, 34876]
    assert fate.strengths[-1, 0] == pytest.approx(np.log(np.polyval(series[::-1], v)), abs=0.01)


def test_more_sizes_decide_nearer_the_end():
    few, more = line_fate("curie_weiss", (16, 32, 64)), line_fate("curie_weiss", (256, 512, 1024))
    assert few.wrong == more.wrong == 0
    assert few.crossover_up_to <= more.crossover_up_to
