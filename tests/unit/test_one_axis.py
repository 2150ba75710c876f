"""Studies of one parameter: grids, posteriors, fits, metrics and phases on a line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

import hessgeo
from hessgeo.figures import profile
from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.free_energies.spline import fit_spline
from hessgeo.grids import Frame, Grid, bilinear_weights, parameter_points
from hessgeo.metrics.measured import posterior_metric
from hessgeo.phases.boundaries import boundary_points
from hessgeo.phases.segment import segment_phases
from hessgeo.phases.significance import noise_level
from hessgeo.pipeline.config_files import SettingsError
from hessgeo.pipeline.metric_chain import derive_metric
from hessgeo.pipeline.phase_chain import describe_phases
from hessgeo.pipeline.resolution_scan import scan_resolution
from hessgeo.posteriors import Posterior, choose_resolution, posterior
from hessgeo.posteriors.base import row_moments
from hessgeo.systems.slices import LatentSlice, random_anchors

LINE = Grid(((-1.0, 2.0),), (13,))


def test_nodes_of_a_line():
    assert LINE.size == 13
    np.testing.assert_array_equal(LINE.points, np.linspace(-1, 2, 13)[:, None])
    assert LINE.spacing == (0.25,)
    assert LINE.frame == Frame((0.5,), (1.5,))
    np.testing.assert_allclose(LINE.square, [1.0])
    assert LINE.nearest(np.array([[-3.0], [0.12], [0.13], [9.0]])).tolist() == [0, 4, 5, 12]


def test_sides_and_nodes_are_as_many():
    with pytest.raises(ValueError, match="both be of one axis or of two"):
        Grid(((0.0, 1.0), (0.0, 1.0)), (5,))


@pytest.mark.parametrize("design", ["uniform", "sobol"])
def test_points_of_a_line_lie_in_it(design):
    points = parameter_points(design, LINE, 64, seed=3)
    assert points.shape == (64, 1)
    assert (points >= -1).all()
    assert (points <= 2).all()


def test_weights_keep_mass_and_mean():
    points = parameter_points("uniform", LINE, 50, seed=1)
    weights = bilinear_weights(points, LINE)
    assert (weights.getnnz(axis=1) <= 2).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights @ LINE.points, points)


def features(t):
    """On a curve of unit speed in the sphere, so that distances of embeddings are those of parameters, nearly."""
    return np.column_stack([np.cos(t[:, 0]), np.sin(t[:, 0]), np.zeros(len(t))])


def test_a_posterior_along_a_line_is_that_of_its_sums():
    grid = Grid(((0.0, 1.0),), (101,))
    found = posterior(features(grid.points), grid.points, resolution=400.0)
    t = grid.points[:, 0]
    # |E - E'|^2 = 2 - 2 cos(t - t')
    weight = np.exp(-400.0 * (1 - np.cos(t[:, None] - t)))
    weight /= weight.sum(axis=1, keepdims=True)
    mean = weight @ t
    # Products and exponentials are float32.
    np.testing.assert_allclose(found.mean[:, 0], mean, atol=1e-5)
    np.testing.assert_allclose(found.covariance[:, 0, 0], weight @ t**2 - mean**2, rtol=1e-3)
    np.testing.assert_allclose(found.marginal, weight.sum(axis=0), rtol=1e-3)
    # Off the edge it is a Gaussian of variance 1 / N.
    assert found.covariance[50, 0, 0] * 400 == pytest.approx(1, rel=0.01)


def test_one_grid_step_is_the_root_of_the_cells_of_a_plane():
    grid = Grid(((0.0, 1.0),), (101,))
    options = {
        "kernel": "gaussian",
        "cells": float(np.sqrt(2 * np.pi * np.e)),
        "quantile": 0.5,
        "sources": 101,
    }
    resolution = choose_resolution(features(grid.points), grid.points, **options, seed=0)
    # A deviation of one step of 0.01; the sum over nodes is an integral to 1e-8, the median source is off the edge.
    assert resolution == pytest.approx(1e4, rel=0.01)


def test_a_slice_of_one_axis_is_the_edge_of_that_of_two():
    anchors = random_anchors(4, (2, 3))
    path = LatentSlice(anchors, LINE.extent, axes=("latent",))
    plane = LatentSlice(anchors, ((-1.0, 2.0), (-1.0, 1.0)))
    on_edge = np.column_stack([LINE.points, np.zeros(13)])
    np.testing.assert_array_equal(path.latents(LINE.points), plane.latents(on_edge))
    with pytest.raises(ValueError, match="must be 1, as sides of the extent"):
        LatentSlice(anchors, LINE.extent)


def test_a_condition_alone_leaves_the_latent():
    anchors = random_anchors(4, (2, 3))
    path = LatentSlice(anchors, ((1.0, 9.0),), normalisation="none", axes=("guidance",))
    t = np.array([[1.0], [4.0]])
    np.testing.assert_array_equal(path.latents(t), np.stack([anchors[0], anchors[0]]))
    np.testing.assert_array_equal(path.conditions(t)["guidance"], [1.0, 4.0])


class KnownLine:
    """``F(t) = log(2 cosh(2 t)) + t^2 / 2`` with its derivatives: convex, a bend at 0."""

    @staticmethod
    def value(t):
        return np.log(2 * np.cosh(2 * t)) + t**2 / 2

    @staticmethod
    def gradient(t):
        return 2 * np.tanh(2 * t) + t

    @staticmethod
    def metric(t):
        return 4 / np.cosh(2 * t) ** 2 + 1


def exact_posterior(grid, resolution):
    """The posterior of ``KnownLine`` along the first axis of a grid; along a second ``F`` is constant."""
    points = grid.points
    value, slope = KnownLine.value(points[:, 0]), np.zeros_like(points)
    slope[:, 0] = KnownLine.gradient(points[:, 0])
    p = softmax(resolution * (slope @ points.T - value), axis=1)
    mean, central = row_moments(p, points)
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
    return Posterior(
        t=points, mean=mean, central_moment=central, marginal=p.sum(axis=0), entropy=entropy,
        log_normaliser=np.zeros(len(p)), resolution=resolution, kernel="gaussian", exclude_self=False,
    )  # fmt: skip


def errors_of(nodes, resolution=60.0, splines=24):
    """Root mean square errors of ``F`` (less its affine part), ``F'`` (less its mean) and ``F''``."""
    grid = Grid(((-1.0, 1.5),), (nodes,))
    fit = fit_spline(exact_posterior(grid, resolution), grid, splines=(splines,))
    assert fit.certificate["converged"]
    t = torch.linspace(-0.9, 1.4, 231, dtype=torch.float64)[:, None]
    off = fit.value(t).numpy() - KnownLine.value(t[:, 0].numpy())
    slope = fit.gradient(t)[:, 0].numpy() - KnownLine.gradient(t[:, 0].numpy())
    bend = fit.hessian(t)[:, 0, 0].numpy() - KnownLine.metric(t[:, 0].numpy())
    off = off - np.polyval(np.polyfit(t[:, 0].numpy(), off, 1), t[:, 0].numpy())
    return [float(np.sqrt(np.mean(error**2))) for error in (off, slope - slope.mean(), bend)], fit


