"""What files hold: digests that are found once for each state of a file, and kept beside Snakemake's own records."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hessgeo.pipeline.digest import digest
from hessgeo.weights.files import open_file

CACHE = Path(".snakemake", "hessgeo")  # in the working directory, where Snakemake keeps its records too
IMAGES = "images"  # the name of a source that may be a folder
LEAST_KEPT = 1 << 20  # bytes of a file whose digest is kept; a smaller one is read again as fast
# A file that changes twice within a tick of the clock has one time for two contents: none so young is remembered.
SETTLED = 2_000_000_000  # nanoseconds

_memory: dict[tuple[str, str], tuple[list[int], Any]] = {}


def content(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: if it is missing.
        ValueError: if it is no file, cannot be read, or changes while it is read.
    """

    def read() -> str:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return remembered(path, "sha256", read, least=LEAST_KEPT)


def source_content(path: str) -> str:
    """The same of whatever images are read from, see ``image_files``: a file, a folder, or the files of a pattern.

    Raises:
        ValueError: as ``image_files``.
    """
    from hessgeo.systems.own.images import image_files

    if Path(path).is_file():
        return content(path)
    files = image_files(path)

    def read() -> str:
        return digest([[os.path.basename(file), content(file)] for file in files], characters=64)

    return remembered_of(path, files, "sha256", read)


def contents(files: Mapping[str, str]) -> dict[str, str]:
    """``content`` of each of some named files."""
    return {name: source_content(path) if name == IMAGES else content(path) for name, path in files.items()}


def remembered(path: str | Path, what: str, make: Callable[[], Any], *, least: int = 0) -> Any:
    """What is to be known of a file, from memory as long as size, times and inode of the file are the same.

    It is kept in a file of its own, replaced as a whole: processes that write at once leave the record of one of
    them, and a record that is damaged, or cannot be written, costs time alone.

    Args:
        path: the file.
        what: name of what is known of it, and of how it is found.
        make: finds it, from the file alone; returns a value of JSON other than null.
        least: size in bytes below which it is kept by this process alone.

    Raises:
        OSError: if the file is missing.
        ValueError: if it changes while ``make`` works.
    """
    place = os.path.abspath(path)
    stamp = _stamp(place)
    known = _memory.get((what, place))
    if known is not None and known[0] == stamp:
        return known[1]
    record = _record([what, place])
    value = _recall(record, stamp) if stamp[0] >= least else None
    if value is None:
        value = make()
        if _stamp(place) != stamp:
            raise ValueError(f"{path} changed while it was read")
        if stamp[0] >= least and _is_settled(stamp):
            _keep(record, stamp, value)
    if _is_settled(stamp):
        _memory[what, place] = (stamp, value)
    return value


def remembered_of(path: str, files: Sequence[str], what: str, make: Callable[[], Any]) -> Any:
    """``remembered``, of several files that belong together: those of a folder, say.

    Args:
        path: what holds them, or names them.
        files: the files; without one, with another, or with one that has changed, all is found anew.
        what: as for ``remembered``.
        make: the same.

    Raises:
        OSError: if a file is missing.
        ValueError: if one changes while ``make`` works.
    """
    stamps = [_stamp(file) for file in files]
    stamp, record = [digest([list(files), stamps], characters=64)], _record([what, os.path.abspath(path)])
    value = _recall(record, stamp)
    if value is None:
        value = make()
        if [_stamp(file) for file in files] != stamps:
            raise ValueError(f"{path} changed while it was read")
        if all(map(_is_settled, stamps)):
            _keep(record, stamp, value)
    return value


def kept(key: Any) -> Any:
    """What ``keep`` has kept under a key, a value of JSON that says all it depends on; None if there is nothing."""
    return _recall(_record(["kept", key]), key)


def keep(key: Any, value: Any) -> None:
    """Keep a value of JSON for other jobs."""
    _keep(_record(["kept", key]), key, value)


def _record(names: Any) -> Path:
    return CACHE / f"{digest(names, characters=32)}.json"


def _stamp(place: str) -> list[int]:
    """Size, times and inode: the time of the last change of the inode cannot be set back as that of the file can."""
    status = os.stat(place)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _is_settled(stamp: list[int]) -> bool:
    return time.time_ns() - max(stamp[1:3]) > SETTLED


def _recall(record: Path, stamp: Any) -> Any:
    try:
        known = json.loads(record.read_bytes())
        whole = known["check"] == digest([known["stamp"], known["value"]])
        return known["value"] if whole and known["stamp"] == stamp else None
    # Whatever is wrong with a record, its file is read instead.
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _keep(record: Path, stamp: Any, value: Any) -> None:
    text = json.dumps({"stamp": stamp, "value": value, "check": digest([stamp, value])})
    # On a full or read-only disk the next process finds out by itself.
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=record.parent, suffix=".unfinished")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(unfinished, record)


@dataclass(frozen=True)
class Source:
    """A model or other files as a job reads them, with settings that change no result.

    Snakemake compares params of Python's own types with those of an earlier run and passes over any other, so
    that nothing in here makes a job due again: what a result depends on stands beside it, as an identity.

    Attributes:
        settings: of the part of the study, ``system``, ``slice`` or ``embedding``.
        path: folder or file of the model, if there is one.
        files: every file that is read, by a name that does not depend on where it lies.
        planned: ``contents`` of them when the run was planned; none of a model that the run trains.
        name: what is called by a digest of those contents: a store or an array.
    """

    settings: Mapping[str, Any]
    path: str | None
    files: Mapping[str, str]
    planned: Mapping[str, str] | None
    name: str

    @contextmanager
    def reading(self, output: str | None = None) -> Iterator[str | None]:
        """Around what reads the files: gives a digest of what they hold; None without files.

        Args:
            output: what the job makes, if its path is called by their digest.

        Raises:
            ValueError: one line, if a file is not what it was when the run was planned, or changes meanwhile.
        """
        before = contents(self.files)
        # A job on another machine plans anew what it is, but not what it is to make.
        if output is not None and self.name not in output:
            raise ValueError(
                f"{', '.join(self.files.values())}: a file changed since the run was planned, so that {output} would "
                f"be called by {self.name}; run it again"
            )
        self._compare(self.planned or before, before, "since the run was planned")
        yield digest(before, characters=64) if before else None
        self._compare(before, contents(self.files), "while it was read")

    def _compare(self, expected: Mapping[str, str], found: Mapping[str, str], when: str) -> None:
        changed = [self.files[name] for name in self.files if found[name] != expected.get(name)]
        if changed:
            raise ValueError(f"{', '.join(changed)} changed {when}; run it again")
