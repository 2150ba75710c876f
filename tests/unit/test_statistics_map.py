"""The map that makes statistics conjugate, against families whose own statistics are known."""

import numpy as np
import pytest

from hessgeo.estimators.base import pull_back
from hessgeo.estimators.reweighted import with_map_error
from hessgeo.free_energies.reweighting import fit_reweighted
from hessgeo.free_energies.statistics_map import fit_statistics_map
from hessgeo.grids import Grid
from hessgeo.learned.samples import Samples
from hessgeo.systems.solvable.base import natural_coordinates
from hessgeo.systems.solvable.curie_weiss import CurieWeiss
from hessgeo.systems.solvable.gaussian_linear import GaussianLinear

BOX = ((0.4, 1.2), (-0.4, 0.4))
MIXED = np.array([[0.8, 0.1], [-0.2, 1.3]])


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
    found = fit_statistics_map(f @ MIXED.T, t, nodes=256)
    error = (found.matrix @ MIXED - np.eye(2)) @ np.linalg.inv(MIXED)
    # Four numbers, four deviations: odds of 3e-4.
    assert np.all(np.abs(error).ravel() < 4 * np.sqrt(np.diag(found.covariance)))
    assert np.abs(found.matrix @ MIXED - np.eye(2)).max() < 0.3
    assert found.decrement <= 1e-3


def test_the_error_falls_with_the_root_of_the_number_of_samples_and_is_stated():
    system, errors, stated = CurieWeiss(20), [], []
    for count in (400, 3200):
        runs = [
            fit_statistics_map(f, t, nodes=256)
            for f, t in (samples(system, count, BOX, seed) for seed in range(12))
        ]
        errors.append(np.sqrt(np.mean([(run.matrix - np.eye(2)) ** 2 for run in runs])))
        stated.append(np.sqrt(np.mean([np.diag(run.covariance) for run in runs])))
    # Root 8 is 2.8; forty-eight numbers know their deviation to 10 %.
    assert 2 < errors[0] / errors[1] < 4
    np.testing.assert_allclose(stated, errors, rtol=0.3)


def test_noise_in_a_statistic_shrinks_it():
    # A likelihood has no use for what does not depend on t: of f + noise it keeps the regression of f on it.
    f, t = samples(GaussianLinear(np.eye(2) * 3, noise=1.0), 4000, ((-1, 1), (-1, 1)))
    noise = np.random.default_rng(1).standard_normal(f.shape) * 3
    found = fit_statistics_map(f + noise, t, nodes=256)
    # Variances at one t: 9 of f, 9 of the noise.
    error = np.abs(found.matrix - np.eye(2) / 2).ravel()
    assert np.all(error < 4 * np.sqrt(np.diag(found.covariance)))


def test_bars_hold_the_error_of_the_map():
    system, grid = CurieWeiss(20), Grid(((0.5, 1.1), (-0.3, 0.3)), (4, 4))
    truth, inside, alone = system.fisher_metric(grid.points), [], []
    for seed in range(16):
        f, t = samples(system, 1500, BOX, seed)
        data = Samples(f, t, grid, natural_coordinates("K", "h"), "exchangeable")
        found = fit_statistics_map(f, t, nodes=256)
        fit = fit_reweighted(f @ found.matrix.T, t, nodes=256)
        estimate = pull_back(fit, data)
        z = estimate.metric - truth
        alone.append(np.abs(z) < 1.96 * estimate.metric_error)
        inside.append(np.abs(z) < 1.96 * with_map_error(estimate, fit, data, found).metric_error)
    # As of reweighting alone: a fit counts as some six draws, and three deviations of a hundred are 0.07.
    assert np.mean(inside) == pytest.approx(0.95, abs=0.07)
    assert np.mean(alone) < 0.8


def test_what_has_no_map_is_refused():
    f, t = samples(CurieWeiss(20), 100, BOX)
    with pytest.raises(ValueError, match="must both have shape"):
        fit_statistics_map(f[:50], t)
    with pytest.raises(ArithmeticError, match="no conjugate map"):
        fit_statistics_map(40 * t, t)