def test_a_known_free_energy_and_its_derivatives_are_recovered():
    (value, slope, bend), fit = errors_of(64)
    # F, F' and F'' reach 2, 5 and 5; cubic splines with 21 intervals miss the last by 1e-2.
    assert value < 1e-4
    assert slope < 1e-3
    assert bend < 0.02
    assert fit.verdict == "resolved"


def test_errors_fall_with_the_knots_as_those_of_cubic_splines():
    few, many = errors_of(192, splines=15)[0], errors_of(192, splines=27)[0]
    # Half the intervals: of F the fourth power, of F' the third, of F'' the second, once a bend is followed.
    rates = np.log2(np.array(few) / many)
    assert (rates > [3, 2.3, 1.6]).all(), rates


def test_derivatives_belong_together():
    _, fit = errors_of(64)
    t = torch.linspace(-0.9, 1.4, 47, dtype=torch.float64)[:, None].requires_grad_()
    for method, derivative in (
        (fit.value, fit.gradient),
        (fit.gradient, fit.hessian),
        (fit.hessian, fit.third),
    ):
        (by_torch,) = torch.autograd.grad(method(t).sum(), t)
        torch.testing.assert_close(by_torch.flatten(), derivative(t).detach().flatten(), rtol=1e-9, atol=1e-9)


def test_a_line_is_a_plane_that_is_constant_across():
    line, plane = Grid(((-1.0, 1.5),), (40,)), Grid(((-1.0, 1.5), (0.0, 1.0)), (40, 5))
    one = fit_spline(exact_posterior(line, 60.0), line, splines=(16,), smoothness=1e-7, tolerance=1e-13)
    # A prior that is felt would not be one of a plane: splines at its edge have fewer nodes.
    two = fit_spline(exact_posterior(plane, 60.0), plane, splines=(16, 4), smoothness=1e-7, tolerance=1e-13)
    t = torch.linspace(-0.9, 1.4, 47, dtype=torch.float64)
    across = torch.stack([t, torch.full_like(t, 0.3)], dim=-1)
    torch.testing.assert_close(
        two.hessian(across)[:, 0, 0], one.hessian(t[:, None])[:, 0, 0], rtol=1e-3, atol=1e-3
    )
    off = two.gradient(across)[:, 0] - one.gradient(t[:, None])[:, 0]
    assert float(off.max() - off.min()) < 1e-3
    assert float(two.hessian(across)[:, 1, 1].abs().max()) < 1e-3


