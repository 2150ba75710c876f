"""The directive ``benchmarks``: what ``benchmarks/results.csv`` holds when the pages are built, a table a benchmark."""

from __future__ import annotations

import csv
import re
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results.csv"
COLUMNS = ("what", "here", "unit", "peer", "its value", "over ours")


def benchmark_of(row: dict[str, str]) -> str:
    """Which benchmark a row is of: what its name has before the first comma or colon, without a case's number."""
    return re.sub(r" [\d.]+$", "", re.split(r"[,:]", row["name"])[0])


def cells(row: dict[str, str], benchmark: str) -> list[str]:
    """What a row of a table says."""
    what = row["name"].removeprefix(benchmark).lstrip(" ,:")
    value = row["value"] and f"{float(row['value']):.4g}"
    if row.get("runs"):
        value += f" ({float(row['low']):.3g} to {float(row['high']):.3g}, {row['runs']} runs)"
    peer = row["peer_value"] and f"{float(row['peer_value']):.4g}"
    return [what, value, row["unit"], row["peer"], peer, row["ratio"]]


class Benchmarks(SphinxDirective):
    """All rows, by benchmark, with the machines and versions that they were measured with."""

    def run(self) -> list[nodes.Node]:
        """Read the file and make the tables of it; pages are made again when it changes."""
        self.env.note_dependency(str(RESULTS))
        with RESULTS.open(newline="", encoding="utf-8") as lines:
            rows = sorted(csv.DictReader(lines), key=benchmark_of)
        machines = sorted({f"{row['machine']} ({row['date']})" for row in rows})
        found: list[nodes.Node] = [nodes.paragraph("", f"{len(rows)} numbers, from {'; '.join(machines)}.")]
        for benchmark, group in groupby(rows, key=benchmark_of):
            section = nodes.section(ids=[nodes.make_id(benchmark)])
            section += nodes.title("", benchmark.replace("_", " "))
            section += table([cells(row, benchmark) for row in group])
            found.append(section)
        return found


def table(rows: list[list[str]]) -> nodes.table:
    """A table of texts; columns that are empty in every row are left out."""
    kept = [k for k in range(len(COLUMNS)) if any(row[k] for row in rows)]
    group = nodes.tgroup(cols=len(kept))
    group += [nodes.colspec(colwidth=1) for _ in kept]
    head, body = nodes.thead(), nodes.tbody()
    head += line([COLUMNS[k] for k in kept])
    body += [line([row[k] for k in kept]) for row in rows]
    group += [head, body]
    made = nodes.table(classes=["benchmarks"])
    made += group
    return made


def line(texts: list[str]) -> nodes.row:
    """A row of texts."""
    made = nodes.row()
    for text in texts:
        made += nodes.entry("", nodes.paragraph("", text))
    return made


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("benchmarks", Benchmarks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
