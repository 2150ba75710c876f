"""The zoom on flows whose slope is known: Gaussian modes, two on a line and three in the plane."""

import numpy as np
import pytest

from hessgeo.phases.scale_law import judge_scales
from hessgeo.phases.zoom_windows import window_constants, zoom_window
from hessgeo.phases.zoomed import ZoomedMap, locate_boundary
from hessgeo.systems.slices import LatentSlice
from hessgeo.systems.solvable.mixture_flow import MixtureFlow

BOX = ((-1.0, 1.2), (-1.0, 1.1))
# The latent is the point itself.
PLANE = LatentSlice(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), BOX, "none")


def zoomed_on(flow, start, end, widths, shape=(9, 9)):
    """Lipschitz constants of a flow in windows about its boundary, and the grid steps of these."""
    zoomed = ZoomedMap(PLANE, flow.map)
    found = locate_boundary(
        zoomed, np.array([start]), np.array([end]), lambda x: flow.nearest(x) + 1, rounds=8
    )
    values, steps = [], []
    for level, width in enumerate(widths):
        window = zoom_window(BOX, found.point, level, width)
        grid = window.grid(shape)
        values.append(
            window_constants(zoomed.answer(window.centre, grid.points), grid)[1]["embedding_per_latent"]
        )
        steps.append(min(grid.spacing))
    return found, np.array(values), np.array(steps)


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0])
def test_two_modes_saturate_at_the_slope_that_is_known(sigma):
    flow = MixtureFlow(np.array([[-1.0, 0.0], [1.0, 0.0]]), sigma=sigma)
    widths = 3.0 ** -np.arange(12)
    found, values, steps = zoomed_on(flow, [-0.37, 0.2], [0.55, 0.2], widths)
    assert found.point[0] == pytest.approx(0, abs=1e-8)
    law = judge_scales(widths, values, spacing=steps, resolution=1e-9)
    assert law.verdict == "saturates"
    # Proposition 4.1 at a finite time: monotone transport of the line, sigma exp(1 / (2 sigma^2)).
    assert law.value == pytest.approx(sigma * np.exp(0.5 / sigma**2), rel=0.01)


def test_three_modes_saturate_at_the_stretching_of_the_flow():
    flow = MixtureFlow(np.array([[-1.0, 0.0], [0.6, 0.9], [0.7, -0.8]]), sigma=0.5)
    widths = 3.0 ** -np.arange(11)
    found, values, steps = zoomed_on(flow, [-0.6, 0.5], [0.5, 0.7], widths, shape=(17, 17))
    law = judge_scales(widths, values, spacing=steps, resolution=1e-9)
    assert law.verdict == "saturates"
    exact = float(flow.lipschitz(np.array([found.point]))[0])
    # Neighbours see the slope along the nearest of four directions, at most 22.5 degrees off the steepest.
    assert np.cos(np.pi / 8) * exact * 0.99 < law.value < 1.01 * exact