def test_bars_hold_the_error_of_noisy_posteriors():
    grid = Grid(((-1.0, 1.5),), (128,))
    known = exact_posterior(grid, 60.0)
    draws = known.mean + np.sqrt(known.central_moment / 50) * np.random.default_rng(2).standard_normal(
        (128, 1)
    )
    fit = fit_spline(replace(known, mean=draws), grid, splines=(24,))
    t = torch.linspace(-0.8, 1.3, 200, dtype=torch.float64)[:, None]
    off = (fit.hessian(t) - torch.from_numpy(KnownLine.metric(t.numpy()))[..., None]).flatten().abs()
    assert float((off < 2 * fit.hessian_error(t).flatten()).double().mean()) > 0.5
    # A fiftieth of one draw's variance is what the scatter between neighbours is.
    assert fit.certificate["noise"] == pytest.approx(1 / 50, rel=0.5)


def test_fields_of_a_line_are_on_one_dim():
    fields = free_energy_dataset(errors_of(40)[1], LINE, attributes={})
    assert fields["fisher_metric"].dims == ("a", "i", "j")
    assert fields["third"].shape == (13, 1, 1, 1)
    assert fields["i"].to_numpy().tolist() == ["a"]
    assert np.isfinite(fields["fisher_metric_error"]).all()


def sheet(grid):
    """Features that turn quickly at 0 and at 1, slowly elsewhere: three phases."""
    t = grid.points[:, 0]
    angle = 0.2 * t + 0.7 * np.tanh((t - 0.0) / 0.15) + 0.7 * np.tanh((t - 1.0) / 0.15)
    return np.column_stack([np.cos(angle), np.sin(angle)])


@pytest.fixture(scope="module")
def steps():
    """A line through three phases: its posterior, fields of ``F`` and of the metric."""
    grid = Grid(((-1.0, 2.0),), (96,))
    embedding = sheet(grid)
    found = posterior(embedding, grid.points, resolution=150.0)
    fit = fit_spline(found, grid, splines=(48,))
    fields = free_energy_dataset(fit, grid, attributes={"verdict": fit.verdict})
    metric, numbers = derive_metric(fields, found, embedding, grid)
    return grid, embedding, fields, metric, numbers


def test_the_metric_of_a_line_is_one_number_a_node(steps):
    grid, embedding, fields, metric, numbers = steps
    g = fields["fisher_metric"].to_numpy()[:, 0, 0]
    np.testing.assert_array_equal(metric["smallest_eigenvalue"], metric["largest_eigenvalue"])
    np.testing.assert_allclose(metric["largest_eigenvalue"], g)
    np.testing.assert_array_equal(metric["positive_definite"], g > 0)
    np.testing.assert_allclose(metric["log_determinant"].to_numpy()[g > 0], np.log(g[g > 0]))
    assert "curvature" not in metric
    assert not any("codazzi" in name for name in numbers)
    slopes = np.gradient(embedding, grid.spacing[0], axis=0)
    np.testing.assert_allclose(metric["measured_metric"].to_numpy()[:, 0, 0], (slopes**2).sum(axis=1))


def test_the_width_of_a_narrow_posterior_is_the_metric():
    grid = Grid(((-1.0, 1.5),), (401,))
    known = exact_posterior(grid, 2000.0)
    inside = slice(60, -60)
    # Gaussian to first order in 1 / N, of which the next term is F'' times a few thousandths.
    np.testing.assert_allclose(
        posterior_metric(known)[inside, 0, 0], KnownLine.metric(grid.points[inside, 0]), rtol=0.03
    )


def test_phases_of_a_line_are_intervals_between_ridges(steps):
    grid, embedding, fields, metric, _ = steps
    settings = {"persistence": 0.5, "minimum_area": 0.02, "smoothing": 1.0, "neighbours": 8}
    dataset, found, numbers = describe_phases(
        metric, fields, embedding, grid.points, grid, settings, on_grid=True
    )
    assert dataset["label"].dims == ("a",)
    assert (numbers["phases"], numbers["boundaries"], numbers["triple_points"]) == (3, 2, 0)
    places = [np.asarray(line["points"]) for line in found["boundaries"]]
    # Within a node of where the features turn, apart by steps of 0.03.
    np.testing.assert_allclose(np.concatenate(places)[:, 0], [0.0, 1.0], atol=0.04)
    for line in found["boundaries"]:
        assert line["strength"] == line["lowest"] > 0.5
        # At half of the height of log g above the shallower phase a turn of width 0.15 is some 0.3 to 1 wide.
        assert 0.1 < line["width"] < 1.0
    assert np.count_nonzero(np.diff(dataset["label"])) == 2
    slopes = np.linalg.norm(np.diff(embedding, axis=0), axis=1) / grid.spacing[0]
    np.testing.assert_allclose(dataset["lipschitz"][1:-1], np.maximum(slopes[:-1], slopes[1:]))


