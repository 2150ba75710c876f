"""Learned coordinates against families that are exponential in hidden ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.collections import LineCollection
from potentials import posterior_of_matrix
from scipy.special import softmax

import hessgeo as hg
from hessgeo.figures import coordinates as coordinates_figure
from hessgeo.free_energies.base import FitData, free_energy_dataset
from hessgeo.free_energies.coordinate_potential import preimages
from hessgeo.free_energies.coordinate_solution import CoordinateOptions, coordinate_problem
from hessgeo.free_energies.coordinate_step import CoordinateStep
from hessgeo.free_energies.coordinates import fit_coordinates
from hessgeo.free_energies.dual_solution import solve_dual
from hessgeo.grids import Grid
from hessgeo.metrics.curvature import thermodynamic_curvature
from hessgeo.metrics.diagnostics import codazzi_residual, relative_difference
from hessgeo.numerics.newton import minimise

BOX = ((1.0, 4.0), (-2.0, 0.0))  # of other units than the boxes that splines live in
PLANES = torch.tensor([[0.8, -0.3], [-0.2, 0.7], [-0.6, -0.5]], dtype=torch.float64)
SPLINES = (7, 7)


def hidden(s):
    """Coordinates of a point in box units; along its axes, or any others, the family below is not exponential."""
    return torch.stack(
        [s[..., 0] + 0.25 * s[..., 1] ** 2, s[..., 1] + 0.2 * torch.sin(2 * s[..., 0])], dim=-1
    )


def bowl(u):
    """A convex potential of three phases."""
    return torch.logsumexp(4 * u @ PLANES.T, dim=-1) / 4 + 0.05 * (u**2).sum(-1)


def family(grid, *, resolution, coordinates=hidden, potential=bowl):
    """The posteriors of the family on a grid, and its true metric and covariant third derivative at the nodes."""
    s = torch.from_numpy(grid.unit.points)
    u = coordinates(s)
    slope = torch.vmap(torch.func.grad(potential))(u)
    logits = resolution * (slope @ u.T - potential(u))
    rows = softmax(logits.numpy(), axis=1)
    jacobian, metric = pulled_back(grid, coordinates, potential)
    third = torch.vmap(torch.func.jacfwd(torch.func.hessian(potential)))(u)
    third = torch.einsum("gcde,gci,gdj,gek->gijk", third, jacobian, jacobian, jacobian)
    posterior = posterior_of_matrix(rows, grid, resolution=resolution)
    return FitData(posterior, grid, lambda sources: rows[sources]), metric.numpy(), third


def pulled_back(grid, coordinates, potential):
    """The Jacobian of coordinates at the nodes, and the metric ``J' Phi'' J``."""
    s = torch.from_numpy(grid.unit.points)
    jacobian = torch.vmap(torch.func.jacfwd(coordinates))(s) / torch.tensor(grid.frame.half)
    bent = torch.vmap(torch.func.hessian(potential))(coordinates(s))
    return jacobian, torch.einsum("gci,gcd,gdj->gij", jacobian, bent, jacobian)


def inside(grid, share=0.17):
    """Nodes off the edge, where posteriors are not cut off."""
    return (np.abs(grid.unit.points) <= 1 - 2 * share).all(axis=1)


def fitted(data, **options):
    """The fit of a family without noise: hardly any smoothing, to the end."""
    return fit_coordinates(data, CoordinateOptions(SPLINES, smoothness=1e-9, step_tolerance=1e-8, **options))


def metric_errors(fit, grid, truth):
    """Relative errors of the metric at the inner nodes."""
    found = fit.hessian(torch.from_numpy(grid.points)).numpy()
    return relative_difference(found, truth, units=grid.square)[inside(grid)]


@pytest.fixture(scope="module")
def learned():
    grid = Grid(BOX, (12, 12))
    data, metric, third = family(grid, resolution=25.0)
    return grid, data, fitted(data), metric, third


