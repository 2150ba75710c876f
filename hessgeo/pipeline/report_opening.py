"""The page that the report opens with: what was run, what each study says of itself, and what is not as it should be.

Snakemake renders the text of ``workflow/report/workflow.rst`` at the top of its report. When a report is made, and only
then, the numbers of the studies that are built are put before that text.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hessgeo.pipeline.explorer import PAGE

if TYPE_CHECKING:
    from hessgeo.pipeline.layout import Layout

OPTION, NAME = "--report", "report.html"  # of Snakemake's, and what it writes unless told otherwise
NUMBERS = "numbers.json"
TRUTHS = {"the source itself": "of their own source"}  # shorter, for a cell

Numbers = Mapping[str, Any]


def opening(template: Path, layout: Layout, arguments: Sequence[str]) -> Path:
    """The file of the text that a report opens with: the template, or a copy with the summary before it.

    Args:
        template: of the text.
        layout: of the studies.
        arguments: those of Snakemake's command; without ``--report`` nothing is read or written.
    """
    page = report_page(arguments)
    if page is None:
        return template
    studies = {study.name: _read(Path(study.path(NUMBERS))) for study in layout.studies}
    links = {
        study.name: os.path.relpath(study.path(PAGE), page.parent)
        for study in layout.studies
        if Path(study.path(PAGE)).is_file()
    }
    text = temporary_folder() / template.name
    # Snakemake reads the text as a template of its own: what stands in a name is no instruction to it.
    summary = "\n".join(summary_lines(studies, links))
    text.write_text(
        f"{{% raw %}}{summary}{{% endraw %}}\n\n{template.read_text(encoding='utf-8')}", encoding="utf-8"
    )
    return text


def temporary_folder() -> Path:
    """A new folder for texts of a report, which goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="hessgeo-report-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def report_page(arguments: Sequence[str]) -> Path | None:
    """The report that a command of Snakemake's writes; None if it writes none."""
    for place, argument in enumerate(arguments):
        name, given, value = argument.partition("=")
        if name == OPTION:
            after = arguments[place + 1 : place + 2]
            return Path(value if given else after[0] if after and not after[0].startswith("-") else NAME)
    return None


def summary_lines(studies: Mapping[str, Numbers | None], links: Mapping[str, str]) -> Iterator[str]:
    """The summary in reStructuredText.

    Args:
        studies: the content of ``numbers.json`` by the name of the study; None of one that is not built.
        links: to the explorers that there are, from the report.
    """
    built = {name: numbers for name, numbers in studies.items() if numbers is not None}
    count = len(studies)
    yield from _heading("Summary", "=")
    yield f"{count} {'study' if count == 1 else 'studies'}, of which {len(built)} built."
    yield ""
    # Narrow: the page keeps half of its width for the graph of rules.
    yield from _table(
        ["study", "converged", "resolved", "calibrated", "phases"],
        [_verdicts(name, numbers, links.get(name)) for name, numbers in built.items()],
    )
    if links:
        yield from ["The name of a study opens its explorer.", ""]
    yield from _heading("What failed or is not resolved", "-")
    problems = [line for name, numbers in studies.items() for line in _problems(name, numbers)]
    yield from [f"- {line}" for line in problems] or [
        "Nothing: every study is built, every fit converged and is resolved."
    ]
    yield ""
    yield from _heading("Numbers at a glance", "-")
    for name, numbers in built.items():
        yield from _glance(name, numbers)


def _verdicts(name: str, numbers: Numbers, link: str | None) -> list[str]:
    """A row of what a study says of itself."""
    fit, fitted = numbers.get("free_energy", {}), numbers.get("calibration", {}).get("fitted") or {}
    return [
        f"`{_text(name)} <{link}>`__" if link else _literal(name),
        _said(fit.get("converged")),
        _said(fit.get("resolved")),
        _said(fitted.get("calibrated")),
        _number(numbers.get("phases", {}).get("phases"), ".0f"),
    ]


