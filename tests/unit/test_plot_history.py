"""The history of a study from what is kept of its steps, on a flow that is exact, and its two figures."""

import numpy as np
import pytest
import xarray as xr
from gaussian_flow import final_phases, flow
from printed import assert_printable, assert_whole

from hessgeo.figures import history, history_comparison, history_maps
from hessgeo.grids import Grid
from hessgeo.pipeline.history_chain import Steps, trace_history

GRID = Grid(((-2.2, 2.2), (-2.2, 2.2)), (24, 24))
MEANS = np.array([[1.6, 0.8], [1.6, -0.8], [-1.6, 0.8], [-1.6, -0.8]])
WIDTH, STEPS = 0.3, 14
SETTINGS = {
    "persistence": 0.5,
    "minimum_area": 0.02,
    "smoothing": 1.0,
    "draws": 40,
    "confidence": 0.95,
    "nodes": 144,
}


class Rows:
    """Images by row, as an array of the store gives them."""

    def __init__(self, images):
        self.images = images

    def __getitem__(self, rows):
        return self.images[rows]


def pictures(points, channels):
    """Images that show where points are: one bright pixel on a dark ground."""
    place = np.clip((points + 2.2) / 4.4 * 9, 0, 9).round().astype(int)
    images = np.full((*points.shape[:-1], 10, 10, channels), 30, np.uint8)
    np.put_along_axis(
        images.reshape(*points.shape[:-1], 100, channels),
        (place[..., :1] * 10 + place[..., 1:])[..., None],
        255,
        axis=-2,
    )
    return images


def trace(width, steps=STEPS, means=MEANS):
    """The history of a mixture's flow, its predictions and where it ends."""
    states, clean, signal, noise, end = flow(GRID.points, means, width, steps)
    final, _ = final_phases(end, means, GRID.shape)
    trajectory = np.stack([states, clean], axis=2).swapaxes(0, 1)[..., None, None]
    kept = Steps(range(1, steps + 1), signal, noise, trajectory, clean.swapaxes(0, 1), end)
    phases = xr.Dataset({"label": (GRID.dims, final)})
    return *trace_history(phases, kept, GRID, SETTINGS, seed=0), clean.swapaxes(0, 1), end


@pytest.fixture(scope="module")
def traced():
    return trace(WIDTH)


@pytest.fixture(scope="module")
def drawn(traced):
    fields, found, _, clean, end = traced
    shown = [Rows(pictures(clean, 1)), Rows(pictures(end, 1))]
    tree = history.draw(**history.gather(found, fields, *shown))
    maps = history_maps.draw(**history_maps.gather(fields, shown[0], grid=GRID, frames=7))
    wide, wide_found, *_ = trace(0.6)
    both = history_comparison.draw([found, wide_found], [fields, wide], labels=["narrow", "wide"])
    return {"history": tree, "history_maps": maps, "history_comparison": both}


def test_the_far_pairs_part_first_and_each_then_within(traced):
    _, found, table, *_ = traced
    root = found["branches"][-1]
    exact = [np.sqrt(1 - 1 / (1 + m**2 - WIDTH**2)) for m in (1.6, 0.8)]
    assert root["level"] == pytest.approx(exact[0], rel=0.05)
    inner = [branch for branch in found["branches"] if branch["children"] and branch is not root]
    assert [branch["level"] for branch in inner] == pytest.approx([exact[1]] * 2, rel=0.05)
    assert list(table["level"]) == sorted(table["level"], reverse=True)
    assert ((table["low"] <= table["level"]) & (table["level"] <= table["high"])).all()


def test_the_clock_falls_before_that_of_shuffled_labels(traced):
    fields, found, *_ = traced
    entropy, clock = fields["entropy"].to_numpy(), found["clock"]
    assert entropy[0] == pytest.approx(clock["prior"], rel=0.02)
    assert entropy[-1] < 0.05 * clock["prior"]
    assert clock["low"] <= clock["half"] <= clock["high"]
    assert clock["half"] > clock["null_half"] + 0.1


def test_the_summary_is_made_of_the_numbers(traced):
    _, found, table, *_ = traced
    first = table.iloc[0]
    assert (
        f"{first['phase']:.0f}|{first['other']:.0f} at noise level {first['level']:.2f}" in found["summary"]
    )
    assert "the intervals lie apart" in found["summary"]


def test_maps_of_early_predictions_have_one_phase_and_of_late_ones_all(traced):
    fields, *_ = traced
    counts = fields["label"].max(("a", "b")).to_numpy()
    assert counts[0] == 1
    assert counts[-1] == 4
    assert np.all(np.diff(counts) >= 0)


def test_wider_modes_are_decided_later_by_what_is_known(drawn):
    figure, table = drawn["history_comparison"]
    exact = [np.sqrt(1 - 1 / (1 + m**2 - s**2)) for s in (0.6, WIDTH) for m in (1.6, 0.8)]
    shifts = (table["level"] - table["first_level"]).sort_values().to_numpy()
    expected = sorted([exact[0] - exact[2], exact[1] - exact[3]] * 2)
    assert shifts == pytest.approx(expected, abs=0.03)
    assert "0 of 4 shared boundaries are decided earlier" in figure.texts[-1].get_text()


@pytest.mark.parametrize("name", ["history", "history_maps", "history_comparison"])
def test_figures_are_legible_and_whole(drawn, name):
    figure, table = drawn[name]
    assert_whole(figure)
    assert_printable(figure)
    assert len(table) > 3


def test_a_study_of_one_phase_has_a_tree_of_one_leaf():
    fields, found, table, clean, end = trace(0.8, means=np.zeros((1, 2)))
    assert found["summary"] == "One phase: no boundary is decided."
    assert table.empty
    assert list(table) == [
        "phase",
        "other",
        "level",
        "low",
        "high",
        "places",
        "map_level",
        "map_low",
        "map_high",
    ]
    figure, _ = history.draw(
        **history.gather(found, fields, Rows(pictures(clean, 3)), Rows(pictures(end, 3)))
    )
    assert len(figure.axes) == 4


def test_leaves_of_a_branch_lie_side_by_side(traced):
    branches = traced[1]["branches"]
    heights = history.heights_of(branches)
    for branch in branches:
        inside = [heights[label - 1] for label in branch["phases"]]
        assert max(inside) - min(inside) == len(inside) - 1
