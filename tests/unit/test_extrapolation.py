"""Initial-value problems by extrapolation: closed forms, the rate at which errors fall, independence of the batch."""

import numpy as np
import pytest

from hessgeo.numerics.extrapolation import PIECES, _extrapolated, common_times, follow, integrate


def turning(time, state):
    """A turn of growing speed: after time ``t`` the angle is ``t^2 / 2``."""
    return time[:, None] * np.stack([-state[:, 1], state[:, 0]], axis=1)


START = np.array([[1.0, 0.0], [0.0, 2.0], [0.3, -0.4]])


def turned(start, time):
    c, s = np.cos(time**2 / 2), np.sin(time**2 / 2)
    return start @ np.array([[c, s], [-s, c]])


@pytest.mark.parametrize("tolerance", [1e-6, 1e-9, 1e-12])
def test_the_error_follows_the_tolerance(tolerance):
    # Some tens of steps, each with an error below the tolerance, in a flow that keeps distances.
    end = integrate(turning, START, 0.0, 5.0, tolerance=tolerance)
    assert np.abs(end - turned(START, 5.0)).max() < 100 * tolerance


def test_back_is_where_it_started():
    end = integrate(turning, integrate(turning, START, 1.0, 4.0), 4.0, 1.0)
    np.testing.assert_allclose(end, START, atol=1e-10)


def test_one_step_is_of_order_twelve():
    errors = []
    for step in (2.0, 1.0):
        size = np.full(3, step)
        found, _ = _extrapolated(lambda t, y: turning(np.ones(3), y), np.zeros(3), START, size, PIECES)
        c, s = np.cos(step), np.sin(step)
        errors.append(np.abs(found - START @ np.array([[c, s], [-s, c]])).max())
    assert np.log2(errors[0] / errors[1]) > 11.5  # the error of a step is of order 13; rounding is at 1e-16


def test_a_result_does_not_depend_on_its_batch():
    def uneven(_, state):
        return -(state**3)

    start = np.geomspace(1e-3, 50, 40)[:, None]
    together = integrate(uneven, start, 0.0, 2.0)
    alone = [integrate(uneven, start[k : k + 1], 0.0, 2.0)[0] for k in range(40)]
    np.testing.assert_array_equal(together, np.array(alone))
    np.testing.assert_allclose(together, start / np.sqrt(1 + 4 * start**2), rtol=1e-10)


def test_what_blows_up_is_refused():
    with pytest.raises(ValueError, match="a solution ends after"):
        integrate(lambda _, y: y**2, np.ones((1, 1)), 0.0, 2.0)


def test_steps_in_common_keep_the_error_of_all():
    times = common_times(turning, START, 0.0, 5.0, tolerance=1e-9, pieces=(2, 4, 6))
    assert times[0] == 0
    assert times[-1] == 5
    assert np.all(np.diff(times) > 0)
    end, error = follow(turning, START, times, pieces=(2, 4, 6))
    assert np.all(error <= 1e-9 * np.maximum(1, np.abs(START).max()))
    assert np.abs(end - turned(START, 5.0)).max() < 100 * 1e-9


def test_steps_in_common_make_a_smooth_map_whatever_the_tolerance():
    def uneven(_, state):
        return -(state**3)

    start = 3.0 + np.array([[0.0], [1e-7]])
    times = common_times(uneven, start[:1], 0.0, 2.0, tolerance=1e-3, pieces=(2, 4))
    end, _ = follow(uneven, start, times, pieces=(2, 4))
    slope = (1 + 4 * 9) ** -1.5
    assert (end[1] - end[0]) / 1e-7 == pytest.approx(slope, rel=0.01)


def test_steps_in_common_end_where_a_solution_does():
    with pytest.raises(ValueError, match="a solution ends after"):
        common_times(lambda _, y: y**2, np.ones((1, 1)), 0.0, 2.0)
