"""Geodesics held against the distance over a grid: closed forms, and a path through the wrong valley."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from eikonal import random_metric

from hessgeo.geodesics import geodesics
from hessgeo.geodesics.eikonal import Valleys, distance_map
from hessgeo.geodesics.result import TOLD
from hessgeo.grids import Grid
from hessgeo.metrics.base import FunctionMetric
from hessgeo.metrics.known import HalfPlaneMetric

BOX = ((0.0, 1.0), (0.0, 1.0))
OPTIONS = {"points": 25, "grid_nodes": 16, "valleys": True}


def walled(t):
    """A wall at a = 1/2 with a gap near b = 0.85: the straight line stays in it, the shortest way goes round."""
    across = torch.exp(-((t[..., 0] - 0.5) ** 2) / (2 * 0.06**2))
    gap = 1 - torch.exp(-((t[..., 1] - 0.85) ** 2) / (2 * 0.1**2))
    return (1 + 20 * across * gap)[..., None, None] ** 2 * torch.eye(2, dtype=t.dtype)


def points(*pair):
    return (torch.tensor([one], dtype=torch.float64) for one in pair)


def test_distance_over_two_grids_holds_the_closed_form():
    metric, rng = HalfPlaneMetric(), np.random.default_rng(0)
    starts, ends = rng.uniform(0.7, 1.7, (2, 6, 2))
    estimate = Valleys.of(metric, Grid(((0.2, 2.2), (0.4, 2.2)), (13, 13))).between(starts, ends, count=9)
    exact = metric.distance(torch.from_numpy(starts), torch.from_numpy(ends)).numpy()
    assert (np.abs(estimate.distance - exact) <= estimate.error).all()
    assert (estimate.error <= 0.1 * exact).all()
    np.testing.assert_array_equal(estimate.paths[:, 0], starts)
    np.testing.assert_array_equal(estimate.paths[:, -1], ends)


def test_a_front_that_is_faster_than_its_own_way_says_so():
    # Where one direction is cheap, neighbours of a node lie many nodes away along it, with walls between them.
    metric = random_metric(np.random.default_rng((0, 101)))
    starts, ends = np.array([[0.81593254, 0.57341693]]), np.array([[0.4943641, 0.33046869]])
    estimate = Valleys.of(metric, Grid(BOX, (95, 95))).between(starts, ends, count=3)
    solved = geodesics(metric, torch.from_numpy(starts), torch.from_numpy(ends), points=40, doublings=2)
    # No finer grid finds a way that is shorter than the curve.
    assert bool(solved.certified)
    assert float(solved.length) < estimate.distance[0] + estimate.error[0]
    assert float(solved.length) > 1.1 * estimate.distance[0]


def test_path_is_certified_through_the_valley_that_is_shortest():
    metric = FunctionMetric(walled, box=BOX)
    stuck = geodesics(metric, *points((0.1, 0.15), (0.9, 0.15)), grid_starts=False, **OPTIONS)
    assert bool(stuck.undercut)
    assert not bool(stuck.certified)
    assert "another valley may be shorter" in stuck.reasons()[0]
    found = geodesics(metric, *points((0.1, 0.15), (0.9, 0.15)), **OPTIONS)
    assert bool((found.length < stuck.distance + stuck.distance_error).all())
    assert not bool(found.undercut)
    assert float(found.length) < 0.8 * float(stuck.length)


def test_path_is_not_certified_by_a_distance_that_is_hardly_known():
    metric = FunctionMetric(walled, box=BOX)
    ends = list(points((0.1, 0.15), (0.9, 0.15)))
    crude = Valleys.of(metric, Grid(BOX, (7, 7))).between(*(end.numpy() for end in ends), count=3)
    found = geodesics(metric, *ends, points=25, grid_nodes=7, valleys=True)
    # Two grids of 7 and 13 nodes tell little; of 25 and 49, to which the solver goes on, enough.
    assert crude.error[0] > TOLD * float(found.length)
    assert float(found.distance_error) <= TOLD * float(found.length)
    vague = replace(found, distance_error=found.length * 0.2)
    assert bool(found.certified)
    assert not bool(vague.certified)
    assert "is known to 20% of its length, allowed 10%" in vague.reasons()[0]
    lost = replace(found, distance=found.length * torch.inf, distance_error=found.length * torch.inf)
    assert not bool(lost.certified)
    assert "no way leads" in lost.reasons()[0]


def test_nothing_is_said_of_valleys_where_none_were_asked_for():
    found = geodesics(HalfPlaneMetric(), *points((0.2, 0.9), (0.9, 1.1)), points=9, grid_starts=False)
    assert bool(found.distance.isnan())
    assert not bool(found.undercut)


def test_distance_map_is_in_the_units_of_its_parameters():
    grid = Grid(((0.0, 1e6), (5.0, 5.1)), (11, 9))
    metric = FunctionMetric(
        lambda t: torch.diag(torch.tensor([1e-12, 1e2], dtype=t.dtype)) + 0 * t[..., None]
    )
    source = np.array([3e5, 5.06])
    found, step = distance_map(metric, source, grid), (grid.points - source) * np.array([1e-6, 1e1])
    np.testing.assert_allclose(found.values.ravel(), np.linalg.norm(step, axis=1), atol=2e-3)
    with pytest.raises(ValueError, match="outside the box"):
        distance_map(metric, np.array([0.0, 6.0]), grid)
