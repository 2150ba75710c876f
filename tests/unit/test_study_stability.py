"""What the target stability measures of a study, on a plane whose phases are known, and what is drawn of it."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from printed import assert_printable, assert_whole

from hessgeo.figures import stability as figure_module
from hessgeo.figures import style
from hessgeo.grids import Grid
from hessgeo.phases.agreement import adjusted_rand
from hessgeo.phases.recurrence import REAL
from hessgeo.pipeline.schema import defaults
from hessgeo.pipeline.stability import nearest_class, study_stability
from hessgeo.pipeline.stability_maps import extractor_features, principal, small_images, thinned_phases

GRID = Grid(((-1.0, 2.0), (0.0, 3.0)), (24, 24))


def images_of(label, rng):
    """Images of 8 x 8 pixels that differ between phases, and a little within them."""
    kinds = rng.integers(0, 256, (int(label.max()) + 1, 8, 8, 1))
    soft = 0.9 * kinds[label.ravel()] + 4 * rng.standard_normal((label.size, 8, 8, 1))
    return np.clip(soft, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def plane():
    """Three phases with noise: two rows of nodes apart from a third that fills half of the box."""
    i, j = np.indices(GRID.shape)
    label = np.where(i < 12, 1, np.where(j < 12, 2, 3))
    rng = np.random.default_rng(31)
    images = images_of(label, rng)
    embedding = images.reshape(len(images), -1) / 255
    return label, images, embedding + 0.02 * rng.standard_normal(embedding.shape)


@pytest.fixture(scope="module")
def measured(plane):
    label, images, embedding = plane
    options = {
        "replicates": 20,
        "embeddings": ["pixels", "shrunk", "components", "classifier"],
        "factors": [1],
    }
    study = defaults("study")
    settings = {"stability": study["stability"] | options, "phases": study["phases"], "kernel": "gaussian"}
    boundaries = [{"phases": [1, 2], "verdict": "transition", "strengths": [1.0, 2.0, 3.0]}]
    scan = {"N": [10.0, 20.0, 40.0], "boundaries": boundaries}
    return study_stability(label, embedding, images, GRID, 40.0, settings, seed=1, scan=scan)


def test_phases_that_are_there_are_real_by_every_means(measured):
    table, found, numbers = measured
    assert [phase["verdict"] for phase in found["phases"]] == [REAL] * 3
    assert [line["verdict"] for line in found["boundaries"]] == [REAL] * 3
    assert found["real"] == {"phases": 3, "boundaries": 3, "doubtful": []}
    assert [line["fate"] for line in found["boundaries"]] == ["transition", None, None]
    # A classifier of digits knows nothing of these images.
    assert list(found["counts"]) == [
        "fit", "embedding", "pixels", "shrunk", "components", "1 N", "grid / 2",
    ]  # fmt: skip
    assert len(table) == 7 * 6 / 2
    # Images alike within a phase have posteriors as wide as the phase, on its edge as well: widths show no ridge.
    ridged = (table["first"] != "1 N") & (table["second"] != "1 N")
    assert table["value"][ridged].min() > 0.75
    assert (table["low"] <= table["high"]).all()
    # All extractors see the same jump, to within half a step.
    assert found["extractors"]["least"] > 0.95
    assert found["extractors"]["edges_least"] > 0.95 > found["extractors"]["edges_chance"]
    assert "edges" not in numbers
    assert numbers["agreement_with_fit"]["embedding"] > 0.9


def test_edges_lie_between_the_nodes_that_they_part(measured, plane):
    edges = np.array(measured[1]["edges"])
    label = plane[0]
    middle = (edges[:, :2] + edges[:, 2:4]) / 2
    along = np.ptp(edges[:, :4].reshape(-1, 2, 2), axis=1)
    # Each is as long as a step, along the one axis that does not part its nodes.
    assert np.sort(along, axis=1) == pytest.approx(np.tile([0, GRID.spacing[0]], (len(edges), 1)))
    off = np.where(along > 1e-9, 0, np.array(GRID.spacing) / 2)
    here, there = (label.ravel()[GRID.nearest(middle + sign * off)] for sign in (-0.9, 0.9))
    assert (here != there).all()
    assert edges[:, 4] == pytest.approx(1, abs=0.3)


def test_the_same_seed_gives_the_same_numbers(plane):
    label, images, embedding = plane
    study = defaults("study")
    options = {"replicates": 20, "embeddings": [], "factors": [], "strides": []}
    settings = {"stability": study["stability"] | options, "phases": study["phases"], "kernel": "gaussian"}
    one, other = (study_stability(label, embedding, images, GRID, 40.0, settings, seed=4) for _ in range(2))
    pd.testing.assert_frame_equal(one[0], other[0])
    assert one[1] == other[1]
    # One extractor proves nothing of others.
    assert one[1]["extractors"] == {"verdict": "not tested: one extractor", "pairs": 0}
    assert one[0][["first", "second"]].values.tolist() == [["fit", "embedding"]]


def test_features_are_few_and_keep_distances(plane):
    _, images, embedding = plane
    few = principal(embedding, 64)
    assert few == pytest.approx(embedding - embedding.mean(axis=0))
    two = principal(embedding, 2)
    assert two.var(axis=0) == pytest.approx(np.linalg.eigvalsh(np.cov(embedding.T, ddof=0))[:-3:-1])
    assert small_images(images, 8) == pytest.approx(images.reshape(len(images), -1) / 255)
    assert small_images(images, 4).shape == (len(images), 16)
    assert set(extractor_features(["shrunk"], embedding, images, None)) == {"embedding", "shrunk"}


def test_a_thinned_grid_gives_each_node_the_phase_of_the_nearest_kept_one(plane):
    label, _, embedding = plane
    for stride in (2, 3):
        thin = thinned_phases(embedding, GRID, stride, defaults("study")["phases"])
        assert thin.shape == GRID.shape
        assert adjusted_rand(label, thin) > 0.7


def test_the_nearest_class_is_told_without_the_node_s_own_class():
    classes = np.where(np.indices((12, 12))[0] < 6, 3, 7)
    embedding = np.eye(10)[classes.ravel()]
    np.testing.assert_array_equal(nearest_class(embedding, classes), classes)
    # Noise that knows nothing of the classes reads none of them, which it would of its own.
    noise = np.random.default_rng(3).standard_normal((144, 100))
    assert adjusted_rand(classes, nearest_class(noise, classes)) < 0.1


def test_the_figure_says_the_verdict_and_nothing_is_cut_or_small(measured, plane):
    table, found, _ = measured
    a, b = GRID.axes
    fields = xr.Dataset({"label": (("a", "b"), plane[0])}, coords={"a": a, "b": b})
    known = {
        "adjusted_rand": 0.9,
        "replicates_low": 0.89,
        "replicates_high": 0.91,
        "ceiling": 0.95,
        "classes": 3,
    }
    figure, rows = figure_module.draw(fields, {**found, "classifier": known}, table)
    with style.theme():
        FigureCanvasAgg(figure).draw()
    assert_whole(figure, slack=0.01)
    assert_printable(figure)
    said = "\n".join(figure_module.verdict_lines({**found, "classifier": known}))
    assert "Real: 3 of 3 phases and 3 of 3 boundaries" in said
    assert "0 places called wrongly" in said
    assert "0.900 adjusted Rand" in said
    assert rows["kind"].value_counts().to_dict() == {"agreement": 21, "phase": 3, "boundary": 3}
