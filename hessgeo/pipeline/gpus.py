"""One GPU for each job, whatever number of jobs a machine runs at once."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from hessgeo.weights.own_folder import own_folder

try:
    import fcntl
except ModuleNotFoundError:
    raise ImportError(
        "the workflow runs on Linux and macOS; on Windows, in its subsystem for Linux (WSL)"
    ) from None

POLL_SECONDS = 0.5


def lease(names: Sequence[str], folder: str | Path | None = None) -> tuple[int, IO[bytes]]:
    """Wait until one of several devices is free, and take it.

    A device is taken by a lock on a file, which the system lifts when the process ends, however it ends. The file is
    never written to, and lies in a folder that other users cannot enter.

    Args:
        names: what tells the devices apart on this machine, whichever of them a process sees.
        folder: of the locks, the same for all jobs; ``own_folder()`` where none is given.

    Returns:
        The place of the device among ``names``, and the open file: the device is free again once it is closed.

    Raises:
        ValueError: if there is no device, or its lock is no regular file.
    """
    if not names:
        raise ValueError("there is no device to wait for")
    folder = own_folder() if folder is None else Path(folder)
    waiting = False
    while True:
        for place, name in enumerate(names):
            file = _open_lock(folder / f"{name}.lock")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
            else:
                return place, file
        if not waiting:
            logging.info("all %d GPUs are busy with other jobs: waiting for one", len(names))
            waiting = True
        time.sleep(POLL_SECONDS)


def _open_lock(path: Path) -> IO[bytes]:
    # No link is followed, nothing is emptied or waited for, and no program that is started inherits the lock.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o600), "rb")
    except OSError as error:
        raise ValueError(f"{path} cannot be opened ({error.strerror}), must be a regular file") from error
