"""The map that makes statistics conjugate, against families whose own statistics are known."""

import numpy as np
import pytest

from hessgeo.posteriors.conjugate import conjugate_map
from hessgeo.systems.curie_weiss import CurieWeiss
from hessgeo.systems.gaussian_linear import GaussianLinear

BOX = ((0.4, 1.2), (-0.4, 0.4))
MIXED = np.array([[0.4, 0.1], [-0.3, 2.0]])


def samples(system, count, box, seed=0):
    t = np.random.default_rng(seed).uniform(*np.array(box).T, (count, 2))
    return system.sufficient_statistics(system.sample(t, np.arange(count), seed)), t


@pytest.mark.parametrize(
    ("system", "box"),
    [
        (CurieWeiss(20), BOX),
        (GaussianLinear(np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), noise=1.0), ((-1, 1), (-1, 1))),
    ],
)
def test_mixed_statistics_are_mapped_back(system, box):
    f, t = samples(system, 2000, box)
    found = conjugate_map(f @ MIXED.T, t, t, box)
    error = (found.matrix @ MIXED - np.eye(2)) @ np.linalg.inv(MIXED)
    # Four numbers, four deviations: odds of 3e-4.
    assert np.all(np.abs(error).ravel() < 4 * np.sqrt(np.diag(found.covariance)))
    assert np.abs(found.matrix @ MIXED - np.eye(2)).max() < 0.3


def test_the_error_falls_with_the_root_of_the_number_of_samples_and_is_stated():
    system, errors, stated = CurieWeiss(20), [], []
    for count in (400, 3200):
        runs = [
            conjugate_map(f, t, t, BOX) for f, t in (samples(system, count, BOX, seed) for seed in range(12))
        ]
        errors.append(np.sqrt(np.mean([np.diag(run.matrix - np.eye(2)) ** 2 for run in runs])))
        stated.append(np.mean([np.sqrt(np.diag(run.covariance))[[0, 3]] for run in runs]))
    # Root 8 is 2.8; twenty-four numbers know their deviation to 15 %.
    assert 1.7 < errors[0] / errors[1] < 4.7
    for error, bar in zip(errors, stated, strict=True):
        # Stated on the large side, by at most a factor of root two.
        assert 0.7 * error < bar < 2.2 * error


def test_what_has_no_map_is_refused():
    f, t = samples(CurieWeiss(20), 100, BOX)
    with pytest.raises(ValueError, match="must have one shape"):
        conjugate_map(f[:50], t, t, BOX)
    with pytest.raises(ArithmeticError, match="tell all of them apart"):
        conjugate_map(t + 0, t, t, BOX)
