"""The target history on the tiny study: made beside what is there, of the same images, and told from its numbers."""

import numpy as np
import pandas as pd
import pytest

from hessgeo import store

pytestmark = pytest.mark.slow


def test_the_history_is_made_beside_a_finished_study(copied):
    workflow = copied()
    study = workflow.study
    before = workflow.times(study.targets)
    workflow.run("history")
    assert [path for path in study.history_targets if not workflow(path).exists()] == []
    assert workflow.times(study.targets) == before
    samples = workflow(study.samples)
    arrays = {
        name: store.read_array(samples, study.folder.array(name)) for name in ("prediction", "trajectory")
    }
    images = store.read_array(samples, "image")
    assert arrays["prediction"].shape == (256, 8, *images.shape[1:])
    # The last step ends where it predicts, but for rounding.
    assert np.abs(arrays["prediction"][:, -1].astype(int) - images).max() <= 1
    fields = store.read_dataset(workflow("results/tiny/history.nc"))
    assert fields["label"].shape == (8, 16, 16)
    assert np.all(np.diff(fields["level"]) < 0)
    found = store.read_json(workflow("results/tiny/history.json"))
    phases = store.read_json(workflow("results/tiny/phases.json"))
    leaves = [branch for branch in found["branches"] if not branch["children"]]
    assert [branch["share"] for branch in leaves] == [phase["area"] for phase in phases["phases"]]
    table = pd.read_csv(workflow("results/tiny/history.csv"))
    assert len(table) == len({tuple(line["phases"]) for line in phases["boundaries"]})
    again = workflow.run("history", "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
