"""The target zoom on the tiny study: built, found complete, and only what is missing built again."""

import pytest

from hessgeo import store

ZOOM = {"levels": 2, "factor": 0.02, "grid": [24, 24], "precisions": ["float32", "bfloat16"], "images": 6}


def planned(workflow, *arguments):
    lines = workflow.run("zoom", "--dry-run", "--quiet", "rules", *arguments).stdout.splitlines()
    pairs = (line.split() for line in lines if len(line.split()) == 2)
    return {name: count for name, count in pairs if count.isdigit()}


def test_the_zoom_is_planned_apart_from_the_studies(empty):
    jobs = planned(empty(studies={"tiny": {"zoom": {**ZOOM, "levels": 3, "factor": 0.1}}}))
    assert (jobs["locate_boundary"], jobs["sample_window"], jobs["judge_windows"]) == ("2", "6", "1")
    assert {"draw_zoom_strip", "draw_zoom_scales", "film_zoom", "generate_samples"} <= set(jobs)


@pytest.mark.slow
def test_only_a_missing_window_is_built_again(copied):
    workflow = copied(studies={"tiny": {"zoom": ZOOM}})
    workflow.run("zoom")
    zoom = workflow.study.zoom
    assert [path for path in zoom.targets if not workflow(path).exists()] == []
    table = store.read_table(workflow("results/tiny/zoom/zoom.csv"))
    assert table["series"].tolist() == ["float32-8"] * 2 + ["bfloat16-8"] * 2
    assert (table.loc[table["precision"] == "float32", "labels"] >= 2).all()
    assert table["images"].iloc[0] == 576
    verdicts = store.read_json(workflow("results/tiny/zoom/zoom.json"))
    # Two windows are too few for a law, and that is what is said.
    assert {found["lipschitz"]["embedding_per_parameter"]["verdict"] for found in verdicts.values()} <= {
        "not resolved",
        "limited by precision",
    }
    assert planned(workflow) == {}
    workflow(zoom.window(zoom.series[1], 1)).unlink()
    jobs = planned(workflow)
    assert jobs.pop("total") == str(sum(map(int, jobs.values())))
    assert jobs == {
        "sample_window": "1", "judge_windows": "1", "film_zoom": "1", "draw_zoom_strip": "1", "draw_zoom_scales": "1",
        "zoom": "1",
    }  # fmt: skip
