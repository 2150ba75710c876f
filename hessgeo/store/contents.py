"""What tells one content from another, of files and of objects that pointers stand for."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

from hessgeo.store.files import StoreError
from hessgeo.store.objects import pointed


def contents(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, or of the object that it points to."""
    if pointer := pointed(path):
        return pointer.contents()
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"bytes": os.fstat(stream.fileno()).st_size, "sha256": digest}


def ending(path: Path, length: int) -> dict[str, Any]:
    """Size of a file, or of the object that it points to, and the digest of its last bytes."""
    if pointer := pointed(path):
        size, last = pointer.ending(length)
    else:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(-min(length, size), os.SEEK_END)
            last = stream.read()
    return {"bytes": size, "tail": hashlib.sha256(last).hexdigest()}


def size_fault(path: Path, size: Any) -> str | None:
    """What is wrong with a file that should have ``size`` bytes, None if it is a file that has.

    Of an object its pointer is asked.
    """
    try:
        found = path.stat()
    except OSError as error:
        return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):  # a pipe would block whoever opens it
        return "is no file"
    try:
        pointer = pointed(path)
    except StoreError:
        return "points nowhere"
    has = pointer.bytes if pointer else found.st_size
    return None if has == size else f"has {has} bytes, not {size}"


def content_fault(path: Path, entry: dict[str, Any]) -> str | None:
    """What is wrong with a file beside what ``contents`` said of it, None if nothing is."""
    if fault := size_fault(path, entry.get("bytes")):
        return fault
    try:
        same = contents(path) == entry
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except StoreError as error:
        return f"is kept elsewhere, and {error}"
    return None if same else "holds other bytes than were written"