def test_hidden_coordinates_are_found_where_the_given_ones_cannot_follow(learned):
    grid, data, fit, metric, _ = learned
    about = fit.certificate
    assert about["converged"]
    assert about["coordinates_converged"]
    assert about["divergence_given"] > 0.02
    # What is left is that 7 x 7 splines do not hold the sine, and the weight of the distortion.
    assert about["mean_divergence"] < 2e-5
    assert about["response_definite_share"] == 1
    assert about["potential"] == "splines"
    assert about["potential_definite_everywhere"]
    assert about["antisymmetric_share"] < 0.03  # of differences over two cells
    errors = metric_errors(fit, grid, metric)
    # The convex spline has its knots a tenth of the box apart, and second derivatives of second order in that.
    assert np.median(errors) < 0.02
    assert errors.max() < 0.1
    # The response of the slopes does not go through second derivatives of a spline.
    nodes = torch.from_numpy(grid.points)
    response = fit.response(nodes).numpy()
    # .. of which differences see what their step lets through, a sixth of the third derivative.
    torch.testing.assert_close(
        fit.response_at(grid)[inside(grid)], fit.response(nodes)[inside(grid)], rtol=0, atol=0.12
    )
    response = (response + np.swapaxes(response, 1, 2)) / 2
    errors = relative_difference(response, metric, units=grid.square)[inside(grid)]
    assert np.median(errors) < 0.005
    assert errors.max() < 0.02
    # The given coordinates miss it: by the dual fit and by the splines alike.
    given = fitted(data, steps=0)
    assert given.certificate["antisymmetric_share"] > 3 * about["antisymmetric_share"]
    assert np.median(metric_errors(given, grid, metric)) > 10 * np.median(errors)


def test_the_curvature_is_that_of_the_hidden_potential(learned):
    grid, _, fit, metric, third = learned
    some = inside(grid, 0.25)
    t = torch.from_numpy(grid.points[some])
    truth = thermodynamic_curvature(torch.from_numpy(metric[some]), third[some])
    found = thermodynamic_curvature(fit.hessian(t), fit.third(t))
    # Third derivatives from second differences of slopes: errors of the square of a cell, a tenth of the box.
    assert float((found - truth).abs().median()) < 0.1 * float(truth.abs().median())


def test_value_slope_and_metric_agree_with_one_another(learned):
    _, _, fit, _, _ = learned
    t = torch.tensor([[2.3, -0.9], [1.9, -1.2]], dtype=torch.float64)
    step = 1e-5
    shifts = step * torch.eye(2, dtype=torch.float64)
    jacobian = torch.stack(
        [(fit.coordinates(t + s) - fit.coordinates(t - s)) / (2 * step) for s in shifts], dim=-1
    )
    torch.testing.assert_close(jacobian, fit.coordinates.jacobian(t), rtol=1e-7, atol=1e-8)
    second = [
        (fit.coordinates.jacobian(t + s) - fit.coordinates.jacobian(t - s)) / (2 * step) for s in shifts
    ]
    torch.testing.assert_close(torch.stack(second, dim=-1), fit.coordinates.second(t), rtol=1e-6, atol=1e-8)
    slope = torch.stack([(fit.value(t + s) - fit.value(t - s)) / (2 * step) for s in shifts], dim=-1)
    torch.testing.assert_close(slope, fit.gradient(t), rtol=1e-7, atol=1e-8)


def test_the_error_falls_with_the_nodes(learned):
    grid, _, fit, metric, _ = learned
    coarse = Grid(BOX, (6, 6))
    data, truth, _ = family(coarse, resolution=25.0)
    fewer = np.median(metric_errors(fitted(data), coarse, truth))
    # Half the nodes; slopes of a cubic spline through values have errors of third order and better.
    assert np.median(metric_errors(fit, grid, metric)) < fewer / 4


def test_without_steps_it_is_the_dual_fit():
    grid = Grid(BOX, (8, 8))
    data, _, _ = family(grid, resolution=25.0)
    fit = fitted(data, steps=0)
    solution = solve_dual(data.posterior, grid, tolerance=1e-9, max_iterations=100)[-1].point
    assert fit.certificate["displacement"] == 0
    assert fit.certificate["loss"] == pytest.approx(solution.loss, abs=1e-8)
    t = torch.from_numpy(grid.points)
    # The gauge: affine functions.
    design = np.column_stack([np.ones(grid.size), grid.unit.points])
    phi = solution.phi.numpy() / 25.0
    expected = phi - design @ np.linalg.lstsq(design, phi)[0]
    found = fit.basis.evaluate(fit.parts[0], grid.frame.into(t)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.ptp(expected))
    torch.testing.assert_close(fit.coordinates(t), grid.frame.into(t), atol=1e-14, rtol=0)


def test_units_do_not_matter(learned):
    grid, _, fit, _, _ = learned
    units, offset = np.array([1e3, 1e-2]), np.array([1e4, 0.0])
    other = Grid(
        tuple((low * w + o, high * w + o) for (low, high), w, o in zip(BOX, units, offset, strict=True)),
        grid.shape,
    )
    data, _, _ = family(other, resolution=25.0)
    again = fitted(data)
    assert again.certificate["mean_divergence"] == pytest.approx(fit.certificate["mean_divergence"], rel=1e-3)
    here, there = torch.from_numpy(grid.points), torch.from_numpy(other.points)
    scaled = again.hessian(there) * torch.from_numpy(np.outer(units, units))
    torch.testing.assert_close(
        scaled, fit.hessian(here), rtol=3e-3, atol=1e-3
    )  # the gap to the nearest convex one


