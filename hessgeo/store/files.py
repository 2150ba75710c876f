"""Files that are there whole or not at all."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

PARTIAL = ".partial"
ASIDE = ".set-aside"


class StoreError(ValueError):
    """A result that cannot be read as it stands."""


def plain(value: Any) -> Any:
    """Arrays and numbers of numpy for JSON, the ``default`` of its encoder."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


@contextmanager
def alone(folder: str | Path) -> Iterator[bool]:
    """Wait for whoever else is ``alone`` with a folder, in whatever process of this machine; a killed one lets go.

    Yields:
        Whether the others can be known: some network disks have no locks for folders.
    """
    folder = Path(folder)
    while True:
        place = _opened(folder)
        if place is None:
            continue
        try:
            fcntl.flock(place, fcntl.LOCK_EX)
            locked = True
        except OSError:
            locked = False
        # Whoever was here before may have removed the folder when it was done.
        with suppress(FileNotFoundError):
            if os.path.samestat(folder.stat(), os.fstat(place)):
                break
        os.close(place)
    try:
        yield locked
    finally:
        os.close(place)


def _opened(folder: Path) -> int | None:
    """A folder, made if need be, opened to be locked; None where somebody made or removed it at the same time."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except (FileExistsError, NotADirectoryError):
        # It was removed again, or something else stands here or on the way.
        clear(folder / "file")
        return None


@contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """An empty folder beside a path, of this process alone: two jobs may write one result, see ``alone``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}{PARTIAL}")
    with suppress(
        IsADirectoryError, PermissionError
    ):  # as systems say of a folder; that of another job stays
        place.unlink(missing_ok=True)
    with alone(place) as locked:
        if not locked:
            place = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
            place.mkdir()
        for left in place.iterdir():  # by a job that was killed
            discard(left)
        try:
            yield place
        finally:
            discard(place)


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A place beside ``path`` to write to; what was written is moved to ``path`` at once if all went well."""
    path = Path(path)
    with _workplace(path) as place:
        partial = place / "content"
        yield partial
        partial.replace(path)


@contextmanager
def whole_files(folder: str | Path) -> Iterator[Path]:
    """A folder to write files to; each is moved to its place in ``folder`` at once if all went well."""
    folder = Path(folder)
    with _workplace(folder) as partial:
        yield partial
        for file in sorted(path for path in partial.rglob("*") if path.is_file()):
            target = folder / file.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


def discard(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def clear(path: Path) -> None:
    """Make room for a file: what is no file in its place, or in that of a folder on the way, is set aside.

    A folder without files is removed, one with files keeps them under the name ``<name>.set-aside``.
    """
    for place in (*reversed(path.parents), path):
        if place.is_dir():
            continue
        if place == path:
            path.unlink(missing_ok=True)
        elif os.path.lexists(place) and not place.is_dir():  # once more: others may be making it
            with suppress(FileNotFoundError):
                set_aside(place)
        return
    if path.is_symlink() or not any(not inner.is_dir() for inner in path.rglob("*")):
        discard(path)
    else:
        set_aside(path)


def set_aside(path: Path) -> None:
    """Rename what stands where a result belongs, and may be somebody's own."""
    aside = path.with_name(path.name + ASIDE)
    while os.path.lexists(aside):
        aside = aside.with_name(aside.name + ASIDE)
    path.rename(aside)
