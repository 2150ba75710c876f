"""Judge what came out of every figure and table of the papers, and set it beside what they report."""

import os
from dataclasses import asdict

from hessgeo import store
from hessgeo.evaluation import paper_outcomes
from hessgeo.figures.index_page import index_page
from hessgeo.pipeline import script_context

LEFT_OUT = ("judge", "tables", "numbers")


def judged(row):
    """A row with what came out of it."""
    told = {key: value for key, value in row.items() if key not in LEFT_OUT}
    if row["missing"]:
        return told
    tables, numbers = map(store.read_table, row["tables"]), map(store.read_json, row["numbers"])
    return told | asdict(getattr(paper_outcomes, row["judge"])(list(tables), list(numbers)))


def main(rows, output):
    folder, found = os.path.dirname(output.index), [judged(row) for row in rows]
    for row in found:
        if row.get("table"):
            row["table"] = os.path.relpath(row["table"], folder)
    store.write_text(output.index, index_page(found))
    kept = ("paper", "title", "setting", "found", "verdict", "rule", "missing")
    store.write_json(
        output.numbers, {row["name"]: {key: row[key] for key in kept if key in row} for row in found}
    )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.params.rows, step.output)
