"""The page that the report opens with says what the numbers of studies say, and reads nothing unless one is made."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from jinja2 import Environment

from hessgeo.pipeline.report_opening import opening, report_page, summary_lines

GOOD = {
    "posterior": {"samples": 4096, "resolution": 381.348},
    "free_energy": {
        "fit": "dual", "converged": True, "resolved": True, "verdict": "resolved", "mean_divergence": 0.0781,
        "explained_divergence": 0.0883, "potential_converged": True,
    },
    "metric": {
        "positive_definite_share": 1.0, "largest_eigenvalue_median": 0.5695, "largest_eigenvalue_99": 40.69,
        "antisymmetric_share": 0.0644, "antisymmetric_share_error": 0.0286,
    },
    "phases": {"phases": 6, "boundaries": 9, "triple_points": 4, "lipschitz_median": 0.81, "lipschitz_99": 17.9},
    "calibration": {
        "measured": {"truth": "the source itself", "calibrated": False, "verdict": "too wide"},
        "fitted": {"truth": "a draw from the measured posterior", "calibrated": True, "verdict": "calibrated"},
    },
}  # fmt: skip
POOR = {
    "free_energy": {
        "fit": "spline",
        "converged": True,
        "resolved": False,
        "verdict": "posteriors of 40% are *narrow_",
    },
    "metric": {"positive_definite_share": 0.9},
    "calibration": {"fitted": {"truth": "x", "calibrated": False, "verdict": "too narrow"}},
}


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """Studies in a working directory: one built, one not resolved, one missing, one that cannot be read."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("good", json.dumps(GOOD)), ("poor_", json.dumps(POOR)), ("torn", '{"posterior"')):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "numbers.json").write_text(text)
    (tmp_path / "results" / "good" / "explore.html").touch()
    names = ("good", "poor_", "torn", "missing")
    studies = [
        SimpleNamespace(name=name, path=lambda file, name=name: f"results/{name}/{file}") for name in names
    ]
    return SimpleNamespace(studies=studies)


@pytest.fixture
def template(repository):
    return repository / "workflow" / "report" / "workflow.rst"


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        (["snakemake", "--cores", "all"], None),
        (["snakemake", "--report", "results/report.html", "--cores", "1"], "results/report.html"),
        (["snakemake", "--report=out/page.zip"], "out/page.zip"),
        (["snakemake", "--report", "--cores", "1"], "report.html"),
        (["snakemake", "--report"], "report.html"),
    ],
)
def test_a_report_is_known_by_its_option(arguments, page):
    assert report_page(arguments) == (page and Path(page))


def test_without_a_report_the_text_is_the_template_and_nothing_is_read(template):
    assert opening(template, None, ["snakemake", "--dry-run"]) == template


def test_the_page_shows_every_verdict_and_links_the_explorers_that_there_are(layout, template, capsys):
    text = opening(template, layout, ["snakemake", "--report", "results/report.html"])
    assert text.name == "workflow.rst"
    assert not text.is_relative_to(template.parent)
    # As Snakemake does it.
    page = publish_parts(Environment().from_string(text.read_text()).render(), writer="html")["html_body"]
    assert capsys.readouterr().err == ""  # docutils has nothing to complain of
    assert (
        page.index("Summary")
        < page.index("What failed or is not resolved")
        < page.index("The Hessian geometry")
    )
    assert page.count("<table") == 1
    assert 'href="good/explore.html">good</a>' in page
    assert "poor_/explore.html" not in page
    for words in (
        "4 studies, of which 2 built.", "fit: dual", "samples: 4,096", "resolution number: 381",
        "measured posteriors: too wide (of their own source)",
        "fitted posteriors: calibrated (a draw from the measured posterior)",
        "0.57 (median), 40.7 (99 %)", "antisymmetric share: 0.0644 ± 0.029",
        "0.0781 nats, of which noise explains up to 0.0883", "Lipschitz field: 0.81 (median), 17.9 (99 %)",
        "boundaries: 9", "triple points: 4", "<strong>no</strong>",
        "is not resolved: posteriors of 40% are *narrow_.", "fitted posteriors are too narrow.",
        "not positive definite at 10.00% of the nodes",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("is not built") == 2
    assert "Nothing: every study" not in page


def test_a_run_in_which_all_is_well_says_so():
    text = "\n".join(summary_lines({"good": GOOD}, {}))
    assert "1 study, of which 1 built." in text
    assert "Nothing: every study is built, every fit converged and is resolved." in text
    assert "opens its explorer" not in text


def test_numbers_that_a_study_does_not_have_are_dashes_or_left_out():
    text = "\n".join(summary_lines({"bare": {}}, {}))
    assert text.count("     - –") == 4  # of its row all but the name
    assert text.endswith("``bare``:\n\n")


def test_braces_in_a_name_are_no_instruction(layout, template):
    layout.studies[3].name = "{{ 1/0 }}"
    text = opening(template, layout, ["snakemake", "--report"])
    assert "{{ 1/0 }}" in Environment().from_string(text.read_text()).render()
