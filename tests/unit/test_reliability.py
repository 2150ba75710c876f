"""What two noisy measurements of scores tell of the metric, where metric and noise are known."""

import numpy as np
import pytest

from hessgeo.grids import Grid
from hessgeo.metrics.reliability import LEAST, Reliability

BOX = ((0.0, 1.0), (-1.0, 1.0))
NODES = Grid(BOX, (6, 6)).points


def metric(t):
    """A metric that changes across the box."""
    a, b = t.T
    rows = [[2 + a, 0.5 * b], [0.5 * b, 1 + a * a]]
    return np.moveaxis(np.array(rows), 2, 0)


def root(g):
    value, vector = np.linalg.eigh(g)
    return (vector * np.sqrt(value)[:, None]) @ np.swapaxes(vector, 1, 2)


def measured(n, noise, seed=0, units=(1.0, 1.0)):
    """Scores, and what the best use of two noisy views of them makes of it; noise in units of the metric."""
    rng = np.random.default_rng(seed)
    low, high = np.array(BOX).T
    t = rng.uniform(low, high, (n, 2))
    white, keep = rng.standard_normal((n, 2)), 1 / (1 + np.array(noise))
    views = [keep * (white + np.sqrt(noise) * rng.standard_normal((n, 2))) for _ in range(2)]
    return t * units, *(np.einsum("nij,nj->ni", root(metric(t)), view) / units for view in views)


def corrected(n, noise, **more):
    """The metric of one view alone, exact, corrected by what both views show; relative errors before and after."""
    t, first, second = measured(n, noise, **more)
    units = np.array(more.get("units", (1.0, 1.0)))
    extent = tuple((low * unit, high * unit) for (low, high), unit in zip(BOX, units, strict=True))
    by, share = Reliability.of(first, second, t, extent, splines=(4, 4)).corrected(NODES * units)
    truth, whole = metric(NODES), root(metric(NODES))
    alone = whole @ np.diag(1 / (1 + np.array(noise))) @ whole
    by = by * np.outer(units, 1 / units)
    found = by @ alone @ np.swapaxes(by, 1, 2)
    size = np.linalg.norm(truth, axis=(1, 2))
    before, after = (np.linalg.norm(g - truth, axis=(1, 2)) / size for g in (alone, found))
    return np.median(before), np.median(after), share


def test_what_noise_takes_of_the_metric_is_restored():
    noise = (0.02, 0.3)
    before, after, share = corrected(4_000, noise)
    # The noise is known to the root of two over the samples that a spline sees, some 7 %: so is the correction.
    assert after < 0.25 * before
    assert np.median(share) == pytest.approx(max(noise), rel=0.15)


def test_the_error_of_the_correction_falls_with_samples():
    few, many = (np.mean([corrected(n, (0.4, 0.4), seed=k)[1] for k in range(2)]) for n in (500, 8_000))
    assert 2 < few / many < 8  # a factor of four, for sixteen times the samples


def test_units_change_nothing():
    plain, scaled = (corrected(500, (0.1, 0.2), units=units) for units in ((1.0, 1.0), (1e3, 1e-4)))
    np.testing.assert_allclose(scaled[1], plain[1], rtol=1e-3)
    np.testing.assert_allclose(scaled[2], plain[2], rtol=1e-3)


def test_measurements_that_share_nothing_are_not_trusted():
    t, first, _ = measured(500, (0.1, 0.1))
    _, other, _ = measured(500, (0.1, 0.1), seed=1)
    _, share = Reliability.of(first, other, t, BOX, splines=(4, 4)).corrected(NODES)
    assert share.max() <= 1 / LEAST - 1
    assert np.median(share) > 2
