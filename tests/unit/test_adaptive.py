"""Adaptive sampling: boundaries as well placed as on the whole grid, and how many samples that takes."""

import numpy as np
import pytest

from hessgeo.grids import Grid
from hessgeo.phases import sample_adaptively

GRID = Grid(((-1.0, 3.0), (0.0, 0.5)), (65, 65))


def sectors(t, index):
    """Three phases about a point, one of them cut by a circle: curves and a triple point, in box units."""
    u, v = (t[:, 0] + 1) / 4 - 0.47, t[:, 1] / 0.5 - 0.56
    label = np.floor((np.arctan2(v, u) + 0.3) / (2 * np.pi / 3)).astype(int)
    return np.where((u - 0.3) ** 2 + (v - 0.1) ** 2 < 0.02, 5, label)


def counted(function):
    """The function, and all nodes that it was asked for."""
    asked = []

    def sample(t, index):
        np.testing.assert_array_equal(t, GRID.points[index])
        asked.extend(index.tolist())
        return function(t, index)

    return sample, asked


def test_labels_are_those_of_the_whole_grid_for_less_than_half_its_images():
    sample, asked = counted(sectors)
    found = sample_adaptively(sample, GRID, error=1 / 64)
    np.testing.assert_array_equal(found.filled(), sectors(GRID.points, None))
    assert found.converged
    assert len(asked) == len(set(asked)) == len(found.index)
    assert len(found.index) < GRID.size / 3
    np.testing.assert_array_equal(found.outputs, sectors(found.t, None))


def test_the_error_asked_for_is_kept_and_costs_as_the_boundary_is_long():
    fine = Grid(((0.0, 1.0), (0.0, 1.0)), (1025, 1025))

    def disc(t, index):
        return (np.hypot(*(t - [0.52, 0.47]).T) < 0.3).astype(int)

    images = []
    for error in (1 / 32, 1 / 64, 1 / 128, 1 / 256):
        found = sample_adaptively(disc, fine, error=error)
        assert found.converged
        assert found.reached <= error
        # Every node that is given the wrong label lies within the error, on the diagonal of a cell.
        wrong = found.filled() != disc(fine.points, None)
        off = np.abs(np.hypot(*(fine.points[wrong] - [0.52, 0.47]).T) - 0.3)
        assert off.max() <= 2**0.5 * error
        images.append(len(found.index))
    # The boundary is a line: twice the accuracy for twice the images, where a grid needs four times as many.
    ratios = np.array(images[1:]) / images[:-1]
    assert ratios[-1] == pytest.approx(2, abs=0.25)
    assert (ratios < 2.2).all()


def test_a_boundary_is_followed_into_cells_whose_corners_agree():
    # A tongue that no node of the first round but those of its root has seen.
    def tongue(t, index):
        u, v = (t[:, 0] + 1) / 4, t[:, 1] / 0.5
        return ((u < 0.3) | ((np.abs(v - 0.56) < 0.04) & (u < 0.9))).astype(int)

    found = sample_adaptively(tongue, GRID, error=1 / 64)
    np.testing.assert_array_equal(found.filled(), tongue(GRID.points, None))
    assert len(found.index) < GRID.size / 2


def test_vectors_are_interpolated_where_they_are_smooth_and_sampled_where_they_jump():
    def embedding(t, index):
        u, v = (t[:, 0] + 1) / 4, t[:, 1] / 0.5
        angle = 0.4 * u + 0.2 * v**2 + 1.2 * (u > 0.37 + 0.2 * v)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)

    found = sample_adaptively(embedding, GRID, error=0.02)
    off = np.linalg.norm(found.filled() - embedding(GRID.points, None), axis=1)
    # A quarter of the second derivative, at most .55 with the chord, times the square of the coarsest cell, 1/8.
    assert off.max() < 0.55 / 4 / 64
    assert len(found.index) < GRID.size / 2
    assert found.converged


