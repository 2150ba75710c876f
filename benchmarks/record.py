"""One table of all that benchmarks measure, ``benchmarks/results.csv``: a row a number, with a peer's if there is one.

A row has the name of what was measured, its value and unit; of a peer measured in the same run its name, its value in
the same unit, and ``ratio``, the peer's value over ours; and machine, versions and date. Of what was run several times
the value is the median, and ``low``, ``high`` and ``runs`` say from where to where it went, and how often. A row
that is measured again replaces the one of its name. Each benchmark records its own::

    record_table("spline_fit accuracy", table, labels=["potential", "nodes"], units={"seconds": "s"})
"""

from __future__ import annotations

import csv
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd  # what measures GPUs needs none

FILE = Path(__file__).with_name("results.csv")
COLUMNS = (
    "name",
    "value",
    "unit",
    "peer",
    "peer_value",
    "ratio",
    "machine",
    "versions",
    "date",
    "low",
    "high",
    "runs",
)
SPREAD = COLUMNS[-3:]
PACKAGES = ("numpy", "scipy", "torch")  # whose versions stand in every row


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        name: what was measured, unique in the table.
        value: ours, or those of several runs, of which the median stands.
        unit: of the value and of the peer's; empty for a number without one.
        peer: who else was measured in the same run.
        peer_value: theirs, or those of several runs.
        packages: whose versions the row names, too.
    """

    name: str
    value: float | Sequence[float]
    unit: str = ""
    peer: str = ""
    peer_value: float | Sequence[float] | None = None
    packages: tuple[str, ...] = ()


def record(rows: Iterable[Row], *, file: Path = FILE) -> None:
    """Write rows into the table, in the place of those of the same names; rows are in order of their names."""
    table = {}
    if file.exists():
        with file.open(newline="", encoding="utf-8") as lines:
            table = {row["name"]: row for row in csv.DictReader(lines)}
    about = {"machine": machine(), "date": date.today().isoformat()}
    for row in rows:
        ours, theirs = middle(row.value), None if row.peer_value is None else middle(row.peer_value)
        ratio = "" if theirs is None or not ours else f"{theirs / ours:.4g}"
        table[row.name] = {
            "name": row.name, "value": f"{ours:.6g}", "unit": row.unit, "peer": row.peer,
            "peer_value": "" if theirs is None else f"{theirs:.6g}", "ratio": ratio,
            "versions": versions(row.packages), **about, **spread(row.value),
        }  # fmt: skip
    partial = file.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name in sorted(table):
            writer.writerow([table[name].get(column) or "" for column in COLUMNS])
    partial.replace(file)


def middle(value: float | Sequence[float]) -> float:
    """A number, or the median of several."""
    return float(statistics.median(value)) if isinstance(value, Sequence) else float(value)


def spread(value: float | Sequence[float]) -> dict[str, str]:
    """Least and largest of several runs, and their number; empty of one."""
    if not isinstance(value, Sequence) or len(value) < 2:
        return dict.fromkeys(SPREAD, "")
    return {"low": f"{min(value):.6g}", "high": f"{max(value):.6g}", "runs": str(len(value))}


def record_table(
    benchmark: str,
    table: pd.DataFrame,
    *,
    labels: Sequence[str],
    units: Mapping[str, str] | None = None,
    file: Path = FILE,
) -> None:
    """Record every number of a table: ``benchmark, label value ..: column`` of each of its rows.

    Args:
        benchmark: what begins the names.
        table: one row a case.
        labels: the columns that tell cases apart; all others that hold numbers, or lists of those of several runs, are
            recorded.
        units: of columns; those that are not named have none.
        file: the table to write to.
    """
    rows = []
    for case in table.to_dict("records"):
        told = ", ".join(f"{label} {case[label]}" for label in labels if not _is_none(case[label]))
        numbers = {
            column: value
            for column, value in case.items()
            if column not in labels and isinstance(value, Number | list) and not _is_none(value)
        }
        start = f"{benchmark}, {told}" if told else benchmark
        rows += [
            Row(f"{start}: {column}", value, (units or {}).get(column, ""))
            for column, value in numbers.items()
        ]
    record(rows, file=file)


def _is_none(value: Any) -> bool:
    """Whether a cell of a table is empty, which NaN says, too."""
    return value is None or value != value


def machine() -> str:
    """Processor, cores this process may use, and the graphics card torch finds."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = named[0] if named else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    import torch

    card = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{model}, {cores} cores{card}"


def versions(packages: Iterable[str] = ()) -> str:
    """Versions of Python and of packages that are installed."""
    found = [f"python {platform.python_version()}"]
    for name in (*PACKAGES, *packages):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return "; ".join(found)
