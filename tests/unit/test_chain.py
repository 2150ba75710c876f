"""The links between the steps of a study, against sums written out and closed forms."""

import numpy as np
import pytest
import xarray as xr
from potentials import KnownPotential

from hessgeo.evaluation.posterior_rows import fitted_rows, measured_rows
from hessgeo.grids import Grid, parameter_points
from hessgeo.phases import boundary_growth
from hessgeo.pipeline import chain, node_means, phase_chain
from hessgeo.posteriors import Posterior, posterior, posterior_rows

GRID = Grid(((0.0, 2.0), (-1.0, 1.0)), (9, 11))


def quadratic(grid, resolution=30.0):
    """``F = a^2 + a b / 2 + 3 b^2 / 2`` as the file of a fit would hold it."""
    a, b = np.meshgrid(*grid.axes, indexing="ij")
    hessian = np.array([[2.0, 0.5], [0.5, 3.0]])
    fields = {
        "free_energy": (("a", "b"), a**2 + a * b / 2 + 1.5 * b**2),
        "gradient": (("a", "b", "i"), np.stack([2 * a + b / 2, a / 2 + 3 * b], axis=-1)),
        "fisher_metric": (("a", "b", "i", "j"), np.broadcast_to(hessian, (*grid.shape, 2, 2)).copy()),
        "third": (("a", "b", "i", "j", "k"), np.zeros((*grid.shape, 2, 2, 2))),
    }
    attributes = {"resolution": resolution, "kernel": "gaussian", "fit": "known"}
    return xr.Dataset(fields, {"a": grid.axes[0], "b": grid.axes[1]}, attributes)


def test_values_at_the_nodes_stay_as_they_are():
    values = np.random.default_rng(0).standard_normal((GRID.size, 2, 3))
    # Up to the rounding of a node's position within its cell.
    np.testing.assert_allclose(
        node_means.to_grid(values, GRID.points, GRID), values.reshape(9, 11, 2, 3), rtol=0, atol=1e-14
    )


def test_scattered_values_become_means_around_each_node():
    t = parameter_points("uniform", GRID, 4000, 1)
    constant = node_means.to_grid(np.full(4000, 7.0), t, GRID)
    np.testing.assert_allclose(constant, 7.0, rtol=1e-14)
    slope = node_means.to_grid(t[:, 0] + 2 * t[:, 1], t, GRID)
    a, b = np.meshgrid(*GRID.axes, indexing="ij")
    inner = (slice(1, -1), slice(1, -1))
    # About 60 samples a node; the mean of an affine function is off by their scatter, (step / sqrt 6) / sqrt 60.
    error = (slope - a - 2 * b)[inner]
    assert np.sqrt(np.mean(error**2)) < 0.06
    assert np.abs(error.mean()) < 0.01


def test_a_node_without_samples_and_a_sample_without_a_value_show():
    t = np.array([[0.0, -1.0], [0.25, -1.0]])
    on_grid = node_means.to_grid(np.array([3.0, np.nan]), t, GRID)
    assert on_grid[0, 0] == 3
    assert np.isnan(on_grid.ravel()[1:]).all()


def test_a_sample_that_rounding_moves_off_its_node_is_none_of_the_next_one():
    node = np.array(GRID.extent)[:, 0]
    # Of a sample that misses its node along both axes a share of 1e-12 falls to the node across: not a sample of its.
    for share, nodes in ((0.0, 1), (1e-12, 1), (1e-6, 3)):
        on_grid = node_means.to_grid(np.array([3.0]), (node + share * np.array(GRID.spacing))[None], GRID)
        assert np.isfinite(on_grid).sum() == nodes
        np.testing.assert_allclose(on_grid[np.isfinite(on_grid)], 3.0)


def test_the_nearest_node_is_nearest():
    t = parameter_points("uniform", GRID, 500, 2)
    scaled = (t[:, None] - GRID.points) / np.array(GRID.spacing)
    np.testing.assert_array_equal(GRID.nearest(t), np.abs(scaled).max(axis=-1).argmin(axis=1))


def test_fitted_rows_are_the_model_posterior():
    fit, sources = quadratic(GRID), np.array([0, 17, 98])
    rows = fitted_rows(fit, GRID.points, sources, GRID)
    value, gradient = fit["free_energy"].to_numpy().ravel(), fit["gradient"].to_numpy().reshape(-1, 2)
    for row, source in zip(rows, sources, strict=True):
        weight = np.exp([30 * (gradient[source] @ t - f) for t, f in zip(GRID.points, value, strict=True)])
        np.testing.assert_allclose(row, weight / weight.sum(), rtol=1e-9)
        assert np.argmax(row) == source  # the posterior of an exponential family peaks at its source


