"""Tables: digits, best numbers, kinds set apart, and published numbers as they stand in print."""

import math
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from hessgeo.evaluation import published
from hessgeo.evaluation.summary import over_seeds
from hessgeo.figures.tables import (
    Column,
    latex,
    number_with_error,
    number_with_interval,
    save_table,
    typeset_rows,
)

COLUMNS = [
    Column("method", "method"),
    Column("samples", "samples"),
    Column("value", "F", best="min", tex="$F$", mark="<i>F</i>"),
    Column("coverage", "coverage (%)", best="target", target=0.95, percent=True),
]


def table():
    """Two systems; in the first the second method is best in F and the first in coverage."""
    rows = [
        ("Ising", "means & co", "estimate", 1e4, 0.123456, 0.0023, 0.94),
        ("Ising", "learned_statistics", "estimate", 1e4, 0.0456, 0.00041, 0.80),
        ("Ising", "exact", "oracle", None, 0.001, math.nan, math.nan),
        ("Ising", "F = 0", "zero skill", None, 0.2, math.nan, math.nan),
        ("TASEP", "only", "estimate", 256, 0.3, 0.01, 0.5),
        ("Ising", "paper", "published", 540_000, 0.0001, math.nan, math.nan),
    ]
    names = ["system", "method", "kind", "samples", "value", "value_sd", "coverage"]
    return pd.DataFrame(rows, columns=names)


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.0883, 0.0006, "0.0883 ± 0.0006"),
        (0.47661, 0.00231, "0.4766 ± 0.0023"),
        (0.38331, 0.0038, "0.383 ± 0.004"),
        (12.34, 1.44, "12.3 ± 1.4"),
        (1234.5, 210.0, "1234 ± 210"),
        (0.0, 0.02, "0.000 ± 0.020"),
        (3.14159, math.nan, "3.14"),
        (0.0063, None, "0.00630"),
        (3.2e-7, 1e-8, "3.20e-07"),
        (math.nan, 0.1, "–"),
        (math.inf, 0.1, "inf"),
    ],
)
def test_digits_follow_the_error(value, error, shown):
    assert number_with_error(value, error) == shown


def test_rows_are_grouped_ordered_by_kind_and_the_best_estimates_marked():
    rows = typeset_rows(table(), COLUMNS, group="system")
    assert [row.kind for row in rows] == [
        "estimate",
        "estimate",
        "published",
        "zero skill",
        "oracle",
        "estimate",
    ]
    assert rows[0].cells == ("means & co", "10,000", "0.1235 ± 0.0023", "94.0")
    best = {row.cells[0]: row.best for row in rows}
    assert best["learned_statistics"] == (False, False, True, False)
    assert best["means & co"] == (False, False, False, True)  # nearest to 95 %
    # Published numbers and oracles are no estimates, and one alone is not the best of any.
    assert not any(any(best[name]) for name in ("paper", "exact", "F = 0", "only"))


def test_ties_are_all_best():
    ties = table().iloc[:2].assign(value=0.1)
    assert all(row.best[2] for row in typeset_rows(ties, COLUMNS))


