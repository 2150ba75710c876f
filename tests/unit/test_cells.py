"""Cells of samples: what their nodes keep, and the first potential that thermodynamic integration gives."""

import numpy as np
import pytest

from hessgeo.free_energies.cells import Cells


def cells(centre, mean, metric):
    count = len(centre)
    return Cells(
        centre=np.array(centre, dtype=float),
        spread=np.tile(1e-4 * np.eye(2), (count, 1, 1)),
        count=np.ones(count),
        mean=np.array(mean, dtype=float),
        metric=np.array(metric, dtype=float),
        width=np.ones(count),
    )


def test_the_potential_of_a_quadratic_is_exact():
    # Between two places the trapezium is the integral of a linear slope, along every edge alike.
    rng, bend = np.random.default_rng(0), np.array([[2.0, 0.6], [0.6, 1.0]])
    centre = rng.uniform(-1, 1, (12, 2))
    found = cells(centre, centre @ bend, np.tile(bend, (12, 1, 1)))
    points = rng.uniform(-1, 1, (30, 2))
    difference = found.potential(points) - np.einsum("pi,ij,pj->p", points, bend, points) / 2
    np.testing.assert_allclose(difference, difference[0], atol=1e-9)


def test_what_does_not_close_is_left_to_the_long_edges():
    # A triangle whose rises, one along a and one along b, are missed by the third edge, from b to a, by one.
    # A fourth cell, without which there is no triangulation, lies too far off in its metric to pull.
    centre = [(0, 0), (1, 0), (0, 1), (2, 2)]
    mean = np.array([(0.0, 0.0), (2.0, 1.0), (-1.0, 2.0), (0.0, 0.0)])
    found = cells(centre, mean, [np.eye(2)] * 3 + [1e6 * np.eye(2)])
    level = found.potential(np.array(centre, dtype=float))
    rises = [
        ((mean[i] + mean[j]) / 2) @ (np.array(centre[j]) - centre[i]) for i, j in ((0, 1), (1, 2), (2, 0))
    ]
    missed = sum(rises)
    assert abs(missed) > 0.4
    # Squared lengths in the sum of both metrics are 2, 4 and 2; an edge takes its share as (1 + length)^2.
    share = np.array([9, 25, 9]) / 43
    np.testing.assert_allclose(
        [level[1] - level[0], level[2] - level[1], level[0] - level[2]], rises - missed * share, atol=1e-9
    )


def test_nodes_keep_mean_and_covariance_of_their_cells():
    rng = np.random.default_rng(0)
    t = rng.uniform(-1, 1, (2_000, 2)) @ np.array([[1.0, 0.4], [0.0, 0.5]])
    f = 5 * t + rng.standard_normal((2_000, 2))
    found = Cells.of(t, f, largest=16)
    points, weight = found.nodes()
    assert weight.sum() == pytest.approx(2_000)
    # Within cells and between them: of all samples the first two moments are kept.
    mean = weight @ points / weight.sum()
    np.testing.assert_allclose(mean, t.mean(axis=0), atol=1e-12)
    covariance = (weight[:, None] * (points - mean)).T @ (points - mean) / weight.sum()
    np.testing.assert_allclose(covariance, np.cov(t.T, bias=True), rtol=1e-10)
