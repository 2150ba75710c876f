"""The target stability, from a finished study: which of its phases are real, and nothing else made again."""

import pandas as pd
import pytest

from hessgeo import store

pytestmark = pytest.mark.slow


def test_the_target_stability_adds_to_a_finished_study_and_changes_nothing_in_it(copied):
    workflow = copied(studies={"tiny": {"stability": {"replicates": 20, "factors": [1]}}})
    made = [path for path in workflow.study.targets if workflow(path).is_file()]
    before = workflow.times(made)
    workflow.run("stability")
    assert [path for path in workflow.layout.stability_targets if not workflow(path).exists()] == []
    assert workflow.times(made) == before
    found = store.read_json(workflow("results/tiny/stability.json"))
    phases = store.read_json(workflow("results/tiny/phases.json"))
    assert [phase["label"] for phase in found["phases"]] == [phase["label"] for phase in phases["phases"]]
    assert all(0 <= phase["low"] <= phase["share"] <= phase["high"] <= 1 for phase in found["phases"])
    # The boundaries of the scan are those of the study, each with its fate.
    scan = store.read_json(workflow("results/tiny/numbers/resolution_scan.json"))
    fates = {tuple(line["phases"]): line["fate"] for line in found["boundaries"]}
    assert fates == {tuple(line["phases"]): line["verdict"] for line in scan["boundaries"]}
    table = pd.read_csv(workflow("results/tiny/stability.csv"))
    names = ["fit", "embedding", "pixels", "shrunk", "components", "classifier", "1 N", "grid / 2"]
    assert list(found["counts"]) == names
    assert len(table) == 8 * 7 / 2
    numbers = store.read_json(workflow("results/tiny/numbers/stability.json"))
    assert numbers["classifier"]["adjusted_rand"] <= 1
    assert numbers["classifier"]["ceiling"] > 0
    again = workflow.run("stability", "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
