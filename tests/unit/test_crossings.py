"""Boundaries finer than the grid: exact profiles, shifts of them, and a flow whose boundaries are known."""

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import adjusted_rand_score

from hessgeo.evaluation.flow_boundaries import drawn_errors, exact_boundaries
from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import eigenvalues
from hessgeo.metrics.measured import embedding_metric
from hessgeo.phases import boundary_lines, segment_phases, triple_points
from hessgeo.phases.crossings import crossings, nearest_labels, profile_crossing, refined_boundaries
from hessgeo.pipeline.phase_chain import describe_phases
from hessgeo.systems.solvable.mixture_flow import MixtureFlow

SETTINGS = {"persistence": 0.5, "minimum_area": 0.02, "smoothing": 1.0}
# Weights that differ put a boundary along an axis, off the middle of two rows: what labels alone cannot tell.
UNEVEN = MixtureFlow([[1.0, 0.0], [-0.5, 0.866], [-0.5, -0.866]], [0.5, 0.3, 0.2], sigma=0.3)


@pytest.mark.parametrize("width", [1e-3, 0.05, 0.5, 2.0])
def test_the_profile_gives_back_its_place(width):
    place = np.linspace(0.03, 0.97, 25)
    value = np.arcsinh((np.arange(-1, 3)[:, None] - place) / width)
    found = profile_crossing(*np.diff(7.3 * value, axis=0))
    # Between widths that are tried, a fourteenth apart, the place is interpolated.
    np.testing.assert_allclose(found, place, atol=2e-3)


def test_what_is_alike_on_both_sides_is_half_way_and_mirrors_mirror():
    before, across, after = np.array([[0.3, 0.3], [5.0, 2.0], [0.3, 0.8]])
    np.testing.assert_allclose(profile_crossing(before, across, after)[0], 0.5, atol=1e-12)
    np.testing.assert_allclose(
        profile_crossing(before, across, after) + profile_crossing(after, across, before), 1.0, atol=1e-12
    )


def slanted(shape=(20, 16), place=9.3, slope=0.31, width=0.05):
    """Labels and embeddings of two phases that a straight line parts: its place in each column of nodes."""
    i, j = np.meshgrid(*map(np.arange, shape), indexing="ij")
    at = place + slope * j
    value = np.arcsinh((i - at) / width)
    return 1 + (value > 0), np.stack([value, 0.1 * i, 0.05 * j], axis=-1), at[0]


def test_a_straight_boundary_is_found_between_its_nodes():
    label, embedding, at = slanted()
    first, second = crossings(label, embedding)
    i, j = np.nonzero(np.isfinite(first))
    np.testing.assert_allclose(i + first[i, j], at[j], atol=0.03)
    # One place for each step between unlike nodes along either axis, and none elsewhere.
    assert len(i) == np.sum(label[:-1] != label[1:])
    assert np.isfinite(second).sum() == np.sum(label[:, :-1] != label[:, 1:])
    grid = Grid(((0.0, 19.0), (0.0, 15.0)), label.shape)
    (line,), points = refined_boundaries(label, embedding, grid)
    assert not points
    np.testing.assert_allclose(line.points[:, 0], np.interp(line.points[:, 1], np.arange(16), at), atol=0.05)
    assert line.points[[0, -1], 1].tolist() == [0.0, 15.0]


def test_what_embeddings_do_not_tell_is_half_way():
    label, _, _ = slanted()
    flat = np.repeat(label[..., None], 2, axis=-1).astype(float)
    for between in crossings(label, flat):
        assert set(between[np.isfinite(between)].tolist()) == {0.5}


def test_nodes_that_a_ridge_missed_are_given_back():
    label, embedding, _ = slanted()
    wrong = np.roll(label, 1, axis=0)  # one node off along the whole line
    wrong[0] = label[0]
    assert np.sum(wrong != label) == label.shape[1]
    np.testing.assert_array_equal(nearest_labels(wrong, embedding), label)
    # A phase of two nodes has none farther inside: it keeps its own.
    wrong[2, 2:4] = 3
    assert np.all(nearest_labels(wrong, embedding)[2, 2:4] == 3)


