"""GEORCE, as published: closed forms, to first order in the step."""

from itertools import pairwise

import pytest
import torch

from hessgeo.geodesics import geodesics
from hessgeo.geodesics.reference import georce_geodesics
from hessgeo.metrics.known import ConstantMetric, HalfSpaceMetric


def test_a_flat_metric_is_solved_at_once():
    metric = ConstantMetric(torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64))
    starts, ends = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = georce_geodesics(metric, starts, ends, segments=10)
    torch.testing.assert_close(found.length, metric.distance(starts, ends), rtol=1e-10, atol=0)
    assert bool(found.converged.all())


@pytest.mark.parametrize("d", [2, 3])
def test_curves_near_the_geodesic_as_the_step_says(d):
    metric = HalfSpaceMetric()
    starts, ends = 0.6 + torch.rand(2, 4, d, generator=torch.Generator().manual_seed(d), dtype=torch.float64)
    errors = []
    for segments in (25, 50, 100):
        found = georce_geodesics(metric, starts, ends, segments=segments, tolerance=1e-9)
        assert bool(found.converged.all())
        assert bool((found.length > metric.distance(starts, ends) * (1 - 1e-9)).all())
        share = torch.linspace(0, 1, segments + 1, dtype=torch.float64)
        errors.append(float((found.points - metric.geodesic(starts, ends, share)).norm(dim=-1).max()))
    # The metric is read at the first point of each segment: first order in the step.
    for more, fewer in pairwise(errors):
        assert more / fewer == pytest.approx(2, abs=0.3)
    assert errors[-1] < 0.02
    ours = geodesics(metric, starts, ends, points=30)
    assert bool((ours.length <= found.length).all())


def test_what_has_no_inner_point_is_refused():
    starts = torch.ones(1, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="segments is 1"):
        georce_geodesics(HalfSpaceMetric(), starts, 2 * starts, segments=1)
