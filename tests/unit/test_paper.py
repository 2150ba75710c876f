"""The papers by number: every figure and table has a row, what makes it, and a verdict by a rule."""

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from hessgeo import store
from hessgeo.evaluation import paper_outcomes
from hessgeo.figures import registry
from hessgeo.figures.index_page import index_page
from hessgeo.figures.stacking import stack_figures
from hessgeo.pipeline.paper_entries import ENTRIES

NAMES = [
    *(f"figure-{number:02}" for number in range(1, 14)),
    *("table-1", "table-2"),
    *(f"kim-figure-{number:02}" for number in range(1, 10)),
]


def test_every_figure_and_table_of_both_papers_has_its_entry():
    assert [entry.name for entry in ENTRIES] == NAMES
    for entry in ENTRIES:
        assert bool(entry.sources) != bool(entry.missing)
        assert not entry.sources or callable(getattr(paper_outcomes, entry.judge))
    assert (ENTRIES[6].title, ENTRIES[13].title, ENTRIES[-1].title) == ("Fig. 7", "Table 1", "Fig. 9")


@pytest.mark.parametrize("studies", [(), ("paper.yaml",), ("tiny.yaml",), ("table1-quick.yaml",)])
def test_all_that_an_entry_is_made_of_is_made_by_a_run(layout_of, studies):
    made = layout_of(*studies)
    numbers = [made.solvable.path("numbers.json"), made.path("tables", "table2.json")]
    over = [study.folder.figure_files(registry.PAPER) for study in made.studies]
    computed = [
        made.path("paper", "computed", f"{figure.name}.{kind}")
        for figure in registry.PAPER_SOLVABLE
        for kind in ("svg", "png", "csv")
    ]
    known = {*made.targets, *made.path_targets, *made.solvable.targets, *made.generative_targets, *numbers}
    known |= {*made.zoom_targets, *computed, *(path for paths in over for path in paths)}
    for row in made.paper.rows:
        assert row.missing or {*row.sources, *row.tables, *row.numbers} <= known, row.entry.name
    # What is made for the papers alone is nothing that another target makes.
    assert not {*made.paper.targets, *computed} & {*made.targets, *made.solvable.targets}


def test_what_a_run_cannot_have_is_a_row_that_says_so(layout_of):
    rows = {row.entry.name: row for row in layout_of().paper.rows}
    assert rows["figure-09"].missing.startswith(
        "not in this configuration: it needs a study with system.eta above 0"
    )
    assert "needs a checkpoint" in rows["figure-10"].missing
    paper = layout_of("paper.yaml").paper
    assert paper.row("figure-09").missing is None
    assert paper.row("figure-09").numbers == ["results/digits/numbers.json", "results/noisy/numbers.json"]
    assert "study noisy: digits, 2,304 images of 8 x 8 pixels over 48 x 48 nodes, 25 steps, eta 0.1" in (
        paper.row("figure-09").setting
    )
    assert f"results/paper/{NAMES[8]}.svg" in paper.targets
    assert f"results/paper/{NAMES[9]}.svg" not in paper.targets


