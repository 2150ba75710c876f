"""Grids, sampling designs and bilinear weights."""

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from hessgeo.grids import Grid, bilinear_weights, parameter_points

GRID = Grid(((-1.0, 2.0), (0.5, 1.5)), (7, 5))


def test_rows_run_along_the_second_parameter_from_corner_to_corner():
    points = GRID.points
    assert GRID.size == len(points) == 35
    for i, j in ((0, 0), (3, 2), (6, 4), (2, 0)):
        expected = (-1.0 + 3.0 * i / 6, 0.5 + 1.0 * j / 4)
        np.testing.assert_allclose(points[i * 5 + j], expected, rtol=1e-14)
    np.testing.assert_allclose(GRID.spacing, (0.5, 0.25), rtol=1e-14)
    assert [len(axis) for axis in GRID.axes] == [7, 5]


@pytest.mark.parametrize(
    ("extent", "shape", "named"),
    [
        (((0.0, 0.0), (0.0, 1.0)), (4, 4), "extent"),
        (((0.0, 1.0), (2.0, 1.0)), (4, 4), "extent"),
        (((0.0, np.nan), (0.0, 1.0)), (4, 4), "extent"),
        (((0.0, np.inf), (0.0, 1.0)), (4, 4), "extent"),
        (((0.0, 1.0), (0.0, 1.0)), (1, 4), "shape"),
        (((0.0, 1.0), (0.0, 1.0)), (4.5, 4), "shape"),
        (((0.0, 1.0), ("0", "1")), (4, 4), "extent"),
        (((0.0, 1.0), (-1e308, 1e308)), (4, 4), "extent"),
        ((0.0, 1.0), (4, 4), "extent"),
        (None, None, "extent"),
    ],
)
def test_a_bad_grid_is_refused(extent, shape, named):
    with pytest.raises(ValueError, match=named):
        Grid(extent, shape)


@pytest.mark.parametrize("design", ["uniform", "sobol"])
def test_a_random_point_depends_on_seed_and_index_alone(design):
    # 100 is no power of two and ends inside the longer sequence: a prefix must stay a prefix.
    short, long = parameter_points(design, GRID, 100, 3), parameter_points(design, GRID, 1000, 3)
    assert np.array_equal(short, long[:100])
    assert not np.array_equal(short, parameter_points(design, GRID, 100, 4))
    low, high = np.array(GRID.extent).T
    assert np.all((long >= low) & (long <= high))


def test_a_sobol_design_is_more_even_than_a_uniform_one():
    # 256 points of a two-dimensional Sobol sequence put exactly one into each cell of a 16 x 16 partition.
    box = Grid(((0.0, 1.0), (0.0, 1.0)), (2, 2))

    def filled(design):
        cells = np.floor(parameter_points(design, box, 256, 0) * 16)
        return len(np.unique(cells, axis=0))

    assert filled("sobol") == 256
    assert filled("uniform") < 200  # 256 (1 - 1/e) = 162 are expected, with a standard deviation near 5


def test_the_grid_design_is_the_grid():
    assert np.array_equal(parameter_points("grid", GRID, GRID.size, 9), GRID.points)


@pytest.mark.parametrize(
    ("design", "count", "named"), [("grid", 34, "35"), ("halton", 5, "halton"), ("sobol", 0, "count"),
    ("uniform", -3, "count")]
)  # fmt: skip
def test_a_bad_design_is_refused(design, count, named):
    with pytest.raises(ValueError, match=named):
        parameter_points(design, GRID, count, 0)


def test_bilinear_weights_keep_mass_and_first_moments():
    points = parameter_points("uniform", GRID, 200, 1)
    weights = bilinear_weights(points, GRID)
    assert weights.min() >= 0
    assert np.diff(weights.indptr).max() <= 4
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(weights @ GRID.points, points, atol=1e-14)


def test_bilinear_weights_interpolate_as_scipy_does():
    points = parameter_points("uniform", GRID, 200, 2)
    values = np.random.default_rng(0).normal(size=GRID.shape)
    expected = RegularGridInterpolator(GRID.axes, values)(points)
    np.testing.assert_allclose(bilinear_weights(points, GRID) @ values.ravel(), expected, atol=1e-13)


def test_a_node_has_a_single_weight_the_far_corner_too():
    # linspace and division round: an exact one at interior nodes is not guaranteed, 1e-14 is.
    weights = bilinear_weights(GRID.points, GRID).toarray()
    np.testing.assert_allclose(weights, np.eye(GRID.size), atol=1e-14)


def test_interpolation_error_falls_with_the_square_of_the_spacing():
    points = parameter_points("uniform", GRID, 400, 5)

    def error(nodes):
        grid = Grid(GRID.extent, (nodes, nodes))
        a, b = grid.points.T
        exact = np.sin(2 * points[:, 0]) * np.cos(3 * points[:, 1])
        return np.abs(bilinear_weights(points, grid) @ (np.sin(2 * a) * np.cos(3 * b)) - exact).max()

    slope = np.log2(error(17) / error(33))
    assert 1.7 < slope < 2.3  # 2 in theory; the maximum over 400 points scatters by a tenth


@pytest.mark.parametrize("point", [(2.001, 1.0), (-1.1, 1.0), (0.0, 0.4), (np.nan, 1.0)])
def test_a_point_outside_the_box_is_refused(point):
    with pytest.raises(ValueError, match="outside"):
        bilinear_weights(np.array([[0.0, 1.0], point]), GRID)


def test_a_point_within_rounding_of_the_edge_is_moved_onto_it():
    weights = bilinear_weights(np.array([[2.0 + 1e-12, 1.5 + 1e-12]]), GRID).toarray()
    assert weights[0, -1] == 1