def test_preimages_of_points_in_the_image_and_none_of_others(learned):
    grid, _, fit, _, _ = learned
    box = np.array(grid.extent)
    t = box[:, 0] + np.random.default_rng(0).random((50, 2)) * np.ptp(box, axis=1)
    found, inside_image = preimages(fit.coordinates, grid, fit.coordinates(torch.from_numpy(t)).numpy())
    assert inside_image.all()
    np.testing.assert_allclose(found, t, atol=1e-8)
    edge = torch.tensor([[box[0, 0] - 0.01, -1.0], [2.0, box[1, 1] + 0.01]], dtype=torch.float64)
    assert not preimages(fit.coordinates, grid, fit.coordinates(edge).numpy())[1].any()


def lifted(s):
    """Three coordinates of the plane."""
    return torch.stack([s[..., 0], s[..., 1], 0.6 * (s**2).sum(-1)], dim=-1)


def test_three_hidden_coordinates_need_three():
    grid = Grid(BOX, (8, 8))
    data, metric, _ = family(
        grid, resolution=15.0, coordinates=lifted, potential=lambda u: (u**2).sum(-1) / 2
    )
    fit = fitted(data, dimension=3)
    about = fit.certificate
    assert about["divergence_2"] < about["divergence_given"]
    assert about["divergence_3"] < 0.01 * about["divergence_2"]
    assert np.median(metric_errors(fit, grid, metric)) < 0.03
    assert torch.isnan(fit.third(torch.from_numpy(grid.points))).all()


@pytest.fixture
def point():
    """A point of the problem, anywhere."""
    grid = Grid(BOX, (6, 6))
    data, _, _ = family(grid, resolution=10.0)
    given = solve_dual(data.posterior, grid, tolerance=1e-3, max_iterations=100)[-1]
    problem, _ = coordinate_problem(data, given, CoordinateOptions((5, 5), smoothness=1e-3))
    noise = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return 0.05 * torch.randn(*shape, generator=noise, dtype=torch.float64)

    moved = problem.at(
        drawn(problem.bends.shape[1], 2), given.point.phi + drawn(36), given.point.theta + drawn(36, 2)
    )
    return moved, drawn


def test_the_slope_of_the_loss(point):
    at, drawn = point
    step = tuple(drawn(*x.shape) for x in (at.d, at.phi, at.theta))
    slope = sum(float((g * s).sum()) for g, s in zip(CoordinateStep(at).gradient(), step, strict=True))
    difference = (at.moved(step, 1e-4).loss - at.moved(step, -1e-4).loss) / 2e-4
    assert slope == pytest.approx(difference, rel=1e-6)


def test_linear_maps_of_the_coordinates_change_no_posterior(point):
    at, _ = point
    dual = at.dual
    mix, shift = (
        torch.tensor([[1.2, 0.3], [-0.4, 0.9]], dtype=torch.float64),
        torch.tensor([0.2, -0.1]).double(),
    )
    problem = replace(dual.problem, nodes=dual.problem.nodes @ mix.T + shift, ridge=0.0)
    same = problem.at(dual.phi, dual.theta @ torch.linalg.inv(mix))
    before = replace(dual.problem, ridge=0.0).at(dual.phi, dual.theta)
    torch.testing.assert_close(same.rows(torch.arange(36))[0], before.rows(torch.arange(36))[0])


def test_every_step_lowers_the_loss(point):
    at, _ = point
    losses = [at.loss]
    for _ in range(4):
        _, decrement = at.newton()
        assert decrement > 0
        at = minimise(at, tolerance=0, max_iterations=1, what="test").point
        losses.append(at.loss)
    assert np.all(np.diff(losses) < 0)


def test_a_fold_has_no_loss(point):
    at, _ = point
    folded = at.problem.at(at.d * 100, at.phi, at.theta)
    assert float(torch.linalg.det(folded.jacobian).min()) < 0
    assert folded.loss == np.inf


def test_sources_off_the_nodes_are_refused():
    grid = Grid(BOX, (6, 6))
    data, _, _ = family(grid, resolution=10.0)
    with pytest.raises(ValueError, match="one source at each node"):
        fitted(
            replace(
                data, posterior=replace(data.posterior, t=data.posterior.t * 0.9 + 0.1, support=grid.points)
            )
        )


