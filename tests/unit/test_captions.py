"""Captions of the report end in a verdict made of the numbers of their own figure; without a report nothing is read."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from docutils.core import publish_parts
from jinja2 import Environment

from hessgeo.figures import registry
from hessgeo.pipeline.caption_verdicts import VERDICTS
from hessgeo.pipeline.captions import UNREADABLE, after, caption
from hessgeo.pipeline.figures import drawings
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.settings import merged, read_settings

REPORT = ["snakemake", "--report", "results/report.html"]


def numbers(phases, weakest):
    strengths = [{"phases": [1, 2], "strength": 9.0}, {"phases": [2, 3], "strength": weakest}]
    counts = {"phases": phases, "boundaries": 3, "triple_points": 1, "persistence": 0.5}
    return {"phases": {**counts, "strengths": strengths}}


@pytest.fixture
def layout(config, repository, tmp_path, monkeypatch):
    """Studies with figures of phases: two with numbers, one whose numbers are torn, one that is not drawn."""
    monkeypatch.chdir(tmp_path)
    texts = {"one": json.dumps(numbers(3, 1.5)), "two": json.dumps(numbers(7, 4.0)), "torn": '{"phases"'}
    for name, text in texts.items():
        folder = tmp_path / "results" / name
        (folder / "figures").mkdir(parents=True)
        (folder / "figures" / "phases.svg").touch()
        (folder / "numbers.json").write_text(text)
    names = [*texts, "absent"]
    return Layout(
        read_settings(merged(config, {"run": names, "studies": {name: {} for name in names}})), repository
    )


def drawing(layout, name):
    return next(one for one in drawings(layout) if one.figure.name == name)


def shown(text, svg):
    """What Snakemake makes of a caption for a file."""
    snakemake = SimpleNamespace(
        output=SimpleNamespace(svg=svg), wildcards=SimpleNamespace(study="x", comparison="y"), params=None
    )
    return publish_parts(Environment().from_string(text).render(snakemake=snakemake), writer_name="html")[
        "body"
    ]


def test_each_figure_of_a_study_and_of_a_comparison_has_a_verdict():
    groups = (
        registry.STUDY,
        registry.PATHS,
        registry.HISTORY,
        registry.STABILITY,
        registry.ZOOM,
        registry.SAFETY,
    )
    single = (registry.HISTORIES, registry.COMPARISON, registry.DIFFERENCES, registry.NOISE)
    names = {
        figure.name
        for group in (*groups, registry.MORPH, registry.REFINEMENT, registry.PAPER, single)
        for figure in group
    }
    assert names | {"noisy_flow", "mode_pair"} == set(VERDICTS)


def test_without_a_report_the_caption_is_the_file_of_its_figure(layout):
    assert caption(drawing(layout, "phases"), layout, ["snakemake", "-n"]) == "../report/phases.rst"


def test_each_file_shows_its_own_numbers_and_says_where_there_are_none(layout, repository):
    text = Path(caption(drawing(layout, "phases"), layout, REPORT)).read_text(encoding="utf-8")
    assert text.startswith((repository / "workflow" / "report" / "phases.rst").read_text(encoding="utf-8"))
    one, two, torn, absent = (
        shown(text, f"results/{name}/figures/phases.svg") for name in ("one", "two", "torn", "absent")
    )
    assert (
        "<strong>Verdict.</strong> 3 phases, 3 boundaries, 1 triple point. The weakest boundary, 2|3, has"
        in one
    )
    assert "strength 1.5, 3.0 times" in one
    assert "7 phases" in two
    assert "8.0 times" in two
    assert UNREADABLE in torn
    assert "Verdict" not in absent
    assert "system-message" not in one + two + torn + absent


def test_words_are_no_instructions():
    said = 'a_b *c* {{ snakemake }} {% raw %} \\ "quoted" | é'
    text = (
        Environment()
        .from_string("Caption." + after({"x.svg": said}))
        .render(snakemake=SimpleNamespace(output=SimpleNamespace(svg="x.svg")))
    )
    assert text.strip().endswith(f"**Verdict.** {said}")


def test_noise_is_judged_by_the_contrast_that_is_drawn(tmp_path):
    rows = [("ddim", 0.2, 1.9), ("ddim", 0.9, 1.2), ("renewal", 0.2, 1.1), ("renewal", 0.9, 1.3)]
    pd.DataFrame(rows, columns=["eta_rule", "eta", "contrast"]).to_csv(
        tmp_path / "noisy_flow.csv", index=False
    )
    said = VERDICTS["noisy_flow"](SimpleNamespace(table=tmp_path / "noisy_flow.csv"))
    assert "by DDIM's rule it falls steadily, from 1.9 at eta 0.2 to 1.2 at 0.9" in said
    assert "by renewal it does not fall steadily, from 1.1 at eta 0.2 to 1.3 at 0.9" in said
