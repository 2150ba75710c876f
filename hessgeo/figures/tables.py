"""Tables of scores, typeset: LaTeX with booktabs, and a page of HTML that stands alone.

Rows are of four kinds: ``estimate`` (ours, measured here), ``published`` (others' numbers), ``zero skill`` and
``oracle`` (what bounds every method from both sides). The best estimate of each group is bold.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from hessgeo.store import write_table, write_text

KINDS = ("estimate", "published", "zero skill", "oracle")
# What TeX would read as a command.
_TEX = {"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}"}
_STYLE = """
body { font: 15px/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #222; margin: 2em auto;
       max-width: 76em; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0 0 1em; line-height: 1.5; }
th { font-weight: 600; border-bottom: 1px solid #222; border-top: 2px solid #222; vertical-align: bottom; }
th, td { padding: .3em .7em; text-align: right; white-space: nowrap; }
th.text, td.text { text-align: left; }
tr.group td { font-weight: 600; text-align: left; padding-top: .9em; border-bottom: 1px solid #bbb; }
tr.published td { color: #666; font-style: italic; }
tr.zero-skill td { color: #8a4b08; background: #fdf6ec; }
tr.oracle td { color: #0b5d3b; background: #eef7f1; }
tr.first td { border-top: 1px dotted #bbb; }
td.best { font-weight: 700; color: #000; }
tbody tr:last-child td { border-bottom: 2px solid #222; }
"""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: of the data frame's column; ``<name>_sd`` beside it holds standard deviations, if there are any, and
            ``<name>_text`` what is to be shown instead, as published numbers stand in print.
        title: its heading, in plain letters.
        best: the smallest or the largest number of estimates is the best, or the nearest to ``target``; None for text
            and for numbers that are no scores.
        target: see ``best``.
        percent: numbers are shares, shown in percent.
        tex: its heading in LaTeX; ``title`` if None.
        mark: HTML of its heading; ``title`` if None.
    """

    name: str
    title: str
    best: Literal["min", "max", "target"] | None = None
    target: float = math.nan
    percent: bool = False
    tex: str | None = None
    mark: str | None = None


def number_with_error(value: float, error: float = math.nan, *, digits: int = 3) -> str:
    """``value ± error`` to the place of the error's second digit if its first two are below 35.5, else of its first.

    This is the rule of the Particle Data Group, without its exception for errors just below a power of ten. Without an
    error, or with one of zero, ``digits`` significant digits. Very large and very small numbers stand in scientific
    notation, and a dash for what is not there.
    """
    if not _there(value):
        return "–"
    if not math.isfinite(value):
        return str(value)
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    if not _there(error) or not math.isfinite(error) or error <= 0:
        places = digits - 1 - math.floor(math.log10(abs(value))) if value else digits - 1
        return f"{value:.{max(0, places)}f}"
    places = _places(error)
    return f"{value:.{places}f} ± {error:.{places}f}"


def number_with_interval(value: float, low: float, high: float) -> str:
    """``value [low, high]``, to the place that half the interval's width gives by the rule of ``number_with_error``.

    An interval without width is left out, and one that is not there too; a dash stands for a number that is not there.
    """
    error = (high - low) / 2
    if not _there(value) or not _there(error) or not 0 < error < math.inf:
        return number_with_error(value)
    places = _places(error)
    return f"{value:.{places}f} [{low:.{places}f}, {high:.{places}f}]"


def _places(error: float) -> int:
    """Decimal places down to an error's second digit if its first two are below 35.5, else to its first."""
    first = math.floor(math.log10(error))
    lead = error / 10.0**first  # 1 to 10; below 3.55 two digits
    return max(0, -first + (1 if lead < 3.55 else 0))


def save_table(
    table: pd.DataFrame,
    columns: Sequence[Column],
    csv: str | Path,
    tex: str | Path,
    page: str | Path,
    *,
    caption: str,
    title: str,
    group: str | None = None,
) -> None:
    """Write a table three times, each file whole or not at all: its numbers as CSV, all columns; LaTeX; a page of HTML.

    Args:
        table: a row per line; ``kind`` says what each is.
        columns: those that are typeset, from the left.
        csv: numbers with ten significant digits, every column of ``table``.
        tex: a ``table`` environment; needs the package booktabs.
        page: a page that needs no other file.
        caption: what is seen, in plain letters; it stands with the table.
        title: of the page, and the label of the LaTeX table.
        group: column whose values get a heading each (systems); best numbers are sought within.

    Raises:
        ValueError: if a column is missing, or a kind is unknown.
    """
    rows = typeset_rows(table, columns, group=group)
    write_table(csv, table)
    write_text(tex, latex(rows, columns, caption=caption, title=title))
    write_text(page, html_page(rows, columns, caption=caption, title=title))


@dataclass(frozen=True)
class Row:
    """A typeset line: its group and kind, its cells, and which of them are the best of the group."""

    group: str
    kind: str
    cells: tuple[str, ...]
    best: tuple[bool, ...]


def typeset_rows(table: pd.DataFrame, columns: Sequence[Column], *, group: str | None = None) -> list[Row]:
    """Lines in the order of groups, in each by kind: estimates, published, zero skill, oracle.

    Raises:
        ValueError: if a column is missing, or a kind is unknown.
    """
    needed = ["kind", *(column.name for column in columns), *([group] if group else [])]
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(f"the table lacks the columns {missing}; it has {list(table.columns)}")
    unknown = set(table["kind"]) - set(KINDS)
    if unknown:
        raise ValueError(f"kind is {sorted(unknown)[0]!r}, must be one of {', '.join(KINDS)}")
    names = list(table[group].unique()) if group else [""]
    rows = []
    for name in names:
        part = table[table[group] == name] if group else table
        best = {column.name: _best(part, column) for column in columns}
        for kind in KINDS:
            for label, row in part[part["kind"] == kind].iterrows():
                cells = tuple(_cell(row, column) for column in columns)
                marks = tuple(label in best[column.name] for column in columns)
                rows.append(Row(str(name), kind, cells, marks))
    return rows


def latex(rows: Sequence[Row], columns: Sequence[Column], *, caption: str, title: str) -> str:
    """A LaTeX ``table`` with booktabs rules; kinds that bound the estimates are set apart by thin ones."""
    shape = "".join("l" if _is_text(rows, k) else "r" for k in range(len(columns)))
    heads = [_tex(column.title) if column.tex is None else column.tex for column in columns]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(caption)}}}",
        rf"\label{{tab:{title.lower().replace(' ', '-')}}}",
        rf"\begin{{tabular}}{{{shape}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
    ]
    for row, before in zip(rows, [None, *rows], strict=False):
        if before is None or row.group != before.group:
            lines.append(r"\midrule")
            if row.group:
                lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\textbf{{{_tex(row.group)}}}}} \\")
        elif row.kind != before.kind:
            lines.append(r"\addlinespace")
        cells = [
            rf"\textbf{{{_tex(cell)}}}" if best else _tex(cell)
            for cell, best in zip(row.cells, row.best, strict=True)
        ]
        if row.kind == "published":
            cells = [rf"\textit{{{cell}}}" for cell in cells]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def html_page(rows: Sequence[Row], columns: Sequence[Column], *, caption: str, title: str) -> str:
    """A page with the table alone; its style is in it."""
    text = [_is_text(rows, k) for k in range(len(columns))]
    head = "".join(
        f"<th{_classes(['text'] * left)}>{column.mark or html.escape(column.title)}</th>"
        for column, left in zip(columns, text, strict=True)
    )
    body = []
    for row, before in zip(rows, [None, *rows], strict=False):
        new = before is None or row.group != before.group
        apart = before is not None and not new and row.kind != before.kind
        if new and row.group:
            body.append(f'<tr class="group"><td colspan="{len(columns)}">{html.escape(row.group)}</td></tr>')
        names = [row.kind.replace(" ", "-"), *(["first"] if apart else [])]
        cells = "".join(
            f"<td{_classes(['text'] * left + ['best'] * best)}>{html.escape(cell)}</td>"
            for cell, best, left in zip(row.cells, row.best, text, strict=True)
        )
        body.append(f"<tr{_classes(names)}>{cells}</tr>")
    rows_of_body = "\n".join(body)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<table>\n<caption><b>{html.escape(title)}.</b> "
        f"{html.escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows_of_body}\n</tbody>\n"
        "</table>\n</body>\n</html>\n"
    )


def _best(part: pd.DataFrame, column: Column) -> set:
    """Labels of the best estimates: one, or more that share its number."""
    scores = part.loc[part["kind"] == "estimate", column.name]
    if column.best is None:
        return set()
    scores = pd.to_numeric(scores).dropna()
    if len(scores) < 2:  # nothing to be better than
        return set()
    if column.best == "target":
        scores = (scores - column.target).abs()
    best = scores.max() if column.best == "max" else scores.min()
    return set(scores.index[scores == best])


def _cell(row: Mapping, column: Column) -> str:
    value, printed = row[column.name], row.get(f"{column.name}_text")
    if _there(printed):
        return str(printed)
    if not _there(value):
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    error = row.get(f"{column.name}_sd", math.nan)
    factor = 100.0 if column.percent else 1.0
    if isinstance(value, int) or (column.best is None and float(value).is_integer()):
        return f"{int(value):,}"
    return number_with_error(factor * float(value), factor * float(error) if _there(error) else math.nan)


def _there(value: object) -> bool:
    return value is not None and not bool(pd.isna(value))


def _is_text(rows: Sequence[Row], column: int) -> bool:
    """Whether a cell of the column starts with a letter."""
    return any(row.cells[column][:1].isalpha() for row in rows)


def _tex(text: str) -> str:
    escaped = "".join(_TEX.get(letter, letter) for letter in text)
    return escaped.replace("±", r"$\pm$").replace("–", "--").replace("×", r"$\times$")


def _classes(names: Sequence[str]) -> str:
    return f' class="{" ".join(names)}"' if names else ""