def test_fitted_rows_follow_the_density_of_the_samples():
    t = np.repeat(GRID.points, [1 + 2 * (k == 40) for k in range(GRID.size)], axis=0)
    once = fitted_rows(quadratic(GRID), GRID.points, np.array([40]), GRID)[0]
    thrice = fitted_rows(quadratic(GRID), t, np.array([40]), GRID)[0]
    odds = (thrice / once) / (thrice / once)[0]
    np.testing.assert_allclose(odds, np.where(np.arange(GRID.size) == 40, 3, 1), rtol=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace"])
def test_measured_rows_are_those_of_the_samples_spread_over_the_nodes(kernel):
    rng = np.random.default_rng(3)
    embedding = rng.standard_normal((GRID.size, 5)).astype("f4")
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    moments = posterior(embedding, GRID.points, kernel=kernel, resolution=4.0)
    assert isinstance(moments, Posterior)
    rows = measured_rows(moments, embedding, np.array([5, 50]), GRID)
    expected = posterior_rows(embedding, np.array([5, 50]), kernel=kernel, resolution=4.0)
    np.testing.assert_allclose(rows, expected, atol=1e-12)
    # Their mean is the mean that went into the file, up to its single-precision products.
    np.testing.assert_allclose(rows @ GRID.points, moments.mean[[5, 50]], atol=1e-5)


def test_fields_of_a_quadratic_are_known():
    fields = chain.metric_fields(quadratic(GRID))
    low, high = np.linalg.eigvalsh([[2.0, 0.5], [0.5, 3.0]])
    np.testing.assert_allclose(fields["smallest_eigenvalue"], low)
    np.testing.assert_allclose(fields["largest_eigenvalue"], high)
    np.testing.assert_allclose(fields["log_determinant"], np.log(5.75))
    np.testing.assert_allclose(fields["curvature"], 0, atol=1e-12)
    assert fields["positive_definite"].all()


def test_an_indefinite_cell_has_neither_volume_nor_curvature():
    fit = quadratic(GRID)
    fit["fisher_metric"][2, 3] = [[1.0, 2.0], [2.0, 1.0]]
    fields = chain.metric_fields(fit)
    assert fields["largest_eigenvalue"][2, 3] == pytest.approx(3)
    assert int((~fields["positive_definite"]).sum()) == 1
    assert np.isnan(fields["log_determinant"][2, 3])
    assert int(np.isnan(fields["curvature"]).sum()) == 1


def test_two_basins_are_two_phases_and_a_negative_cell_is_no_ridge():
    a, _ = np.meshgrid(*GRID.axes, indexing="ij")
    eigenvalue = 1 + 50 * np.exp(-(((a - 1) / 0.2) ** 2))
    eigenvalue[0, 0] = -5.0
    settings = {"persistence": 1.0, "minimum_area": 0.05, "smoothing": 0.0, "neighbours": 8}
    phases = phase_chain.phase_map(eigenvalue, GRID, settings)
    assert phases.count == 2
    assert len(np.unique(phases.label[:3])) == 1
    assert phases.label[0, 0] != phases.label[-1, 0]


def test_a_metric_without_any_positive_eigenvalue_is_refused():
    settings = {"persistence": 1.0, "minimum_area": 0.05, "smoothing": 0.0}
    with pytest.raises(ValueError, match="no positive eigenvalue"):
        phase_chain.phase_map(np.full(GRID.shape, -1.0), GRID, settings)


FIT = {"fit": "spline", "splines": [6, 6], "smoothness": "auto", "tolerance": 1e-9, "max_iterations": 100}


def test_a_fit_that_has_not_converged_stops_and_names_the_setting():
    moments = posterior(GRID.points, GRID.points, resolution=5.0)
    few = {**FIT, "max_iterations": 1}
    with pytest.raises(chain.NotConvergedError, match=r"free_energy\.max_iterations") as stopped:
        chain.fit_free_energy(moments, GRID.points, GRID, few, seed=0)
    assert "\n" not in str(stopped.value)
    # A scan goes on, and says so.
    fit = chain.fit_free_energy(moments, GRID.points, GRID, few, seed=0, must_converge=False)
    assert "has not converged" in fit.verdict
    assert chain.fit_free_energy(moments, GRID.points, GRID, FIT, seed=0).verdict == "resolved"


def test_a_verdict_goes_from_the_fit_to_the_metric():
    fit = quadratic(GRID).assign_attrs(verdict="posteriors are too narrow")
    assert chain.metric_fields(fit).attrs["verdict"] == "posteriors are too narrow"
    kinked = KnownPotential("kinked", lambda t: t.abs().sum(-1))
    kinked.certificate = {"converged": False, "resolved": False, "verdict": "kinks"}
    assert kinked.verdict == "the fit has not converged; kinks"


def test_boundaries_are_followed_over_the_resolution():
    a, _ = np.meshgrid(*GRID.axes, indexing="ij")
    settings = {"persistence": 1.0, "minimum_area": 0.05, "smoothing": 0.0}
    wall = np.exp(-(((a - 1) / 0.2) ** 2))
    growing, saturated = ([1 + top * wall for top in tops] for tops in ([20, 80, 320], [40, 44, 45]))
    for fields, word in ((growing, "transition"), (saturated, "crossover")):
        phases = phase_chain.phase_map(fields[1], GRID, settings)
        (found,) = boundary_growth(
            phases, [phase_chain.phase_height(f, settings) for f in fields], [10.0, 40.0, 160.0]
        )
        assert found["phases"] == [1, 2]
        assert found["verdict"] == word
        assert found["shares"][word] == 1
        np.testing.assert_allclose(
            found["strengths"][1], np.log(fields[1].max() / fields[1].min()), rtol=1e-6
        )
