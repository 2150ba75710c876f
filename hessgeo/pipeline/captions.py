"""The captions of the report: the text of each figure, and after it the verdict that its numbers give.

Snakemake renders ``workflow/report/<name>.rst`` once a figure. When a report is made, and only then, it is given a copy
that ends in the verdicts of all files of that name, of which it shows the one of the file at hand. They are made of the
results that the figure was drawn from and of the numbers beside it, so that no figure is due again for its caption.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hessgeo.pipeline.figures import Drawing
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.report_opening import report_page, temporary_folder

NUMBERS = "numbers.json"  # of a study
UNREADABLE = (
    "The numbers of the verdict cannot be read: a file of them is missing, damaged or of an older version."
)


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn, and where its numbers are.

    Attributes:
        table: its own, as CSV.
        results: paths by name of what it shows, see ``Figure.reads``.
        numbers: what texts quote of its study; of a comparison that of each of its studies.
        names: of these studies.
    """

    table: Path
    results: Mapping[str, Any]
    numbers: Sequence[Path]
    names: Sequence[str]


def caption(drawing: Drawing, layout: Layout, arguments: Sequence[str]) -> str:
    """The file of a caption, as a rule of ``workflow/rules`` names it.

    Args:
        drawing: of the figure.
        layout: of all studies.
        arguments: those of Snakemake's command; without ``--report`` nothing is read or written.
    """
    name = f"{drawing.figure.name}.rst"
    if report_page(arguments) is None:
        return f"../report/{name}"
    # Imported here: it brings pandas, which a plan does without.
    from hessgeo.pipeline.caption_verdicts import VERDICTS

    if (of := VERDICTS.get(drawing.figure.name)) is None:
        return f"../report/{name}"
    template = (Path(layout.root) / "workflow" / "report" / name).read_text(encoding="utf-8")
    said = {path: verdict(of, made) for path, made in drawn(drawing, layout)}
    text = temporary_folder() / name
    text.write_text(template + after(said), encoding="utf-8")
    return str(text)


def after(said: Mapping[str, str]) -> str:
    """What is put after a caption: a template that shows the verdict of the file at hand.

    Args:
        said: verdicts by the path of the file in the report.
    """
    # A dictionary of JSON's strings is one of Jinja's, whatever stands in them.
    return (
        f"\n{{% set said = {json.dumps(dict(said))} %}}"
        "{% if said[snakemake.output.svg] %}\n**Verdict.** {{ said[snakemake.output.svg] }}\n{% endif %}\n"
    )


def verdict(of: Callable[[Drawn], str], made: Drawn) -> str:
    """The verdict of a figure in reStructuredText."""
    try:
        words = of(made)
    except (OSError, ValueError, KeyError):
        words = UNREADABLE
    return re.sub(r"([\\*`|_])", r"\\\1", words)


def drawn(drawing: Drawing, layout: Layout) -> Iterator[tuple[str, Drawn]]:
    """The figures of a kind that are there, by the path of the file in the report."""
    for wildcards, names in _places(drawing, layout):
        path = drawing.path.format(**vars(wildcards))
        if not Path(f"{path}.svg").is_file():
            continue
        results = {
            name: entry(wildcards) if callable(entry) else _formatted(entry, vars(wildcards))
            for name, entry in drawing.input.items()
        }
        numbers = [Path(layout.of(name).path(NUMBERS)) for name in names]
        yield f"{path}.svg", Drawn(Path(f"{path}.csv"), results, numbers, names)


def _places(drawing: Drawing, layout: Layout) -> Iterator[tuple[SimpleNamespace, Sequence[str]]]:
    """The wildcards of each figure of a kind, and the studies it is of."""
    if "{study}" in drawing.path:
        yield from ((SimpleNamespace(study=study.name), [study.name]) for study in layout.studies)
    elif "{comparison}" in drawing.path:
        comparisons = layout.settings.comparisons
        yield from ((SimpleNamespace(comparison=name), names) for name, names in comparisons.items())
    else:
        yield SimpleNamespace(), []


def _formatted(entry: Any, wildcards: Mapping[str, str]) -> Any:
    return entry.format(**wildcards) if isinstance(entry, str) else entry
