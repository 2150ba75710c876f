"""Which seeds are safe: closed forms of risks and distances, rates of their errors, and the figure."""

import numpy as np
import pytest
import torch
import xarray as xr
from printed import assert_printable, assert_whole
from scipy.special import ndtr

from hessgeo.figures import safety as figure_module
from hessgeo.figures import style
from hessgeo.geodesics.eikonal import GriddedMedium
from hessgeo.grids import Grid
from hessgeo.numerics.eikonal import medium
from hessgeo.numerics.eikonal_fronts import arrivals
from hessgeo.phases.safety import boundary_distances, jitter_risk, stable_medoids
from hessgeo.pipeline.safety import study_safety
from hessgeo.pipeline.schema import defaults

TURNED = np.array([[3.0, 1.2], [1.2, 1.5]])


def constant(t):
    return torch.from_numpy(TURNED).expand(*t.shape[:-1], 2, 2)


def flat(t):
    return torch.eye(2, dtype=t.dtype).expand(*t.shape[:-1], 2, 2)


def test_risk_beside_a_straight_boundary_is_the_normal_distribution():
    # The boundary lies halfway between nodes 19 and 20; deviation two grid steps, so that the box is far away.
    label = np.where(np.arange(40)[:, None] < 20, 1, 2) * np.ones((1, 40), int)
    risk, inside = jitter_risk(label, 2 / 39)
    steps = np.abs(np.arange(40) - 19.5)
    middle = slice(15, 25)
    # Ten deviations from the edges of the box nothing of the distribution is cut.
    np.testing.assert_allclose(risk[middle, 20], ndtr(-steps[middle] / 2), rtol=1e-9)
    np.testing.assert_allclose(inside[20, 20], 1, rtol=1e-12)
    # In a corner a quarter of the shifts stay in the box, up to the deviation's tail over all of it.
    np.testing.assert_allclose(inside[0, 0], 0.25, rtol=1e-9)
    assert np.all(jitter_risk(np.ones((9, 7), int), 0.1)[0] < 1e-12)


def slanted_risk(nodes, sigma):
    """Risk on a map of a slanted half-plane, and the truth, for points whose shifts stay in the box."""
    grid = Grid(((-1.0, 1.0), (-1.0, 1.0)), (nodes, nodes))
    normal = np.array([np.cos(0.4), np.sin(0.4)])
    far = (grid.points @ normal - 0.031).reshape(nodes, nodes)
    risk, inside = jitter_risk(np.where(far > 0, 1, 2), sigma)
    return (risk - ndtr(-np.abs(far) / (2 * sigma)))[inside > 1 - 1e-6]


def test_risk_on_a_slanted_map_converges():
    # Cells along a slanted line are on the wrong side by half of their width at most, and as often on either: the
    # error falls faster than the step.
    coarse, fine = (np.sqrt(np.mean(slanted_risk(nodes, 0.06) ** 2)) for nodes in (33, 129))
    assert fine < coarse / 4
    assert fine < 2e-3


def test_distances_from_a_line_are_exact_in_a_constant_metric():
    grid = Grid(((0.0, 2.0), (0.0, 2.0)), (21, 21))
    normal = np.array([0.8, 0.6])
    line = 1.3 * normal + np.linspace(-3, 3, 2001)[:, None] * np.array([-0.6, 0.8])
    kept = line[np.all((line >= 0) & (line <= 2), axis=1)]
    found = boundary_distances(constant, [kept], grid, finer=2)
    across = np.linalg.solve(TURNED, normal)
    exact = np.abs(grid.points @ normal - 1.3) / np.sqrt(normal @ across)
    # The nearest point of the line lies along the inverse metric of its normal: where it is within the box.
    foot = grid.points - np.outer((grid.points @ normal - 1.3) / (normal @ across), across)
    reached = np.all((foot > 0.2) & (foot < 1.8), axis=1)
    assert reached.sum() > 100
    # A front from a straight line is plane, which the scheme is exact for, but for the points that stand for the line:
    # the nearest of them is an eighth of a step of 0.05 away, 0.01 long in the metric, beside nodes on the line.
    np.testing.assert_allclose(found.ravel()[reached], exact[reached], atol=5e-3)
    assert np.median(np.abs(found.ravel() - exact)[reached]) < 1e-3


def test_distances_from_a_circle_are_of_first_order():
    errors = []
    turn = np.linspace(0, 2 * np.pi, 2001)
    circle = 0.5 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for nodes in (65, 257):
        grid = Grid(((-1.0, 1.0), (-1.0, 1.0)), (nodes, nodes))
        found = boundary_distances(flat, [circle], grid, finer=1)
        radius = np.linalg.norm(grid.points, axis=1).reshape(nodes, nodes)
        # At the centre fronts meet, and their curvature, which the scheme leaves out, has no bound.
        shown = (radius > 0.2) & (radius < 0.95)
        errors.append(np.abs(found - np.abs(radius - 0.5))[shown].max())
    # Four times as fine; the straight lines beside the circle, which have no error, reach less far then.
    assert errors[1] < errors[0] / 2.8
    assert errors[1] < 6e-3


