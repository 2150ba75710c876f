"""One GPU for each job, whatever number of jobs a machine runs at once."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

POLL_SECONDS = 0.5


def lease(names: Sequence[str], folder: str | Path | None = None) -> tuple[int, IO[str]]:
    """Wait until one of several devices is free, and take it.

    A device is taken by a lock on a file, which the system lifts when the process ends, however it ends.

    Args:
        names: what tells the devices apart on this machine, whichever of them a process sees.
        folder: of the locks; the same for all jobs.

    Returns:
        The place of the device among ``names``, and the open file: the device is free again once it is closed.

    Raises:
        ValueError: if there is no device.
    """
    if not names:
        raise ValueError("there is no device to wait for")
    folder = Path(folder or tempfile.gettempdir())
    waiting = False
    while True:
        for place, name in enumerate(names):
            # Jobs of several users share the machine, not each other's files.
            file = (folder / f"hessgeo-{os.getuid()}-{name}.lock").open("w", encoding="utf-8")
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
