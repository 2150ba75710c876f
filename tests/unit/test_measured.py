"""Numbers of speed on the pages are those of rows in ``benchmarks/results.csv``, named in a comment behind each.

``62<!-- row: dual_fit default study: seconds -->`` is the value of that row, rounded as it is written;
``6<!-- row: dual_fit default study: seconds [peer_value] -->`` is another column of it.
"""

import csv
import re
from pathlib import Path

import pytest
from record import FILE

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    ["README.md", *(str(page.relative_to(REPOSITORY)) for page in (REPOSITORY / "docs").glob("*.md"))]
)
MARK = re.compile(
    r"(?P<number>\d[\d,]*(?:\.\d+)?)<!-- row: (?P<name>.+?)(?: \[(?P<column>value|peer_value|ratio)\])? -->"
)
SPEED = re.compile(r"\btime of |\btimes? over |\btimes faster|\ban hour|\bseconds\b|\d (?:ms|s|min)\b")
# Measured before the table was kept, and not since: what begins their lines. None is added.
UNTRACED = {
    "docs/measured.md": {
        "spline fit, 64 x 64 nodes",
        "against the perceptron of the paper",
        "the same card, Stable Diffusion 1",
    },
}


@pytest.fixture(scope="module")
def rows():
    with FILE.open(newline="", encoding="utf-8") as lines:
        return {row["name"]: row for row in csv.DictReader(lines)}


def marks(page):
    return list(MARK.finditer((REPOSITORY / page).read_text(encoding="utf-8")))


def unit_in_last_place(text):
    whole, point, decimals = text.replace(",", "").partition(".")
    return 10.0 ** (-len(decimals) if point else len(whole) - len(whole.rstrip("0") or whole))


@pytest.mark.parametrize("page", PAGES)
def test_every_number_that_names_a_row_is_the_one_of_that_row(page, rows):
    found = marks(page)
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert len(found) == text.count("<!-- row:"), "a comment that names a row stands behind no number"
    for mark in found:
        value = float(rows[mark["name"]][mark["column"] or "value"])
        off = abs(float(mark["number"].replace(",", "")) - value)
        assert off <= 0.5001 * unit_in_last_place(mark["number"]), (mark[0], value)


def test_there_are_numbers_that_name_rows():
    assert sum(len(marks(page)) for page in PAGES) >= 15


@pytest.mark.parametrize("page", UNTRACED)
def test_every_speed_of_a_benchmark_names_its_row(page):
    bare, command = set(), ""
    for line in (REPOSITORY / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or not line.startswith("|"):
            continue
        what, measured, by = cells
        command = command if by.startswith(("the same", "and the")) else by
        if "benchmarks/" in command and SPEED.search(f"{what} {measured}") and not MARK.search(line):
            bare.add(what)
    allowed = UNTRACED[page]
    assert {what for what in bare if not what.startswith(tuple(allowed))} == set(), "name their rows"
    assert {start for start in allowed if not any(what.startswith(start) for what in bare)} == set(), (
        "traced now"
    )