def test_nothing_depends_on_units_of_the_box_and_little_on_those_of_the_outputs():
    found = sample_adaptively(sectors, GRID, error=1 / 64)
    far = Grid(((1e6 - 1e-3, 1e6 + 3e-3), (0.0, 5e4)), GRID.shape)
    again = sample_adaptively(lambda t, index: sectors(GRID.points[index], index), far, error=1 / 64)
    np.testing.assert_array_equal(found.index, again.index)

    def scaled(by):
        return lambda t, index: by * np.eye(6)[sectors(t, index)]

    one, two = (sample_adaptively(scaled(by), GRID, error=by / 40) for by in (1.0, 4.0))
    np.testing.assert_array_equal(one.index, two.index)


def test_images_that_run_out_go_to_the_least_known_cells():
    found = sample_adaptively(sectors, GRID, error=1 / 64, images=400)
    assert 380 < len(found.index) <= 400
    assert not found.converged
    whole = sample_adaptively(sectors, GRID, error=1 / 64)
    assert len(whole.index) > 400
    # No cell was cut to a smaller size while one that is twice as unknown was left.
    assert found.reached <= 4 * np.min(found.uncertainty[found.uncertainty > 0])
    wrong = found.filled() != sectors(GRID.points, None)
    assert wrong.mean() < 0.05


@pytest.mark.parametrize("shape", [(64, 64), (50, 33), (11, 128)])
def test_grids_need_not_be_powers_of_two(shape):
    grid = Grid(GRID.extent, shape)
    found = sample_adaptively(sectors, grid, error=1e-3)
    assert np.mean(found.filled() != sectors(grid.points, None)) < 0.002
    # Cells of one step are not cut: the nodes have run out before the error was reached.
    assert not found.converged
    assert found.cells[:, :2].max() == shape[0] - 1
    area = np.prod(np.ptp(found.cells.reshape(-1, 2, 2), axis=2), axis=1).sum()
    assert area == (shape[0] - 1) * (shape[1] - 1)


@pytest.mark.slow
def test_a_study_of_half_the_images_has_the_phases_of_the_whole():
    import hessgeo as hg

    x, y = np.meshgrid(np.linspace(-1.5, 1.5, 8), np.linspace(1.5, -1.5, 8))
    grid = Grid(((-1.0, 2.0), (-1.0, 2.0)), (25, 25))

    def spot(t, index):
        a, b = np.tanh(3 * (t.T - 0.5))[..., None, None]
        image = np.exp(-((x - a) ** 2 + (y - b) ** 2) / 2).reshape(len(t), -1)
        return image / np.linalg.norm(image, axis=1, keepdims=True)

    found = hg.sample_adaptively(spot, grid, error=0.6 / 24, start=7)
    assert len(found.index) < 0.5 * grid.size
    some = hg.fit(found.filled(), grid.points, grid=grid.shape)
    whole = hg.fit(spot(grid.points, None), grid.points, grid=grid.shape)
    assert some.phases.count == whole.phases.count == 4
    alike = np.mean(np.asarray(some.phases.label) == np.asarray(whole.phases.label))
    # A boundary may move by a node where the features turn slowly.
    assert alike > 0.97


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"error": 0.0}, "error must be positive, not 0"),
        ({"start": 2}, "start must lie in 3..65"),
        ({"start": 66}, "start must lie in 3..65"),
        ({"start": 9.5}, "start must lie in 3..65"),
        ({"start": (9,)}, "start must lie in 3..65"),
        ({"images": 80}, "images must be at least"),
        ({"images": np.nan}, "images must be at least"),
    ],
)
def test_bad_arguments_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        sample_adaptively(sectors, GRID, **{"error": 0.1, **options})


def test_bad_outputs_are_named():
    for outputs in (lambda t: np.zeros((len(t), 2, 2)), lambda t: t + 1j, lambda t: None):
        with pytest.raises(ValueError, match="sample must give 81 labels"):
            sample_adaptively(lambda t, index, outputs=outputs: outputs(t), GRID, error=0.1)
    with pytest.raises(ValueError, match="not finite"):
        sample_adaptively(lambda t, index: np.full((len(t), 2), np.nan), GRID, error=0.1)


def test_labels_may_be_of_any_whole_type():
    def sampled(low, high, dtype):
        labels = np.array([low, high], dtype)
        return sample_adaptively(lambda t, index: labels[(t[:, 0] > 0.1).astype(int)], GRID, error=0.1)

    # The difference of these is more than eight bits hold.
    np.testing.assert_array_equal(sampled(-128, 127, np.int8).index, sampled(0, 1, int).index)
