"""The Lipschitz field against linear maps, jumps and smooth maps whose slope is known."""

import numpy as np
import pytest

from hessgeo.grids import Grid, parameter_points
from hessgeo.phases import lipschitz_field

GRID = Grid(((-1.0, 2.0), (0.0, 1.0)), (13, 9))
A = np.array([[1.0, 2.0], [-0.5, 1.0], [0.3, -3.0]])


def brute_force(embedding, t, neighbours, sides):
    """Largest slope to the given neighbours of each sample, by its definition, the box made a square."""
    t = t / (np.array(sides) / np.sqrt(np.prod(sides)))
    return np.array(
        [
            max(np.linalg.norm(embedding[i] - embedding[j]) / np.linalg.norm(t[i] - t[j]) for j in near)
            for i, near in enumerate(neighbours)
        ]
    )


def test_a_linear_map_has_its_largest_slope_over_the_eight_directions():
    field = lipschitz_field(GRID.points @ A.T, GRID.points, grid=GRID).reshape(GRID.shape)
    ha, hb = GRID.spacing
    steps = np.array([(ha, 0), (0, hb), (ha, hb), (ha, -hb)])
    # The box is 3 x 1: as a square, of sides sqrt(3).
    slopes = np.linalg.norm(steps @ A.T, axis=1) / np.linalg.norm(steps / [3**0.5, 3**-0.5], axis=1)
    np.testing.assert_allclose(field[1:-1, 1:-1], slopes.max(), rtol=1e-12)
    assert np.all(field <= np.linalg.norm(A * [3**0.5, 3**-0.5], 2) * (1 + 1e-12))
    # On a corner three of the four directions remain: inwards, and one of the diagonals.
    np.testing.assert_allclose(field[0, 0], slopes[[0, 1, 2]].max(), rtol=1e-12)
    np.testing.assert_allclose(field[0, -1], slopes[[0, 1, 3]].max(), rtol=1e-12)


def test_random_values_equal_brute_force_over_grid_neighbours():
    embedding = np.random.default_rng(0).normal(size=(GRID.size, 5)).astype(np.float32)
    i, j = np.divmod(np.arange(GRID.size), GRID.shape[1])
    apart = np.maximum(abs(i[:, None] - i), abs(j[:, None] - j))
    neighbours = [np.flatnonzero(row == 1) for row in apart]
    field = lipschitz_field(embedding, GRID.points, grid=GRID)
    np.testing.assert_allclose(
        field, brute_force(embedding, GRID.points, neighbours, (3, 1)), rtol=1e-6
    )  # float32 input


def test_random_values_equal_brute_force_over_nearest_neighbours():
    t = parameter_points("uniform", GRID, 150, 0)
    embedding = np.random.default_rng(1).normal(size=(150, 5))
    distance = np.linalg.norm(
        (t[:, None] - t) / np.ptp(t, axis=0), axis=-1
    )  # relative to the sides of the box
    neighbours = np.argsort(distance, axis=1)[:, 1:6]
    field = lipschitz_field(embedding, t, grid=None, neighbours=5)
    np.testing.assert_allclose(field, brute_force(embedding, t, neighbours, np.ptp(t, axis=0)), rtol=1e-12)


@pytest.mark.parametrize("grid", [GRID, None])
def test_it_scales_with_the_embedding_and_inversely_with_the_parameters(grid):
    embedding = np.random.default_rng(2).normal(size=(GRID.size, 4))
    field = lipschitz_field(embedding, GRID.points, grid=grid)
    np.testing.assert_allclose(lipschitz_field(3 * embedding, GRID.points, grid=grid), 3 * field, rtol=1e-12)
    if grid is None:
        return
    wide = Grid(((-10.0, 20.0), (0.0, 10.0)), GRID.shape)
    np.testing.assert_allclose(lipschitz_field(embedding, wide.points, grid=wide), field / 10, rtol=1e-12)


def test_more_neighbours_never_lower_it():
    t = parameter_points("uniform", GRID, 150, 3)
    embedding = np.random.default_rng(3).normal(size=(150, 4))
    few, many = (lipschitz_field(embedding, t, grid=None, neighbours=k) for k in (4, 12))
    assert np.all(many >= few)
    assert np.any(many > few)


def test_it_grows_as_one_over_the_spacing_across_a_jump_and_not_elsewhere():
    def peaks(nodes):
        grid = Grid(((-1.0, 1.0), (-1.0, 1.0)), (nodes, nodes))
        smooth = 0.1 * grid.points[:, :1]
        jumped = smooth + (grid.points[:, :1] > 0.01)
        return lipschitz_field(jumped, grid.points, grid=grid).max(), lipschitz_field(
            smooth, grid.points, grid=grid
        )

    (coarse, smooth), (fine, _) = peaks(21), peaks(41)
    # 1 / h plus the smooth slope of 0.1.
    assert coarse == pytest.approx(10.1, rel=1e-12)
    assert fine == pytest.approx(20.1, rel=1e-12)
    np.testing.assert_allclose(smooth, 0.1, rtol=1e-12)


def test_it_converges_to_the_slope_of_a_smooth_map():
    # E = (cos r^2, sin r^2) has the slope 2 r, along r; on the diagonal r the diagonal step meets it, with a chord
    # that falls short of the arc by a term of second order in the spacing.
    def error(nodes):
        grid = Grid(((0.0, 1.0), (0.0, 1.0)), (nodes, nodes))
        angle = (grid.points**2).sum(axis=1)
        field = lipschitz_field(np.stack([np.cos(angle), np.sin(angle)], axis=1), grid.points, grid=grid)
        middle = field.reshape(grid.shape)[nodes // 2, nodes // 2]
        return abs(middle - 2 * np.sqrt(0.5))

    # One-sided differences: the larger of the two sides is off by half a step times the second derivative.
    slope = np.log2(error(65) / error(129))
    assert 0.9 < slope < 1.1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"neighbours": 117, "grid": None}, "neighbours must lie in 1..116"),
        ({"neighbours": 0, "grid": None}, "neighbours"),
        ({"t": np.zeros((117, 2)), "grid": None}, "distinct"),
        ({"t": GRID.points[::-1]}, "nodes of the"),
        ({"t": GRID.points[:-1]}, "shapes"),
        ({"embedding": np.full((117, 2), np.nan)}, "not finite"),
    ],
)
def test_bad_input_is_named(changes, named):
    arguments = {"embedding": np.zeros((GRID.size, 2)), "t": GRID.points, "grid": GRID, **changes}
    with pytest.raises(ValueError, match=named):
        lipschitz_field(arguments.pop("embedding"), arguments.pop("t"), **arguments)


@pytest.mark.parametrize("grid", [GRID, None])
def test_whole_numbers_that_fall_do_not_wrap(grid):
    falling = np.rint(165 - 60 * GRID.points[:, :1] - 30 * GRID.points[:, 1:])
    field = lipschitz_field(falling.astype(np.uint8), GRID.points, grid=grid)
    np.testing.assert_array_equal(field, lipschitz_field(falling, GRID.points, grid=grid))


def test_samples_along_an_axis_scale_with_it_alone():
    t = np.stack([np.linspace(0, 1, 40), np.full(40, 0.3)], axis=1)
    field = lipschitz_field(np.sin(t[:, :1]), t, grid=None)
    np.testing.assert_allclose(
        lipschitz_field(np.sin(t[:, :1]), t * [1e3, 1], grid=None), field / 1e3, rtol=1e-9
    )
    assert field.max() == pytest.approx(1, abs=1e-3)  # cos 0