class Cells(HTMLParser):
    """Rows of a page: class of the row, and class and text of each cell."""

    def __init__(self):
        super().__init__()
        self.rows, self.open = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append((dict(attrs).get("class", ""), []))
        elif tag in ("td", "th"):
            self.rows[-1][1].append([dict(attrs).get("class", ""), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][1][-1][1] += data


def test_the_page_and_the_tex_say_the_same(tmp_path):
    files = [tmp_path / f"t.{suffix}" for suffix in ("csv", "tex", "html")]
    save_table(table(), COLUMNS, *files, caption="Errors < 1 & more", title="Table 1", group="system")
    back = pd.read_csv(files[0])
    np.testing.assert_allclose(back["value"], table()["value"], rtol=1e-9)
    page = Cells()
    page.feed(files[2].read_text(encoding="utf-8"))
    assert not page.open
    assert "Errors &lt; 1 &amp; more" in files[2].read_text(encoding="utf-8")
    body = [(kind, [text for _, text in cells]) for kind, cells in page.rows if len(cells) == len(COLUMNS)][
        1:
    ]
    rows = typeset_rows(table(), COLUMNS, group="system")
    assert [tuple(cells) for _, cells in body] == [row.cells for row in rows]
    bold = [
        tuple("best" in name for name, _ in cells) for _, cells in page.rows if len(cells) == len(COLUMNS)
    ]
    assert bold[1:] == [row.best for row in rows]
    tex = files[1].read_text(encoding="utf-8")
    assert r"\textbf{0.0456 $\pm$ 0.0004}" in tex
    assert r"learned\_statistics" in tex
    assert r"means \& co" in tex
    assert tex.count(r"\\") == 1 + 2 + 6  # heading, groups, rows
    for begin in ("table", "tabular"):
        assert tex.count(rf"\begin{{{begin}}}") == tex.count(rf"\end{{{begin}}}") == 1


def test_tex_sets_kinds_apart():
    tex = latex(typeset_rows(table(), COLUMNS, group="system"), COLUMNS, caption="c", title="t")
    assert tex.count(r"\addlinespace") == 3
    assert r"\textit{paper}" in tex
    assert r"\begin{tabular}{lrrr}" in tex


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="coverage"), r"lacks the columns \['coverage'\]"),
        (lambda t: t.assign(kind="ours"), "kind is 'ours', must be one of"),
    ],
)
def test_bad_tables_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        typeset_rows(change(table()), COLUMNS)


def test_published_numbers_are_shown_as_printed():
    rows = typeset_rows(published.table_1(), COLUMNS[:3], group="title")
    assert rows[0].cells == ("Convex (paper)", "540,000", "0.0883 ± 0.0006")
    assert rows[3].cells == ("Convex (paper)", "–", "0.0112 ± 0.00008")
    table_1 = published.table_1()
    assert table_1["first"].to_list() == [0.1106, 0.4766, 0.7428, 0.1165, 0.3832, 0.3837]
    assert table_1["second_sd"].to_list() == [0.0016, 0.0033, 0.0022, 0.0017, 0.0031, 0.0022]
    assert published.isnnn()["distance_rank_error"].to_list() == pytest.approx([0.0451, 0.261])
    column = [Column("distance_rank_error", "distRE (%)", percent=True)]
    assert [row.cells[0] for row in typeset_rows(published.isnnn(), column)] == ["4.51 ± 0.37", "26.1"]


def test_runs_are_summarised_over_seeds():
    runs = pd.DataFrame(
        {
            "method": ["b", "b", "b", "a"],
            "samples": [10, 10, None, 10],
            "error": [1.0, 3.0, 5.0, 7.0],
        }
    )
    found = over_seeds(runs, ["method", "samples"], ["error"])
    assert found["method"].to_list() == ["b", "b", "a"]
    assert found["seeds"].to_list() == [2, 1, 1]
    assert found["error"].to_list() == [2.0, 5.0, 7.0]
    assert found["error_sd"][0] == pytest.approx(math.sqrt(2))
    assert np.isnan(found["error_sd"][1])
    with pytest.raises(ValueError, match="lack the columns"):
        over_seeds(runs, ["system"], ["error"])


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((-0.1563, -0.226, -0.0866), "-0.16 [-0.23, -0.09]"),
        ((-0.1563, -0.181, -0.1316), "-0.156 [-0.181, -0.132]"),
        ((12.3, 2.3, 22.3), "12 [2, 22]"),
        ((0.0, 0.0, 0.0), "0.00"),
        ((0.5, math.nan, math.nan), "0.500"),
        ((math.nan, math.nan, math.nan), "–"),
    ],
)
def test_intervals_are_rounded_by_their_width(numbers, text):
    assert number_with_interval(*numbers) == text