def _problems(name: str, numbers: Numbers | None) -> Iterator[str]:
    """Sentences on what is not as it should be."""
    if numbers is None:
        yield f"{_literal(name)} is not built: there are no numbers of it that can be read."
        return
    fit = numbers.get("free_energy", {})
    if fit.get("converged") is False:
        yield f"{_literal(name)}: the fit did not converge."
    if fit.get("potential_converged") is False:
        yield f"{_literal(name)}: the nearest potential did not converge."
    if fit.get("resolved") is False:
        yield f"{_literal(name)} is not resolved: {_text(fit.get('verdict', 'no reason is given'))}."
    fitted = numbers.get("calibration", {}).get("fitted") or {}
    if fitted.get("calibrated") is False:
        yield f"{_literal(name)}: fitted posteriors are {_text(fitted.get('verdict', 'not calibrated'))}."
    definite = numbers.get("metric", {}).get("positive_definite_share", 1.0)
    if definite < 1:
        yield f"{_literal(name)}: the metric is not positive definite at {1 - definite:.2%} of the nodes."


def _glance(name: str, numbers: Numbers) -> Iterator[str]:
    """The numbers of a study, a line each; those that it does not have are left out."""
    steps = ("samples", "posterior", "free_energy", "calibration", "metric", "phases")
    samples, posterior, fit, calibration, metric, phases = (numbers.get(step) or {} for step in steps)
    explained, error = fit.get("explained_divergence"), metric.get("antisymmetric_share_error")
    facts = {
        "samples": _number(posterior.get("samples", samples.get("samples")), ",.0f"),
        "resolution number": _number(posterior.get("resolution")),
        "fit": _text(fit.get("fit", "–")),
        "KL of measured and fitted posteriors": _number(fit.get("mean_divergence"))
        + (f" nats, of which noise explains up to {_number(explained)}" if explained is not None else ""),
        "measured posteriors": _calibrated(calibration.get("measured")),
        "fitted posteriors": _calibrated(calibration.get("fitted")),
        "metric positive definite": _number(metric.get("positive_definite_share"), ".1%"),
        "largest eigenvalue": _pair(metric, "largest_eigenvalue_median", "largest_eigenvalue_99"),
        "antisymmetric share": _number(metric.get("antisymmetric_share"))
        + (f" ± {_number(error, '.2g')}" if error is not None else ""),
        "Lipschitz field": _pair(phases, "lipschitz_median", "lipschitz_99"),
        "boundaries": _number(phases.get("boundaries"), ".0f"),
        "triple points": _number(phases.get("triple_points"), ".0f"),
    }
    yield f"{_literal(name)}:"
    yield ""
    yield from (f"- {words}: {fact}" for words, fact in facts.items() if fact != "–")
    yield ""


def _read(path: Path) -> Numbers | None:
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return numbers if isinstance(numbers, dict) else None


def _calibrated(part: Numbers | None) -> str:
    if not part:
        return "–"
    truth = part.get("truth", "")
    return _text(f"{part.get('verdict', '–')} ({TRUTHS.get(truth, truth)})")


def _said(value: bool | None) -> str:
    return "–" if value is None else "yes" if value else "**no**"


def _pair(numbers: Numbers, median: str, last: str) -> str:
    """A median, and the value that 99 of 100 are below."""
    if median not in numbers:
        return "–"
    return f"{_number(numbers[median])} (median), {_number(numbers.get(last))} (99 %)"


def _number(value: Any, form: str = ".3g") -> str:
    return "–" if value is None or isinstance(value, str) else format(value, form)


def _literal(name: str) -> str:
    return f"``{name}``"


def _text(words: str) -> str:
    """Words in which no character means anything to reStructuredText."""
    return re.sub(r"([\\*`|_])", r"\\\1", str(words))


def _heading(words: str, line: str) -> list[str]:
    return [words, line * len(words), ""]


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield ""
    for row in (names, *rows):
        for place, cell in enumerate(row):
            yield f"   {'  ' if place else '* '}- {cell}"
    yield ""