def test_a_closed_line_stays_closed_and_round():
    i, j = np.meshgrid(np.arange(24), np.arange(24), indexing="ij")
    radius = np.hypot(i - 11.4, j - 11.7)
    embedding = np.arcsinh((radius - 6.37) / 0.05)[..., None]
    grid = Grid(((0.0, 23.0), (0.0, 23.0)), (24, 24))
    (line,), _ = refined_boundaries(1 + (radius < 6.37), embedding, grid)
    np.testing.assert_array_equal(line.points[0], line.points[-1])
    # Steps that graze the circle are no profile along a line: a fifth of a step is left there.
    np.testing.assert_allclose(np.hypot(*(line.points - [11.4, 11.7]).T), 6.37, atol=0.2)


def test_boundaries_of_a_flow_are_drawn_finer_than_the_grid():
    grid = Grid(((-2.0, 2.0), (-2.0, 2.0)), (24, 24))
    embedding = UNEVEN.map(grid.points, tolerance=1e-8).reshape(24, 24, 2)
    eigenvalue = eigenvalues(embedding_metric(embedding, grid))[..., -1]
    label = segment_phases(eigenvalue, grid, **SETTINGS).label
    exact = exact_boundaries(UNEVEN, grid, count=301)
    drawn = refined_boundaries(nearest_labels(label, embedding), embedding, grid)
    fine = drawn_errors(*drawn, UNEVEN, grid, exact=exact)
    rough = drawn_errors(boundary_lines(label, grid), triple_points(label, grid), UNEVEN, grid, exact=exact)
    assert fine["upper"] < 0.15
    assert fine["triple"] < 0.25
    # Lines between nodes cannot: one boundary runs along an axis, off the middle of two rows.
    assert rough["upper"] > 0.25


def test_a_study_draws_the_lines_that_its_setting_says():
    label, embedding, at = slanted((24, 24), place=8.3)
    grid = Grid(((0.0, 2.3), (0.0, 2.3)), label.shape)
    eigenvalue = eigenvalues(embedding_metric(embedding, grid))[..., -1]
    metric = xr.Dataset({"largest_eigenvalue": (grid.dims, eigenvalue)}, attrs={"verdict": "resolved"})
    energy = xr.Dataset({"gradient": ((*grid.dims, "i"), np.zeros((*grid.shape, 2)))})
    errors = {}
    for lines in ("nodes", "embedding"):
        settings = {**SETTINGS, "neighbours": 8, "lines": lines}
        fields, found, _ = describe_phases(
            metric, energy, embedding.reshape(grid.size, -1), grid.points, grid, settings, on_grid=True
        )
        (line,) = (np.array(boundary["points"]) for boundary in found["boundaries"])
        errors[lines] = np.abs(line[:, 0] / 0.1 - np.interp(line[:, 1] / 0.1, np.arange(24), at)).max()
    assert errors["embedding"] < 0.1 < errors["nodes"]
    # Phases with it: each node is on its side of the line.
    assert adjusted_rand_score(fields["label"].to_numpy().ravel(), label.ravel()) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest_labels(np.ones((4, 4), int), np.zeros((4, 3, 2))), "must be that of label"),
        (
            lambda: refined_boundaries(
                np.ones((4, 4), int), np.zeros((4, 4, 2)), Grid(((0, 1), (0, 1)), (5, 4))
            ),
            "the grid",
        ),
        (lambda: drawn_errors([], [], UNEVEN, Grid(((0, 1), (0, 1)), (5, 5))), "no line was drawn"),
        (lambda: drawn_errors([], [], UNEVEN, Grid(((0, 1), (0, 2)), (5, 5))), "must be alike"),
    ],
)
def test_what_cannot_be_used_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
