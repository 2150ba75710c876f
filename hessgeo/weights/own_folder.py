"""A folder of one's own among the temporary files that all users of a machine share."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def own_folder(root: str | Path | None = None) -> Path:
    """The folder ``hessgeo-<user id>`` in a shared one, made if it is not there, that nobody else may enter.

    Names in a shared folder can be guessed: whoever comes first may put a link to some other file there, or a file
    that is then read as one's own.

    Args:
        root: the shared folder; that of temporary files.

    Raises:
        ValueError: one line, if something else stands in its place: a link, another user's folder, or one that others
            may write to.
    """
    path = Path(root or tempfile.gettempdir()) / f"hessgeo-{os.getuid()}"
    must = "must be a folder of your own that nobody else may enter (rename it, or set TMPDIR)"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ValueError(f"{path} cannot be made ({error.strerror}), {must}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise ValueError(f"{path} is no folder, {must}")
    if found.st_uid != os.getuid():
        raise ValueError(f"{path} belongs to user {found.st_uid}, {must}")
    if found.st_mode & 0o077:
        raise ValueError(f"{path} is open to others ({stat.filemode(found.st_mode)}), {must}")
    return path
