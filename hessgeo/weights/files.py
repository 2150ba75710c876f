"""Files that others named: regular ones alone are opened, and read no further than they should be.

A pipe would be waited for without end, a device has side effects, and a header may promise more than there is memory
for; here each of them is one line instead.
"""

from __future__ import annotations

import io
import json
import math
import os
import stat
import tokenize
from pathlib import Path
from typing import Any

import numpy as np

LARGEST_JSON = 64_000_000  # bytes; the largest tokenizers have a quarter of it
LARGEST_NPY_HEADER = 65_536  # bytes
PIECE = 1 << 20  # bytes that are read at once

_KINDS = {
    stat.S_ISDIR: "is a folder",
    stat.S_ISFIFO: "is a pipe",
    stat.S_ISSOCK: "is a socket",
    stat.S_ISCHR: "is a device",
    stat.S_ISBLK: "is a device",
}


def check_file(path: str | Path, must: str = "a file") -> Path:
    """Refuse a path that is no regular file that can be read: missing, a folder, a pipe, a device, a broken link.

    Args:
        path: the file.
        must: what it must be, for the message.

    Raises:
        ValueError: one line, ``<path> is a pipe, must be <must>``.
    """
    open_file(path, must).close()
    return Path(path)


def open_file(path: str | Path, must: str = "a file") -> io.BufferedReader[Any]:
    """Open a regular file for reading, and nothing else; see ``check_file``.

    Raises:
        ValueError: as ``check_file``.
    """
    try:
        _refuse_kind(path, os.stat(path), must)
        # The file may have been replaced since: an open that does not wait, and another look at what it opened.
        file = io.BufferedReader(
            _Named(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), path, must)
        )
    except FileNotFoundError as error:
        what = "is a link to nothing" if os.path.islink(path) else "is missing"
        raise ValueError(f"{path} {what}, must be {must}") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}), must be {must}") from error
    except ValueError as error:
        if "null byte" not in str(error):
            raise
        raise ValueError(f"{str(path)!r} holds a null character, must be {must}") from error
    try:
        _refuse_kind(path, os.fstat(file.fileno()), must)
    except ValueError:
        file.close()
        raise
    return file


class _Named(io.FileIO):
    """An open file whose faults while it is read, of a bad disk or one that went away, are a line with its path."""

    def __init__(self, descriptor: int, path: str | Path, must: str) -> None:
        super().__init__(descriptor, "rb")
        self._path, self._must = path, must

    def readinto(self, buffer: Any) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise self._told(error) from error

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            raise self._told(error) from error

    def _told(self, error: OSError) -> ValueError:
        return ValueError(f"{self._path} cannot be read ({error.strerror}), must be {self._must}")


def _refuse_kind(path: str | Path, found: os.stat_result, must: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        what = next((what for is_kind, what in _KINDS.items() if is_kind(found.st_mode)), "is no file")
        raise ValueError(f"{path} {what}, must be {must}")


def read_bytes(path: str | Path, must: str = "a file", *, largest: int) -> bytes:
    """The whole content of a regular file of at most ``largest`` bytes.

    Raises:
        ValueError: as ``check_file``, and on a file that is larger.
    """
    content = bytearray()
    with open_file(path, must) as file:
        # A piece at a time: Python takes the memory for all that is asked for, however short the file is.
        while len(content) <= largest and (piece := file.read(PIECE)):
            content += piece
    if len(content) > largest:
        raise ValueError(f"{path} has more than {largest:,} bytes, must be {must}")
    return bytes(content)


def parse_json(text: str | bytes) -> dict[str, Any]:
    """The object that a JSON text holds.

    Raises:
        ValueError: one line, on anything else, however deep it nests.
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deeply") from error
    except ValueError as error:  # also of text that is not UTF-8, and of whole numbers of thousands of digits
        raise ValueError(" ".join(str(error).split())[:200]) from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not an object")
    return content


def read_json_object(path: str | Path, must: str = "a JSON file") -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: as ``check_file`` and ``parse_json``, with the path.
    """
    text = read_bytes(path, must, largest=LARGEST_JSON)
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def npy_header(path: str | Path, must: str = "a .npy file") -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array in a ``.npy`` file, from its header and its size alone.

    Raises:
        ValueError: as ``check_file``; if it is no ``.npy`` file, holds Python objects, or is cut short.
    """
    readers = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    with open_file(path, must) as file:
        try:
            version = np.lib.format.read_magic(file)
            shape, _, dtype = readers[version[0]](file, max_header_size=LARGEST_NPY_HEADER)
        # What numpy meets in a header that is not its own.
        except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError,
                tokenize.TokenError) as error:  # fmt: skip
            raise ValueError(f"{path} has no header of a .npy file, must be {must}") from error
        size, start = os.fstat(file.fileno()).st_size, file.tell()
    if dtype.hasobject:
        raise ValueError(f"{path} holds Python objects, must be {must}")
    end = start + math.prod(map(int, shape)) * dtype.itemsize
    if any(length < 0 for length in shape) or size < end:
        raise ValueError(f"{path} is cut short: it has {size} bytes of {end}, must be {must}")
    return tuple(map(int, shape)), dtype