def curved():
    """A metric that is a Hessian in the hidden coordinates alone, on a grid, and their connection."""
    grid = Grid(BOX, (60, 50))
    jacobian, metric = pulled_back(grid, hidden, bowl)
    half = torch.tensor(grid.frame.half)
    second = torch.vmap(torch.func.hessian(hidden))(torch.from_numpy(grid.unit.points)) / torch.outer(
        half, half
    )
    connection = torch.einsum("gmc,gcik->gmik", torch.linalg.inv(jacobian), second)
    return grid, metric.numpy().reshape(60, 50, 2, 2), connection.numpy().reshape(60, 50, 2, 2, 2)


def test_the_metric_is_a_hessian_in_the_hidden_coordinates(learned):
    grid, metric, connection = curved()
    before = codazzi_residual(metric, grid)
    after = codazzi_residual(metric, grid, connection=connection)
    assert before > 0.1
    assert after < 0.1 * before  # central differences, a fiftieth of the box apart, one-sided at its edge
    nothing = codazzi_residual(metric, grid, connection=np.zeros_like(connection))
    assert nothing == pytest.approx(before, rel=1e-12)
    # The coordinates that were learned do as well.
    found = learned[2].coordinates.connection(torch.from_numpy(grid.points)).numpy().reshape(60, 50, 2, 2, 2)
    assert codazzi_residual(metric, grid, connection=found) < 0.2 * before


def test_the_dataset_and_the_figure_of_coordinates(learned):
    grid, _, fit, _, _ = learned
    dataset = free_energy_dataset(fit, grid, attributes={"verdict": fit.verdict})
    u = dataset["coordinates"].to_numpy()
    torch.testing.assert_close(
        torch.from_numpy(u), fit.coordinates(torch.from_numpy(grid.points)).reshape(12, 12, 2)
    )
    label = (u[..., 0] > 0).astype(int) + 1
    phases = {"phases": [{"label": k, "area": float((label == k).mean())} for k in (1, 2)]}
    fields = xr.Dataset({"label": (("a", "b"), label)}, {"a": grid.axes[0], "b": grid.axes[1]})
    figure, table = coordinates_figure.draw(dataset, fields, phases)
    nodes, losses = table[table["a"].notna()], table[table["a"].isna()]
    np.testing.assert_array_equal(nodes["u_2"], u[..., 1].ravel())
    np.testing.assert_array_equal(losses["dimension"], [0, 2])
    np.testing.assert_array_equal(
        losses["divergence_nats"], [fit.certificate["divergence_given"], fit.certificate["divergence_2"]]
    )
    lines = next(part for part in figure.axes[0].collections if isinstance(part, LineCollection))
    np.testing.assert_array_equal(lines.get_segments()[0], u[0])


def test_kinks_are_left_to_the_mixture_of_sources():
    def kinked(u):
        return torch.logsumexp(300 * u @ PLANES.T, dim=-1) / 300

    grid = Grid(BOX, (8, 8))
    data, _, _ = family(grid, resolution=30.0, potential=kinked)
    fit = fit_coordinates(data, CoordinateOptions((5, 5), step_tolerance=1e-4, steps=10))
    about = fit.certificate
    assert about["potential"] == "mixture"
    assert about["mean_divergence"] < 0.5 * about["divergence_given"]
    fine = torch.from_numpy(Grid(BOX, (29, 29)).points)
    half = torch.tensor(grid.frame.half)
    assert (torch.linalg.eigvalsh(fit.hessian(fine) * torch.outer(half, half))[:, 0] > 0).all()


def test_a_study_learns_its_coordinates():
    grid = Grid(((0.0, 1.0), (0.0, 1.0)), (12, 12))
    a, b = grid.points.T
    bend = 8 * (a - 0.3 - 0.8 * (b - 0.5) ** 2)  # a boundary that is no straight line
    embedding = np.column_stack([np.tanh(bend), 1 / np.cosh(bend), 0.4 * b, 0.4 * a])
    learned = {"splines": [6, 6], "steps": 8, "compared": [3]}
    study = hg.fit(embedding, grid.points, free_energy={"coordinates": "learned", "learned": learned})
    about = study.free_energy.to_xarray().attrs["certificate"]
    assert about["divergence_3"] < about["divergence_2"] < about["divergence_given"]
    assert study.metric.positive_definite_share == 1
    figure, table = study.draw("coordinates")
    assert len(figure.axes) == 2
    assert table["dimension"].dropna().tolist() == [0, 2, 3]
    with pytest.raises(ValueError, match="figure 'coordinates' is not allowed"):
        hg.fit(embedding, grid.points).draw("coordinates")
