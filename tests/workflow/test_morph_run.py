"""The targets safety and morph, from a finished study, and the command on it: nothing else is made again."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from hessgeo import store
from hessgeo.command import app

pytestmark = pytest.mark.slow


def test_both_targets_add_to_a_finished_study_and_the_command_films_it(copied, monkeypatch):
    workflow = copied(studies={"tiny": {"morph": {"frames": 6, "points": [[-0.5, -0.5], [1.5, 1.5]]}}})
    made = [path for path in workflow.study.targets if workflow(path).is_file()]
    before = workflow.times(made)
    workflow.run("safety", "morph")
    wanted = [*workflow.layout.safety_targets, *workflow.layout.morph_targets]
    assert [path for path in wanted if not workflow(path).exists()] == []
    assert workflow.times(made) == before
    table = pd.read_csv(workflow("results/tiny/safety.csv"))
    fields = store.read_dataset(workflow("results/tiny/safety.nc"))
    assert table["jitter_risk"].between(0, 1).all()
    assert fields["jitter_risk"].to_numpy().ravel() == pytest.approx(table["jitter_risk"])
    phases = store.read_json(workflow("results/tiny/phases.json"))["phases"]
    safety = store.read_json(workflow("results/tiny/safety.json"))
    assert [one["label"] for one in safety["phases"]] == [one["label"] for one in phases]
    assert all(one["stable"]["risk"] <= one["least_stable"]["risk"] for one in safety["phases"])
    morph = store.read_dataset(workflow("results/tiny/morph/morph.nc"))
    assert morph.sizes["frame"] == 6
    # Both ways begin and end in the same images, fresh from the model.
    assert (morph["image"][0, [0, -1]] == morph["image"][1, [0, -1]]).all()
    again = workflow.run("safety", "morph", "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    monkeypatch.chdir(workflow(""))
    ends = ["--from", "-0.5,-0.5", "--to", "1.5,1.5", "--frames", "4", "--out", "own.gif"]
    with_model = [*ends, "--settings", str(workflow.overrides_file)]
    done = CliRunner().invoke(app, ["morph", "results/tiny", *with_model])
    assert done.exit_code == 0, done.output
    assert "nearest samples" not in done.output
    done = CliRunner().invoke(app, ["morph", "results/tiny", *ends])
    assert done.exit_code == 0, done.output
    assert "4 frames" in done.output
    # The settings of the package know no such study: its nearest samples stand for a model.
    assert "Frames are the nearest samples: the settings at hand have the studies" in done.output
    assert {path.name for path in workflow("").glob("own.*")} == {"own.gif", "own.svg", "own.png", "own.csv"}
