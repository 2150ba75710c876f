"""Which studies have a history, and what the target says of the others."""

import pytest

from hessgeo.pipeline.history_settings import history_steps, no_history
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.schema import defaults
from hessgeo.pipeline.settings import merged, read_settings


def study(**changes):
    return merged(defaults("study"), changes)


@pytest.mark.parametrize(
    ("changes", "need"),
    [
        ({}, ""),
        ({"history": {"steps": [3, 1]}}, ""),
        ({"system": {"kind": "generator"}}, "a diffusion model"),
        ({"system": {"scheduler": "EulerDiscreteScheduler"}}, "not EulerDiscreteScheduler"),
        ({"system": {"steps": 1}}, "at least two steps"),
        ({"sampling": {"design": "sobol", "count": 256}}, "an image on every node"),
        ({"sampling": {"grid": [64]}}, "an image on every node"),
        ({"embedding": {"kind": "file"}}, "an embedding that can be had of new images"),
    ],
)
def test_a_study_without_a_history_says_what_it_lacks(changes, need):
    found = no_history(study(**changes))
    assert need in found
    assert bool(need) == bool(found)


def test_steps_are_all_of_the_sampler_or_those_asked_for_in_their_order():
    assert history_steps(study(system={"steps": 4})) == [1, 2, 3, 4]
    assert history_steps(study(history={"steps": [9, 2]})) == [2, 9]


def test_the_target_makes_the_history_of_those_that_have_one(config, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scattered = {"sampling": {"design": "sobol", "count": 4096}}
    change = {"run": ["digits", "sown"], "studies": {"digits": {}, "sown": scattered}}
    layout = Layout(read_settings(merged(config, change)), repository)
    assert layout.history_targets == layout.of("digits").history_targets
    words = layout.history_words
    assert words.startswith(
        "The history of digits is complete; sown has none: it needs an image on every node"
    )
    # Of what all studies make it shares the metadata of the store.
    shared = set(layout.targets) & set(layout.history_targets)
    assert shared == {layout.of("digits").folder.samples.metadata()}


def test_other_steps_are_other_arrays_in_the_same_store(config, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    some = {"history": {"steps": [5, 25]}}
    layouts = [
        Layout(read_settings(merged(config, {"studies": {"digits": change}})), repository).of("digits")
        for change in ({}, some)
    ]
    assert layouts[0].store == layouts[1].store
    assert layouts[0].folder.array("prediction") != layouts[1].folder.array("prediction")
    assert layouts[0].shards("prediction")[0].endswith("/c/0/0/0/0/0")
