"""Parts that one job makes one after another: those that are there, and would be made the same again, stay.

Snakemake sees one job. What of it is due when a setting of one part changes, or one file was lost, a record beside the
parts says: the digest of all that each depended on, and what its files held.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hessgeo.store import StoreError, read_record
from hessgeo.store.contents import contents
from hessgeo.store.records import write_record


@dataclass(frozen=True)
class Part:
    """Some files, and the function that makes them.

    Attributes:
        name: unique in its record.
        files: all that is made.
        depends: a digest of all that these depend on.
        make: makes them.
    """

    name: str
    files: tuple[str, ...]
    depends: str
    make: Callable[[], None]


def make_parts(parts: Iterable[Part], record: str | Path) -> list[str]:
    """Make the parts that are not there as they would be made now, in order; the names of these.

    Files that stay are as new as those that are made: nothing is older than what it was made of. The record is
    written after each part, so that a job that was killed starts again where it ended.

    Args:
        parts: each may read the files of those before it.
        record: its path.
    """
    kept, made = _read(record), []
    for part in parts:
        found = _state(part)
        if found is not None and kept.get(part.name) == found:
            logging.info("%s is there, made of the same: it stays", part.name)
            for file in part.files:
                os.utime(file)
            continue
        logging.info("%s is made", part.name)
        part.make()
        made.append(part.name)
        kept[part.name] = _state(part)
        write_record(record, kept)
    write_record(record, kept)
    return made


def _read(record: str | Path) -> dict[str, Any]:
    """What a record says; nothing where there is none, or one that cannot be believed: then all is made again."""
    try:
        return read_record(record)
    except (OSError, StoreError):
        return {}


def _state(part: Part) -> dict[str, Any] | None:
    """What the record says of a part as its files are, None if one is missing."""
    if not all(Path(file).is_file() for file in part.files):
        return None
    return {"depends": part.depends, "files": {Path(file).name: contents(Path(file)) for file in part.files}}