def test_the_profile_shows_what_the_results_hold(steps):
    grid, embedding, fields, metric, _ = steps
    settings = {"persistence": 0.5, "minimum_area": 0.02, "smoothing": 1.0, "neighbours": 8}
    dataset, found, _ = describe_phases(metric, fields, embedding, grid.points, grid, settings, on_grid=True)
    known = posterior(embedding, grid.points, resolution=150.0)
    images = np.arange(96, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    shown = profile.gather(
        fields, metric, found, known, grid.points, images, grid=grid, along="latent coordinate"
    )
    np.testing.assert_array_equal(shown["pictures"][:, 0, 0, 0], shown["samples"])
    # Sixteen tiles of six nodes; the middle of the first lies between the third and the fourth.
    assert np.diff(shown["samples"]).min() >= 5
    assert shown["samples"][0] in (2, 3)
    figure, table = profile.draw(**shown)
    assert table["phase"].tolist() == dataset["label"].to_numpy().tolist()
    np.testing.assert_allclose(
        table["sqrt_g"] ** 2, fields["fisher_metric"].to_numpy()[:, 0, 0].clip(0) + 0 * table["sqrt_g"]
    )
    np.testing.assert_allclose(table["posterior_deviation"], np.sqrt(known.central_moment[:, 0]))
    np.testing.assert_allclose(table["posterior_entropy_nats"], known.entropy)
    assert table["sample"].dropna().tolist() == shown["samples"].tolist()
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert "latent coordinate $a$" in labels
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    for line in found["boundaries"]:
        assert f"{line['strength']:.2g} nats" in texts


def test_a_ridge_of_known_width():
    grid = Grid(((0.0, 10.0),), (401,))
    height = np.exp(-((grid.points[:, 0] - 4) ** 2) / 2)
    label = np.where(grid.points[:, 0] < 4.01, 1, 2)
    (place,) = boundary_points(label, height, grid)
    assert place.points.shape == (1, 1)
    assert place.points[0, 0] == pytest.approx(4.0125)
    # Full width of a Gaussian at half of its height, 2 sqrt(2 log 2), by linear interpolation between nodes.
    assert place.width == pytest.approx(2 * np.sqrt(2 * np.log(2)), rel=1e-3)


def test_noise_along_a_line_has_one_phase():
    rng = np.random.default_rng(0)
    grid = Grid(((0.0, 1.0),), (256,))
    counts = []
    for _ in range(20):
        field = np.exp(0.5 * rng.standard_normal(256))
        assert noise_level(np.log(field)) == pytest.approx(0.5, rel=0.25)
        counts.append(segment_phases(field, grid, persistence=0.01, minimum_area=0.0, smoothing=1.0).count)
    # One field in a hundred of pure noise has more.
    assert sorted(counts)[-2] == 1


def test_a_line_is_scanned():
    grid = Grid(((-1.0, 2.0),), (96,))
    fit = {"fit": "spline", "splines": [32], "smoothness": "auto", "tolerance": 1e-9, "max_iterations": 100}
    settings = {
        "factors": [1, 2],
        "posterior": {"kernel": "gaussian", "exclude_self": False, "memory_mb": 256},
        "fit": fit,
        "phases": {"persistence": 0.5, "minimum_area": 0.02, "smoothing": 1.0},
    }
    table, numbers = scan_resolution(sheet(grid), grid.points, grid, 100.0, settings, seed=0)
    assert table["N"].tolist() == [100.0, 200.0]
    assert table["phases"].tolist() == [3, 3]
    assert (table["total_variation"] < 0.2).all()
    assert len(numbers["boundaries"]) == 2


def test_the_front_door_refuses_one_parameter_in_a_line():
    anchors = random_anchors(4, (5,))
    with pytest.raises(SettingsError, match="two node counts; studies of one parameter") as caught:
        hessgeo.map(np.square, anchors=anchors, grid=(64,))
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"slice.extent: .* allowed: 2 of them"):
        hessgeo.map(np.square, anchors=anchors, extent=((-1, 2),))
