"""The tables of solvable systems as their users build them: the quick setting, from nothing."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.settings import merged, read_settings
from hessgeo.pipeline.solvable_layout import TABLES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def layout(repository, quick):
    config = yaml.safe_load((repository / "config.yaml").read_text())
    return Layout(read_settings(merged(config, quick)), repository).solvable


def test_everything_is_made_and_nothing_is_left_to_do(built, layout):
    assert all(built(path).stat().st_size > 0 for path in layout.targets)
    again = built.run("table1", "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_tables_hold_every_estimator_between_zero_skill_and_oracle(built, layout):
    table = pd.read_csv(built(layout.table("table1.csv")))
    for system in layout.solvable["table1"]["systems"]:
        rows = table[table["system"] == system]
        expected = {record["estimator"] for record in layout.records("table1") if record["system"] == system}
        assert set(rows.loc[rows["kind"] == "estimate", "method"]) == expected
        assert {"zero skill", "oracle", "published"} <= set(rows["kind"])
    exact = table[(table["system"] == "ising-6") & (table["gauge"] == "shift+slope")].set_index(
        ["quantity", "method"]
    )
    # 3,000 states of 36 spins tell the mean of a statistic to about a percent of what zero skill leaves.
    for quantity in ("log Z", "-T log Z"):
        scores = exact.loc[quantity]
        # One row a gauge: natural parameters and those of the study, where both are in use.
        zero = scores.loc[["zero skill"]].set_index("gauge_coordinates")["value"]
        place = scores.loc["statistics", "gauge_coordinates"]
        assert scores.loc["statistics", "value"] < 0.02 * zero[place]
        assert scores.loc["oracle", "value"] < 1e-12


def test_metrics_are_scored_beside_a_constant_one(built, layout):
    table = pd.read_csv(built(layout.table("fisher.csv"))).set_index("method")
    # A metric is a covariance: 3,000 states, of which each node sees a good part, know it to a few percent.
    assert table.loc["statistics", "median"] < 0.08 < table.loc["zero skill", "median"]
    assert table.loc["oracle", "median"] == 0
    assert 0.8 < table.loc["statistics", "coverage"] <= 1


def test_what_is_quoted_is_what_stands_in_the_tables(built, layout):
    numbers = json.loads(built(layout.path("numbers.json")).read_text())
    assert set(numbers) == set(TABLES)
    table = pd.read_csv(built(layout.table("fisher.csv")))
    for row, stored in zip(numbers["fisher"], table["median"], strict=True):
        assert np.isclose(row["median"], stored, rtol=1e-9)


def test_a_lost_estimate_is_made_again_alone_and_the_same(built, layout, workflow_in, quick, tmp_path):
    # A copy: others read the original at the same time.
    shutil.copytree(built.directory, tmp_path / "run", copy_function=shutil.copy2)
    built = workflow_in(tmp_path / "run", base=quick)
    path = built(layout.estimate("ising-natural", 1, 3000, "statistics"))
    own = {path.name, f"{path.name}.json"}  # the voucher tells of the new file, which holds other seconds
    others = [other for other in path.parent.parent.rglob("*") if other.is_file() and other.name not in own]
    others = {other: other.read_bytes() for other in others if {"networks", "estimates"} & set(other.parts)}
    before = built(layout.table("fisher.csv")).read_bytes()
    path.unlink()
    again = built.run("table1")
    done = again.stdout + again.stderr
    assert done.count("Train networks and estimate from ") == 1
    # Weights, seconds, vouchers: nothing else was trained or estimated again.
    assert len(others) > 20
    assert {other for other, text in others.items() if other.read_bytes() != text} == set()
    columns = [
        name for name in pd.read_csv(built(layout.table("fisher.csv"))).columns if "seconds" not in name
    ]
    built(layout.table("before.csv")).write_bytes(before)
    old, new = (pd.read_csv(built(layout.table(name)))[columns] for name in ("before.csv", "fisher.csv"))
    pd.testing.assert_frame_equal(old, new)


def test_damaged_samples_are_found_and_made_again(built, layout, workflow_in, quick, tmp_path):
    shutil.copytree(built.directory, tmp_path / "run", copy_function=shutil.copy2)
    built = workflow_in(tmp_path / "run", base=quick)
    store = layout.store("ising-natural", 1)
    shard = built(f"{store}/state/c/1/0")
    before = shard.read_bytes()
    shard.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    found = built.run("verify", cores=1, check=False)
    assert "results/digits" not in found.stdout  # a study that was never built is no fault
    assert "1 results were damaged or missing" in found.stderr
    assert "--cores all table1 (log: " in found.stderr
    assert f"{store}/state: shard 1 is flipped" in found.stdout
    assert f"{store}/state: 1 of 2 shards ok" in found.stdout
    assert not shard.exists()
    built.run(f"{store}/state/c/1/0")
    assert shard.read_bytes() == before
    assert built.run("verify", cores=1).stdout.count("is missing") == 0


def test_a_store_that_a_killed_job_left_half_made_is_made_again(built, layout, workflow_in, quick, tmp_path):
    shutil.copytree(built.directory, tmp_path / "run", copy_function=shutil.copy2)
    built = workflow_in(tmp_path / "run", base=quick)
    store = layout.store("ising-natural", 1)
    before = built(f"{store}/state/c/1/0").read_bytes()
    # What snakemake removes of a job that did not end: its outputs, not all that the job wrote.
    for path in ("zarr.json", "state/zarr.json", "t/c/0/0"):
        built(f"{store}/{path}").unlink()
    assert built(f"{store}/t/zarr.json").is_file()
    built.run(f"{store}/state/c/1/0")
    assert built(f"{store}/state/c/1/0").read_bytes() == before