class Seen(HTMLParser):
    """Elements that are open, and what a page says."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.files, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        self.files += [value for name, value in attributes if name == "src"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_sets_each_figure_beside_what_is_reported_and_found(layout_of, tmp_path, repository):
    script = {"__name__": "index_papers"}
    path = repository / "workflow" / "scripts" / "index_papers.py"
    exec(compile(path.read_text(), path, "exec"), script)
    rows = [row for row in layout_of().paper.told if row["name"] in ("figure-11", "figure-09", "table-2")]
    apart = pd.DataFrame({"source": [1, 1, 2], "total_variation": [0.1, 0.1, 0.2]})
    store.write_table(tmp_path / "posteriors.csv", apart)
    score = {
        "method": "fisher",
        "pairs": "all",
        "count": 30,
        "embedding_difference": -0.2,
        "embedding_low": -0.3,
    }
    store.write_json(tmp_path / "table2.json", {"table2": [score | {"embedding_high": 0.1}]})
    by_name = {row["name"]: row for row in rows}
    by_name["figure-11"]["tables"] = [str(tmp_path / "posteriors.csv")]
    by_name["table-2"]["numbers"] = [str(tmp_path / "table2.json")]
    by_name["figure-11"]["shows"] = "a < b & c"
    output = SimpleNamespace(index=str(tmp_path / "index.html"), numbers=str(tmp_path / "numbers.json"))
    script["main"](rows, output)
    page = Seen((tmp_path / "index.html").read_text())
    assert page.open == []
    assert page.ids == ["figure-09", "figure-11", "table-2"]
    assert page.files[0] == "figure-11.svg"
    words = " ".join(page.words)
    assert (
        "Total variation between measured and fitted: 0.150 on average over 2 sources, 0.200 at most."
        in words
    )
    assert "a < b & c" in words
    assert "Not here: not in this configuration: it needs a study with system.eta above 0" in words
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["figure-11"]["verdict"] == "reproduced"
    assert numbers["table-2"]["verdict"] == "not resolved"
    assert "verdict" not in numbers["figure-09"]


def test_a_page_of_nothing_is_a_page():
    assert Seen(index_page([])).open == []


def growing(power):
    n = 2.0 ** np.arange(12)
    return pd.DataFrame({"panel": "C", "name": "rms", "N": n, "value": 0.5 * n**power})


def noisy(largest):
    return {"metric": {"largest_eigenvalue_99": largest}, "phases": {"phases": 3, "lipschitz_99": 2.0}}


def slopes(spread):
    label = np.repeat([1, 2], 50)
    return pd.DataFrame({"label": label, "dF_da": label + spread * np.tile([-1, 1], 50)})


def scores(first):
    theirs = {"system": "ising", "method": "Convex (paper)", "kind": "published", "value": 0.09, "first": 0.1}
    ours = {"system": "ising", "method": "exponential", "kind": "estimate", "value": 0.02, "first": first}
    return {"table1": [theirs | {"second": 0.1}, ours | {"second": 0.1}]}


def windows(*shapes):
    law = {"clean_per_parameter": {"verdict": "saturates"}}
    return {
        f"series-{k}": {"boundary": {"verdict": shape}, "lipschitz": law} for k, shape in enumerate(shapes)
    }


def boundary(factor):
    names = {"rate": factor, "exact_rate": 1.0, "lipschitz": 2.0, "exact_lipschitz": 2.0}
    return pd.DataFrame([{"panel": "B", "sigma": 0.5, "name": n, "value": v} for n, v in names.items()])


@pytest.mark.parametrize(
    ("judge", "good", "bad"),
    [
        ("sharpening", ([growing(-0.5)], []), ([growing(-0.1)], [])),
        ("smoothing", ([], [noisy(40), noisy(10)]), ([], [noisy(40), noisy(50)])),
        ("mode_pair", ([boundary(1.001)], []), ([boundary(1.1)], [])),
        ("plateaus", ([slopes(0.1)], []), ([slopes(1.0)], [])),
        ("table_1", ([], [scores(0.05)]), ([], [scores(0.2)])),
        ("one_phase", ([], [{"phases": {"phases": 1}}]), ([], [{"phases": {"phases": 4}}])),
        (
            "potentials",
            ([pd.DataFrame({"exact": [0, 1.0], "difference": [0.01, -0.01]})], []),
            ([pd.DataFrame({"exact": [0, 1.0], "difference": [0.3, -0.3]})], []),
        ),
        ("zoom", ([], [windows("fractal", "not resolved")]), ([], [windows("smooth", "smooth")])),
        (
            "connected",
            ([pd.DataFrame({"epsilon": [0.5, 0.7], "components": [4, 1]})], []),
            ([pd.DataFrame({"epsilon": [0.5, 0.7], "components": [4, 2]})], []),
        ),
        (
            "bregman",
            ([pd.DataFrame({"N": [16, 64], "posterior": [0.5, 0.9], "exponential": [0.9, 0.9]})], []),
            ([pd.DataFrame({"N": [16, 64], "posterior": [0.9, 0.5], "exponential": [0.9, 0.9]})], []),
        ),
    ],
)
def test_a_verdict_follows_its_numbers(judge, good, bad):
    found = getattr(paper_outcomes, judge)
    assert found(*good).verdict == "reproduced"
    assert found(*bad).verdict == "not reproduced"
    assert found(*good).rule


def test_the_variance_that_phases_explain_is_exact():
    # Phases are one apart, nodes half of that from their phase: half of the variance lies between phases.
    assert "explains 50.0 % of its slope" in paper_outcomes.plateaus([slopes(0.5)], []).found


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{0}pt" height="{1}pt" viewBox="0 0 {0} {1}">'
    '<defs><clipPath id="c"/></defs><g clip-path="url(#c)"/></svg>'
)


def test_figures_are_stacked_with_names_of_their_own():
    text = stack_figures(["<?xml version='1.0'?>\n" + SVG.format(10, 20), SVG.format(30, 5)])
    root = ElementTree.fromstring(text)
    assert (root.get("width"), root.get("height")) == ("30pt", "33pt")
    assert [child.get("y") for child in root] == ["0", "28"]
    # In the units of the outer viewBox: a side in pt would be 4/3 of it, and the figure cut.
    assert [(child.get("width"), child.get("height")) for child in root] == [("10", "20"), ("30", "5")]
    assert re.findall(r'id="([^"]+)"', text) == ["f0-c", "f1-c"]
    assert re.findall(r"url\(#([^)]+)\)", text) == ["f0-c", "f1-c"]
    assert stack_figures([SVG.format(1, 2)]) == SVG.format(1, 2)


@pytest.mark.parametrize(
    ("figures", "words"), [([], "no figure"), ([SVG.format(1, 2), "<svg/>"], "its size")]
)
def test_what_cannot_be_stacked_is_refused(figures, words):
    with pytest.raises(ValueError, match=words):
        stack_figures(figures)
