"""A zoom on a boundary: where it is, what is measured in a window, and that neither depends on the window's size."""

import numpy as np
import pytest

from hessgeo.phases.zoom_windows import (
    is_resolved,
    window_constants,
    window_phases,
    zoom_window,
)
from hessgeo.phases.zoomed import ZoomedMap, locate_boundary, nearest_reference
from hessgeo.systems.slices import LatentSlice

BOX = ((-1.0, 2.0), (-1.0, 2.0))
# The latent is the point itself.
PLANE = LatentSlice(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), BOX, "none")
NORMAL, OFFSET = np.array([0.8, 0.6]), 0.37
PHASES = {"persistence": 0.5, "minimum_area": 0.02, "smoothing": 1.0}
SIDES = nearest_reference(np.array([[-1.0], [1.0]]))


def step_of(sharpness):
    """Two plateaus, and between them a slope of ``sharpness`` across the line <n, z> = c."""
    return lambda z: np.tanh(sharpness * (z @ NORMAL - OFFSET))[:, None]


def measured(zoomed, point, width, shape=(32, 32)):
    window = zoom_window(BOX, point, 1, width)
    grid = window.grid(shape)
    answer = zoomed.answer(window.centre, grid.points)
    return answer, grid


@pytest.mark.parametrize("sharpness", [3.0, 300.0, 3e5])
def test_the_boundary_is_found_to_all_digits(sharpness):
    zoomed = ZoomedMap(PLANE, step_of(sharpness))
    found = locate_boundary(zoomed, np.array([[0.2, 0.1]]), np.array([[0.9, 0.7]]), SIDES)
    assert found.bracket < 1e-14
    # Where latents are rounded to 1e-16, the line is met to a few of these.
    assert NORMAL @ np.array(found.point) == pytest.approx(OFFSET, abs=1e-15)
    assert found.slopes[-3] == pytest.approx(sharpness * NORMAL @ [0.7, 0.6] / np.hypot(0.7, 0.6), rel=1e-3)


def test_the_sharpest_of_several_boundaries_is_followed():
    def two(z):
        return (np.tanh(5 * z[:, 0]) + np.tanh(50 * (z[:, 0] - 1)))[:, None]

    three = nearest_reference(np.array([[-2.0], [0.0], [2.0]]))
    starts, ends = np.array([[-0.5, 0.3], [0.6, 0.2]]), np.array([[0.4, 0.3], [1.5, 0.2]])
    found = locate_boundary(ZoomedMap(PLANE, two), starts, ends, three)
    assert found.point[0] == pytest.approx(1.0, abs=0.02)
    assert found.phases == (2, 3)
    with pytest.raises(ValueError, match="none of 1 pairs"):
        locate_boundary(ZoomedMap(PLANE, two), starts[:1], starts[:1] + 1e-3, three)


def test_windows_of_1e_12_give_the_numbers_of_1e_6():
    sharpness = 40.0
    zoomed = ZoomedMap(PLANE, step_of(sharpness))
    point = locate_boundary(zoomed, np.array([[0.2, 0.1]]), np.array([[0.9, 0.7]]), SIDES).point
    found = {width: window_constants(*measured(zoomed, point, width))[1] for width in (1e-6, 1e-10)}
    for name in ("embedding_per_parameter", "clean_per_latent"):
        # The steepest of four directions, 45 degrees apart: the one at 45 degrees, 8 from the normal.
        assert found[1e-6][name] == pytest.approx(sharpness * NORMAL @ [1, 1] / np.sqrt(2), rel=1e-4)
        assert found[1e-10][name] == pytest.approx(found[1e-6][name], rel=1e-3)
    labels = {width: SIDES(measured(zoomed, point, width)[0].embedding) for width in (1e-6, 1e-9, 1e-12)}
    # In box units the same straight line, but for nodes that lie a rounding from it.
    assert np.mean(labels[1e-6] != labels[1e-9]) < 0.01
    assert np.mean(labels[1e-6] != labels[1e-12]) < 0.02


def test_phases_of_a_window_depend_on_no_units():
    sharp = ZoomedMap(PLANE, step_of(2e6))
    point = locate_boundary(sharp, np.array([[0.2, 0.1]]), np.array([[0.9, 0.7]]), SIDES).point
    wide = ZoomedMap(PLANE, step_of(2.0))
    answers = [measured(wide, point, 0.8), measured(sharp, point, 0.8e-6)]
    labels = [window_phases(answer.embedding, grid, PHASES) for answer, grid in answers]
    assert labels[0].max() == labels[1].max() == 2
    assert np.mean(labels[0] == labels[1]) > 0.99


@pytest.mark.parametrize(
    ("precision", "wide", "narrow"),
    # A node is worth a 31st of a window 3 wide; the units in the last place of .3 are 6e-17, 3e-8 and 2e-3.
    [("float64", 1e-13, 1e-16), ("float32", 1e-4, 1e-7), ("float16", 0.1, 1e-3), ("bfloat16", 0.9, 1e-3)],
)
def test_a_window_below_the_precision_is_not_resolved(precision, wide, narrow):
    zoomed = ZoomedMap(PLANE, step_of(40.0), precision=precision)
    point = locate_boundary(zoomed, np.array([[0.2, 0.1]]), np.array([[0.9, 0.7]]), SIDES).point
    floor = zoomed.floor(point)[1]
    for width, expected in ((wide, True), (narrow, False)):
        answer, grid = measured(zoomed, point, width)
        difference = np.abs(np.diff(answer.embedding.reshape(grid.shape), axis=0)).max()
        assert bool(is_resolved(answer.inputs, grid.size, float(difference), floor)) is expected
    # Of latents that are alike in the precision one is generated.
    assert answer.inputs < 32 * 32


def test_windows_stay_within_the_box():
    whole, near_the_edge = zoom_window(BOX, (0.1, 0.2), 0, 1.0), zoom_window(BOX, (1.99, 0.5), 1, 0.1)
    assert (whole.centre, whole.half) == ((0.5, 0.5), (1.5, 1.5))
    assert near_the_edge.centre == pytest.approx((1.85, 0.5))
    assert near_the_edge.half == pytest.approx((0.15, 0.15))
