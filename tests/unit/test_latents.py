"""Studies are compared cell by cell if their latents are the same, and refused in a line where they are not."""

import pytest

from hessgeo.pipeline.latents import changed_settings, latents_errors


@pytest.fixture
def layout(layout_of):
    """The paths of the studies of steps.yaml, with changes of one of them."""
    return lambda **change: layout_of("steps.yaml", studies={"bfloat16": change})


def errors(layout):
    return list(latents_errors("precision", [layout.of("steps-25"), layout.of("bfloat16")]))


@pytest.mark.parametrize(
    "change",
    [
        {"system": {"steps": 3, "eta": 0.5}},
        {"seed": 4},  # of the noise: all points are nodes
        {"posterior": {"quantile": 0.5}},
        {"sampling": {"shard": 256}},
        {"phases": {"persistence": 2}},
    ],
)
def test_what_changes_no_latent_can_be_compared(layout, change):
    assert errors(layout(**change)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"slice": {"anchors": 5}}, "the same slice"),
        ({"slice": {"extent": [[0, 1], [0, 1]]}}, "the same slice"),
        ({"sampling": {"grid": [16, 16], "shard": 256}}, "the same points and grid"),
        ({"sampling": {"design": "sobol", "count": 1024}}, "the same points and grid"),
        ({"embedding": {"kind": "pixels", "checkpoint": None}}, "the same embedding"),
    ],
)
def test_other_cells_are_refused_in_a_line(layout, change, words, capsys):
    made = layout(**change)
    line = (
        f"hessgeo: comparisons.precision[1]: 'bfloat16' is not allowed; allowed: a study with {words} as steps-25, "
        "for the target compare"
    )
    assert [f"hessgeo: {error.removeprefix('hessgeo: ')}" for error in errors(made)] == [line]
    # They can still be set side by side: nothing else is refused, and only who asks for it is told.
    assert "results/comparisons/precision.svg" in made.targets
    with pytest.raises(SystemExit, match=r"comparisons\.precision\[1\]"):
        made.compared_targets(None)


def test_the_target_makes_a_null_a_reference_and_the_numbers_of_each_comparison(layout):
    made = layout()
    names = made.compared_targets(None)
    assert "results/comparisons/steps/differences.json" in names
    assert "results/steps-100/reseeded.nc" in names
    assert "results/steps-50/reseeded.nc" not in names
    # Nothing of it is made by the default target.
    assert not set(names) & set(made.targets)


def test_changed_settings_are_called_by_their_path():
    first = {"system": {"steps": 25, "eta": 0.0}, "seed": 1}
    assert changed_settings(first, {"system": {"steps": 5, "eta": 0.0}, "seed": 1}) == {"system.steps": 5}
    assert changed_settings(first, first) == {}
