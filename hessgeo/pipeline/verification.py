"""What verification knows of the workflow: the paths that its rules make, and which target makes what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hessgeo.pipeline.layout import Layout

# A wildcard in a rule's path, whose constraint may hold braces of its own, as in ``{key,[0-9a-f]{8}}``.
WILDCARD = re.compile(r"\{\s*(\w+)\s*(?:,(?:[^{}]|\{[^{}]*\})*)?\}")

DEPTH = 10  # of folders in those of logs and benchmarks


def made_by(rules: Iterable[Any], results: str) -> dict[str, list[str]]:
    """The arguments of ``store.audit.Made``: the paths of rules, for every study that there ever was.

    Args:
        rules: Snakemake's.
        results: folder of everything that is produced.
    """
    rules = list(rules)

    def bare(paths: Iterable[Any]) -> list[str]:
        return sorted({WILDCARD.sub(r"{\1}", str(path)) for path in paths})

    outputs = [path for rule in rules for path in rule.output]
    # At any depth: rules of studies that these settings do not have may name their logs in other ways.
    depths = ["/{part}" * depth for depth in range(1, DEPTH)]
    unread = [f"{results}/{folder}{depth}" for folder in ("logs", "benchmarks") for depth in depths]
    return {
        "files": bare(path for path in outputs if not path.is_directory),
        "folders": bare(path for path in outputs if path.is_directory),
        "unread": [*unread, f"{results}/README.md", f"{results}/report.html"],
    }


def by_target(layout: Layout) -> dict[str, list[str]]:
    """The paths that each target of the workflow makes."""
    return {
        "all": layout.targets,
        "table1": layout.solvable.targets,
        "table2": layout.path_targets,
        "generative_geodesics": layout.generative_targets,
    }
