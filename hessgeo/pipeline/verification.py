"""What a verification says and removes."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TextIO

from hessgeo.pipeline.context import COMMAND
from hessgeo.store.audit import DamageError, Fault, Made, audit
from hessgeo.store.beside import Beside, look_beside
from hessgeo.store.files import discard


def verify(root: str | Path, made: Made, targets: Mapping[str, Collection[str]], report: TextIO) -> None:
    """Report on each result of a folder, and remove the damaged ones.

    Args:
        root: the folder.
        made: what rules make.
        targets: paths that each target of the workflow makes.
        report: where the lines go.

    Raises:
        DamageError: one line, with the command that makes them again, if any are damaged or missing.
    """
    found, beside = audit(root, made), look_beside(root)
    for place, (whole, count) in found.shards.items():
        report.write(f"{place}: {whole} of {count} shards ok\n")
    for fault in found.faults:
        report.write(f"{fault.told}\n")
        fault.remove()
    for path in found.leftovers:
        report.write(f"{path} was left unfinished by a job that was killed, and is removed\n")
        discard(Path(path))
    for path, told in found.strays.items():
        report.write(f"{path} {told}, and is left as it is\n")
    if beside:
        _tell_beside(beside, report)
    read_by_none = "logs, benchmarks and reports are read by no step"
    report.write(f"{found.whole} other results ok; {found.unread} {read_by_none}\n")
    if found.faults:
        raise DamageError(_summary(found.faults, targets))


def _tell_beside(beside: Beside, report: TextIO) -> None:
    """What there is at the URL of the results beside the objects that pointers name."""
    for url in beside.copied:
        report.write(f"{url} was not what it is a copy of, and is copied again\n")
    if beside.strays:
        first, more, size = min(beside.strays), len(beside.strays) - 1, sum(beside.strays.values())
        told = f"{first} and {more} more objects ({size:,} bytes) are" if more else f"{first} is"
        report.write(f"{told} pointed to by nothing here, and left in the bucket\n")
    if beside.unlisted:
        report.write(f"objects that nothing points to are not known: {beside.unlisted}\n")


def _summary(faults: Collection[Fault], targets: Mapping[str, Collection[str]]) -> str:
    """One line on what was found, with the command that makes it again."""
    damaged = {fault.path for fault in faults}
    asked = {name: damaged & set(map(os.path.normpath, paths)) for name, paths in targets.items()}
    due, own = [name for name, paths in asked.items() if paths], len(set().union(*asked.values()))
    again = f"; to make them again: {' '.join([os.environ[COMMAND], *due])}" if due else ""
    rest = f"; {len(faults) - own} belong to settings other than these" if own < len(faults) else ""
    return f"{len(faults)} results were damaged or missing, and what was damaged is removed{again}{rest}"
