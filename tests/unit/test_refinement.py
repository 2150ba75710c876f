"""Rounds of new images: as adaptive sampling would make them, whichever jobs made which, and what they come to."""

import numpy as np
import pytest
import xarray as xr
from printed import assert_printable, assert_whole

from hessgeo.figures import refinement, style
from hessgeo.grids import Grid
from hessgeo.phases.adaptive import resume, sample_adaptively
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.refine import describe_refinement, no_nodes, nodes_within, refined_so_far, sample_nodes
from hessgeo.pipeline.settings import SettingsError, merged, read_settings

GRID = Grid(((-1.0, 3.0), (0.0, 0.5)), (17, 9))
FINE = Grid(GRID.extent, (65, 33))
BY_BOUNDARY = {"by": "boundary", "error": None, "images": None}


def vectors(t):
    """Features that turn across a slanted line, and from one end of the box to the other."""
    far = 9 * ((t[:, 0] - 1) + 4 * (t[:, 1] - 0.27))
    return np.stack([np.tanh(far), 1 / np.cosh(far), 0.05 * t[:, 0]], axis=1)


class Model:
    """Images that hold their own point; what they show depends on no other."""

    def sample(self, t, index, seed):
        return (100 * t[:, None, None, :] + seed).repeat(2, axis=1)


def features(images):
    return vectors((images[:, 0, 0] - 7) / 100)


def carried_out(settings, *, jobs, most=20):
    """All rounds of a refinement, each shared among jobs."""
    embedding, rounds = vectors(GRID.points), []
    medoids = [0, GRID.size - 1]
    for _ in range(most):
        found, due = refined_so_far(embedding, medoids, rounds, GRID, FINE, settings)
        if not len(due):
            break
        parts = [due[part::jobs] for part in range(jobs)]
        rounds += [
            sample_nodes(part, FINE, Model(), features, first=GRID.size, seed=7)
            if len(part)
            else no_nodes((2, 1, 2), 3)
            for part in parts
        ]
    return found, due, embedding[medoids]


def test_the_nodes_of_a_study_are_nodes_of_the_finer_grid():
    np.testing.assert_allclose(FINE.points[nodes_within(GRID, FINE)], GRID.points)


@pytest.mark.parametrize("jobs", [1, 3])
def test_rounds_of_jobs_are_those_of_one_loop(jobs):
    found, due, _ = carried_out(BY_BOUNDARY, jobs=jobs)

    def label(t, index):
        return 1 + (
            np.linalg.norm(vectors(t) - vectors(GRID.points[-1:]), axis=1)
            < np.linalg.norm(vectors(t) - vectors(GRID.points[:1]), axis=1)
        )

    whole = sample_adaptively(lambda t, index: label(t, index).astype(int), FINE, error=1 / 32, start=(17, 9))
    assert len(due) == 0
    assert found.converged
    assert found.rounds == whole.rounds
    np.testing.assert_array_equal(found.index, whole.index)
    np.testing.assert_array_equal(found.outputs, whole.outputs)
    np.testing.assert_array_equal(found.filled(), label(FINE.points, None))
    assert len(found.index) < FINE.size / 4


def test_the_embedding_itself_is_followed_to_the_error_asked_for():
    found, due, medoids = carried_out({"by": "embedding", "error": 0.1, "images": None}, jobs=2)
    assert found.reached <= 0.1
    _, table, numbers = describe_refinement(found, due, medoids)
    assert numbers["converged"]
    assert numbers["new_images"] == len(table) - GRID.size
    # Bilinear between corners: no farther off than the change within a cell of the size it has.
    off = np.linalg.norm(found.filled() - vectors(FINE.points), axis=1)
    coarse = np.linalg.norm(vectors(FINE.points) - vectors(GRID.points[GRID.nearest(FINE.points)]), axis=1)
    assert off.max() < coarse.max() / 2


@pytest.mark.parametrize(("change", "most"), [({}, 1), ({"images": 30}, 20)], ids=["rounds", "images"])
def test_what_runs_out_is_told(change, most):
    found, due, medoids = carried_out(BY_BOUNDARY | change, jobs=2, most=most)
    _, _, numbers = describe_refinement(found, due, medoids)
    assert not numbers["converged"]
    assert "is NOT reached" in refinement.verdict_line(numbers)
    assert numbers["new_images"] <= 30
    assert bool(numbers["left"]) == (most == 1)


def test_the_figure_shows_each_round_and_its_verdict():
    found, due, medoids = carried_out(BY_BOUNDARY, jobs=1)
    maps, table, numbers = describe_refinement(found, due, medoids)
    assert isinstance(maps, xr.Dataset)
    assert table.groupby("round").size().cumsum().tolist() == numbers["rounds"]
    figure, rows = refinement.draw(maps, numbers)
    assert rows["images"].tolist() == numbers["rounds"]
    with style.theme():
        assert_whole(figure)
        assert_printable(figure)
    said = " ".join(text.get_text().replace("\n", " ") for text in figure.texts)
    assert refinement.verdict_line(numbers) in said


def test_samples_without_the_first_round_are_refused():
    rows = nodes_within(GRID, FINE)[1:]
    with pytest.raises(ValueError, match="1 nodes of the first round have no sample"):
        resume(FINE, rows, np.ones(len(rows), dtype=int), error=0.1, start=(17, 9))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"refine": {"by": "embedding"}},
            "refine.by: 'embedding' is not allowed; allowed: boundary where refine.error is null",
        ),
        (
            {"refine": {"levels": 8}},
            "refine.levels: 8 is not allowed; allowed: fewer, for at most 4,097 nodes",
        ),
        (
            {"sampling": {"design": "sobol", "count": 4096}, "refine": {"jobs": 2}},
            "refine.jobs: 2 is not allowed; allowed: nothing here: a refinement, which this study cannot have, needs",
        ),
    ],
)
def test_a_refinement_that_cannot_be_is_refused_in_one_line(config, change, line):
    with pytest.raises(SettingsError) as refused:
        read_settings(merged(config, {"studies": {"digits": change}}))
    assert str(refused.value).startswith(f"hessgeo: studies.digits.{line}")
    assert len(str(refused.value).splitlines()) == 1


def test_each_round_waits_for_all_before_it(config, tmp_path):
    change = {"studies": {"digits": {"refine": {"rounds": 3, "jobs": 2}}}}
    refine = Layout(read_settings(merged(config, change)), tmp_path).of("digits").refine
    assert refine.before(1) == []
    assert refine.before(3) == [refine.file(k, part) for k in (1, 2) for part in (0, 1)]
    assert len(refine.rounds) == 6
    assert set(refine.rounds) < set(refine.targets)
