"""Frechet means against closed forms: flat, hyperbolic, spherical, weighted, and where there are several."""

import math

import pytest
import torch

from hessgeo.geodesics.means import frechet_mean
from hessgeo.metrics.known import (
    ConstantMetric,
    HalfSpaceMetric,
    PoissonMetric,
    StereographicMetric,
)

OPTIONS = {"points": 15, "grid_starts": False}


def test_a_flat_mean_is_arithmetic():
    t = torch.rand(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0, 1.0])
    mean = frechet_mean(
        ConstantMetric(torch.diag(torch.tensor([1.0, 9.0, 4.0]).double())), t, weights=weights, **OPTIONS
    )
    torch.testing.assert_close(mean.point, (weights.double() @ t) / 8, rtol=0, atol=1e-9)
    assert mean.converged
    assert mean.certified
    assert mean.unique is True
    # Flat, too, in exp(t / 2).
    t = t[:, :2]
    mean = frechet_mean(PoissonMetric(), t, **OPTIONS)
    torch.testing.assert_close(mean.point, 2 * (t / 2).exp().mean(dim=0).log(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("d", [2, 3])
def test_the_mean_of_two_is_the_middle_of_their_geodesic(d):
    metric, t = (
        HalfSpaceMetric(),
        0.5 + torch.rand(2, d, generator=torch.Generator().manual_seed(d), dtype=torch.float64),
    )
    for weights in ([1.0, 1.0], [1.0, 3.0]):
        place = torch.tensor([weights[1] / sum(weights)], dtype=torch.float64)
        mean = frechet_mean(metric, t, weights=torch.tensor(weights), **OPTIONS)
        torch.testing.assert_close(mean.point, metric.geodesic(t[0], t[1], place)[0], rtol=0, atol=1e-7)
        distance = float(metric.distance(t[0], t[1]))
        share = weights[0] / sum(weights)
        assert mean.variance == pytest.approx(share * (1 - share) * distance**2, rel=1e-7)
        assert mean.converged
        assert mean.unique is True


def test_a_symmetric_set_on_the_sphere_has_its_mean_at_the_centre():
    angle = 2 * math.pi * torch.arange(5, dtype=torch.float64) / 5
    t = 0.4 * torch.stack([angle.cos(), angle.sin()], dim=-1)
    mean = frechet_mean(StereographicMetric(), t, starts=torch.tensor([[0.1, 0.2], [-0.2, 0.1]]), **OPTIONS)
    torch.testing.assert_close(mean.point, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-7)
    assert mean.variance == pytest.approx((2 * math.atan(0.4)) ** 2, rel=1e-9)
    assert mean.unique is True


def test_several_means_are_said():
    def hill(t):  # costly to cross: the middle of two points on either side lies above or below
        cost = 1 + 8 * torch.exp(-(t**2).sum(-1) / 0.18)
        return cost[..., None, None] ** 2 * torch.eye(2, dtype=t.dtype)

    t = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    starts = torch.tensor([[0.0, 0.9], [0.0, -0.9]], dtype=torch.float64)
    mean = frechet_mean(hill, t, starts=starts, **OPTIONS)
    assert mean.converged
    assert mean.unique is False
    mirrored = mean.point * torch.tensor([1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(mean.others, mirrored[None], rtol=0, atol=1e-6)
    assert abs(float(mean.point[0])) < 1e-6
    assert float(mean.point[1].abs()) > 0.3
    assert frechet_mean(hill, t, starts=starts[:1], **OPTIONS).unique is None


def test_what_has_no_mean_is_refused():
    t = torch.ones(2, 2, dtype=torch.float64)
    for weights in (torch.tensor([1.0]), torch.tensor([-1.0, 2.0]), torch.zeros(2)):
        with pytest.raises(ValueError, match="weights must be 2 numbers"):
            frechet_mean(HalfSpaceMetric(), t, weights=weights)
    with pytest.raises(ValueError, match="points have shape"):
        frechet_mean(HalfSpaceMetric(), t[:0])
    mean = frechet_mean(HalfSpaceMetric(), t, **OPTIONS)
    torch.testing.assert_close(mean.point, t[0])
    assert mean.variance == 0.0
    assert mean.converged
