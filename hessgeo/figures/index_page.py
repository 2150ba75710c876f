"""One page that sets every figure and table of the papers beside what they report and what came out here."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

_STYLE = (
    "body{font:15px/1.45 sans-serif;color:#222;max-width:62em;margin:2em auto;padding:0 1em}"
    "section{border-top:1px solid #bbb;padding:1em 0}img{max-width:100%;height:auto}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.3em 1em;margin:.6em 0}dt{color:#666}dd{margin:0}"
    "table{border-collapse:collapse}td,th{border-bottom:1px solid #ddd;padding:.25em .7em;text-align:left;"
    "vertical-align:top}iframe{width:100%;height:26em;border:1px solid #ddd}"
    ".verdict{font-weight:bold}.missing{color:#777}"
)
_TITLE = "The papers, by number"


def index_page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The page, as HTML.

    Args:
        rows: a figure or table each: ``name``, ``title``, ``paper``, ``shows``, ``theirs``, ``reports``; ``file``
            beside the page, ``setting``, ``found``, ``verdict`` and ``rule``, or ``missing``, why there is none;
            ``table``, the page of a table.
    """
    body, last = [], ""
    for row in rows:
        if row["paper"] != last:
            body.append(f"<h2>{_text(row['paper'])}</h2>")
            last = row["paper"]
        body.append(_section(row))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_TITLE}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{_TITLE}</h1>\n{_overview(rows)}\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _overview(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a figure: what it is, and its verdict."""
    lines = []
    for row in rows:
        verdict = _text(row["verdict"]) if not row["missing"] else '<span class="missing">not here</span>'
        link = f'<a href="#{_text(row["name"])}">{_text(row["title"])}</a>'
        lines.append(f"<tr><td>{_text(row['paper'])}</td><td>{link}</td><td>{verdict}</td></tr>")
    head = "<tr><th>paper</th><th>figure or table</th><th>verdict</th></tr>"
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>\n</table>"


def _section(row: Mapping[str, Any]) -> str:
    """One figure or table, with what is to be known of it."""
    entries = {"setting of the paper": row["theirs"], "the paper reports": row["reports"]}
    if row["missing"]:
        shown = f'<p class="missing">Not here: {_text(row["missing"])}.</p>'
    else:
        entries |= {"setting here": row["setting"], "came out here": row["found"]}
        shown = _shown(row)
    told = "".join(
        f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in entries.items() if value
    )
    if not row["missing"]:
        verdict = f'<span class="verdict">{_text(row["verdict"])}</span> ({_text(row["rule"])})'
        told += f"<dt>verdict</dt><dd>{verdict}</dd>"
    return (
        f'<section id="{_text(row["name"])}">\n<h3>{_text(row["title"])}</h3>\n{shown}\n'
        f"<p>{_text(row['shows'])}</p>\n<dl>{told}</dl>\n</section>"
    )


def _shown(row: Mapping[str, Any]) -> str:
    """The figure, or the table with a link to what a paper takes."""
    file = _text(row["file"])
    if row.get("table"):
        frame = f'<iframe src="{_text(row["table"])}" title="{_text(row["title"])}"></iframe>'
        return f'{frame}\n<p><a href="{file}">{file}</a></p>'
    return f'<a href="{file}"><img src="{file}" alt="{_text(row["shows"])}"></a>'


def _text(value: Any) -> str:
    return html.escape(str(value))
