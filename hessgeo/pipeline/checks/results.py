"""Whether results can be written where the settings say, and have names that no file system takes for one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from hessgeo.pipeline.schema import refusal, shown

# Folders of a working directory that are not for results.
FOREIGN = (".snakemake", ".git")
LONGEST_NAME = 200  # bytes, with what is added to it; file systems have 255
LONGEST_PATH = 2_000  # bytes, of 4,096
SECTIONS = ("models", "studies", "comparisons", "solvable.systems")


def results_errors(results: str) -> Iterator[str]:
    """A line if results cannot be written to a folder of this name; nothing is created."""
    reason = _bad_path(results) or _unwritable(results)
    if reason:
        yield refusal("results", results, f"a folder that can be written to ({reason})")


def storage_errors(url: str | None) -> Iterator[str]:
    """A line if results are to be kept at a URL, and nothing is installed that could do so; nothing is asked of it."""
    if url is not None and find_spec("obstore") is None:
        yield refusal("storage.url", url, "null without the package obstore (pip install hessgeo[cloud])")


def _bad_path(results: str) -> str:
    parts = PurePosixPath(results).parts
    # Braces are wildcards of the workflow in every path that begins with this one.
    rules = {
        "it has a brace": "{" in results or "}" in results,
        "it begins or ends with a blank": results != results.strip(),
        "it leads through ..": ".." in parts,
        "it is the working directory or the root": set(parts) <= {"/", "//"},
        "~ is no home folder here": results.startswith("~"),
        "it is an address": "://" in results or results.startswith("//"),
        "it belongs to another program": bool(set(parts) & set(FOREIGN)),
        f"a name has more than {LONGEST_NAME} bytes": any(
            len(part.encode()) > LONGEST_NAME for part in parts
        ),
        f"it has more than {LONGEST_PATH} bytes": len(results.encode()) > LONGEST_PATH,
    }
    return next((reason for reason, broken in rules.items() if broken), "")


def _unwritable(results: str) -> str:
    folder = Path(results).absolute()
    try:
        while not folder.exists() and not folder.is_symlink():
            folder = folder.parent
        # A nameless file: the one test that holds for root and on a read-only disk too, and leaves nothing.
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{error.strerror} at {folder}"


def name_errors(config: Mapping[str, Any]) -> Iterator[str]:
    """A line for each name that differs from another in capital letters alone: one folder on many disks."""
    for section in SECTIONS:
        entries: Any = config
        for key in section.split("."):
            entries = entries[key]
        yield from same_names(section, entries)


def same_names(section: str, names: Any) -> Iterator[str]:
    """A line for each name that is another of them but for capital letters."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            words = f"a name that differs from {other} in more than capital letters"
            yield f"{section}.{name}: {shown(name)} is not allowed as a name; allowed: {words}"
