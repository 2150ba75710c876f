"""Dates of results on a machine whose clock was set back, or that were carried from one whose clock is ahead.

Snakemake takes a result that is older than what it is made of for outdated, and refuses one that it has just made of
something of tomorrow: a clock that was set back by a day would stop a study for a day.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

STEP = 1000  # nanoseconds between results of different dates


def settle(root: str | Path, *, now: int | None = None) -> int:
    """Date what bears a date of the future now; what was younger than something else, stays so.

    Args:
        root: folder of the results; what links in it lead to is left alone.
        now: in nanoseconds, as of ``time.time_ns``.

    Returns:
        Number of files and folders that were dated anew.
    """
    now = time.time_ns() if now is None else now
    ahead = [(path, dated) for path, dated in _dates(os.fspath(root)) if dated > now]
    if not ahead:
        return 0
    dates = sorted({dated for _, dated in ahead}, reverse=True)
    new = {dated: now - STEP * place for place, dated in enumerate(dates)}
    for path, dated in ahead:
        os.utime(path, ns=(new[dated], new[dated]), follow_symlinks=False)
    return len(ahead)


def _dates(folder: str) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except FileNotFoundError:
        return
    for entry in found:
        yield entry.path, entry.stat(follow_symlinks=False).st_mtime_ns
        if entry.is_dir(follow_symlinks=False):
            yield from _dates(entry.path)
