"""The map that makes statistics conjugate, against families whose own statistics are known."""

import numpy as np
import pytest

from hessgeo.estimators.base import Estimate, Samples
from hessgeo.estimators.reweighted import with_map_error
from hessgeo.grids import Grid
from hessgeo.posteriors.conjugate import ConjugateMap, conjugate_map
from hessgeo.systems.curie_weiss import CurieWeiss
from hessgeo.systems.gaussian_linear import GaussianLinear
from hessgeo.systems.ising import Ising
from hessgeo.systems.solvable import TEMPERATURE_FIELD

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


def test_the_error_of_the_map_reaches_the_metric():
    grid = Grid(((2.0, 3.0), (0.1, 0.5)), (5, 5))
    states = np.ones((1, 4, 4), dtype=np.int8)
    samples = Samples(states, grid.points[:1], grid, TEMPERATURE_FIELD, "torus")
    truth = Ising(4, coordinates=TEMPERATURE_FIELD)
    natural, jacobian = truth.natural(grid.points), truth.jacobian(grid.points)
    exact = truth.fisher_metric(natural)
    rng, matrix = np.random.default_rng(0), np.array([[1.0, 0.1], [0.0, 2.0]])
    root = 1e-3 * rng.standard_normal((4, 4))
    estimate = Estimate(metric=truth.pulled_back_metric(grid.points), metric_error=np.full((25, 2, 2), 1e-9))
    found = with_map_error(estimate, samples, ConjugateMap(matrix, root @ root.T))
    metrics = []
    for step in rng.standard_normal((4000, 4)) @ root.T:
        change = np.eye(2) + step.reshape(2, 2) @ np.linalg.inv(matrix)
        metrics.append(np.swapaxes(jacobian, 1, 2) @ change @ exact @ change.T @ jacobian)
    # 4,000 draws know a deviation to 1.1 percent; curvature adds less.
    np.testing.assert_allclose(found.metric_error, np.std(metrics, axis=0), rtol=0.06)