def test_no_line_means_no_distance_and_times_are_checked():
    grid = Grid(((0.0, 1.0), (0.0, 1.0)), (9, 9))
    assert np.isinf(GriddedMedium.of(flat, grid).from_curves([])).all()
    with pytest.raises(ValueError, match="times of shape"):
        arrivals(medium(np.broadcast_to(np.eye(2), (9, 9, 2, 2))), np.full((9, 9), -1.0))


def plane():
    """Two phases with a straight boundary, in units that are not the box's."""
    grid = Grid(((10.0, 40.0), (-2.0, 1.0)), (24, 24))
    label = np.where(np.arange(24)[:, None] < 12, 1, 2) * np.ones((1, 24), int)
    middle = 10 + 30 * 11.5 / 23
    phases = {
        "phases": [
            {"label": 1, "area": 0.5, "medoid": 5 * 24 + 12},
            {"label": 2, "area": 0.5, "medoid": 18 * 24 + 12},
        ],
        "boundaries": [{"phases": [1, 2], "points": [[middle, -2.0], [middle, 1.0]]}],
    }
    rng = np.random.default_rng(3)
    embedding = np.eye(8)[label.ravel()] + 0.1 * rng.standard_normal((grid.size, 8))
    return grid, label, phases, embedding


@pytest.fixture(scope="module")
def measured():
    grid, label, phases, embedding = plane()
    fisher = np.broadcast_to(np.diag([4e-2, 1.0]), (24, 24, 2, 2)).copy()
    field = xr.DataArray(label, dict(zip("ab", grid.axes, strict=True)), ("a", "b"))
    settings = defaults("study")["safety"]
    return phases, *study_safety(field, fisher, phases, embedding, grid, settings, smoothing=0, floor=1e-3)


def test_a_study_knows_the_distance_and_the_risk_of_every_node(measured):
    _, fields, table, found = measured
    grid = plane()[0]
    # Length along a is 0.2 per unit there.
    exact = 0.2 * np.abs(grid.axes[0] - (10 + 30 * 11.5 / 23))
    np.testing.assert_allclose(fields["boundary_distance"], np.repeat(exact[:, None], 24, axis=1), atol=1e-2)
    np.testing.assert_allclose(table["boundary_distance"], fields["boundary_distance"].to_numpy().ravel())
    steps = np.abs(np.arange(24) - 11.5)
    np.testing.assert_allclose(fields["jitter_risk"][5:19, 12], ndtr(-steps[5:19] / (0.02 * 23)), atol=1e-9)
    assert found["safe_share"] == pytest.approx(22 / 24)
    assert [phase["stable"]["risk"] < 1e-6 for phase in found["phases"]] == [True, True]
    assert all(phase["least_stable"]["a"] in grid.axes[0][[11, 12]] for phase in found["phases"])


def test_the_stable_medoid_is_typical_and_farthest_from_the_boundary():
    _, label, phases, embedding = plane()
    distance = np.abs(np.arange(24) - 11.5)[:, None] * np.ones((1, 24))
    risk = np.where(distance < 3, 0.4, 0.0)
    everyone = stable_medoids(phases["phases"], label, embedding, risk, distance, typical=1.0)
    assert [one.node // 24 for one in everyone] == [0, 23]
    few = stable_medoids(phases["phases"], label, embedding, risk, distance, typical=0.1)
    for one in few:
        nodes = np.flatnonzero(label.ravel() == one.label)
        far = np.linalg.norm(embedding[nodes] - embedding[nodes].mean(axis=0), axis=1)
        assert far[nodes == one.node] <= np.quantile(far, 0.11)
        assert risk.ravel()[one.node] == 0


def test_one_phase_has_no_boundary():
    grid, label, phases, embedding = plane()
    alone = {"phases": [phases["phases"][0]], "boundaries": []}
    field = xr.DataArray(np.ones_like(label), dict(zip("ab", grid.axes, strict=True)), ("a", "b"))
    fisher = np.broadcast_to(np.eye(2), (24, 24, 2, 2)).copy()
    settings = defaults("study")["safety"]
    fields, _, found = study_safety(field, fisher, alone, embedding, grid, settings, smoothing=0, floor=1e-3)
    assert np.isnan(fields["boundary_distance"]).all()
    assert found["phases"][0]["stable"]["boundary_distance"] is None
    assert found["mean_risk"] < 1e-12


def test_its_figure_is_whole_and_legible(measured):
    phases, fields, _, found = measured
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 8, 8, 1)).astype(np.uint8)
    figure, table = figure_module.draw(fields, found, phases, images)
    assert_whole(figure)
    assert_printable(figure)
    assert figure.get_figwidth() == style.DOUBLE_COLUMN
    np.testing.assert_allclose(
        table["risk"], [phase[kind]["risk"] for phase in found["phases"] for kind in figure_module.KINDS]
    )
