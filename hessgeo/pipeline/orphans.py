"""Jobs that do not outlive the run that started them."""

from __future__ import annotations

import logging
import os
import threading
import time

RUN = "HESSGEO_RUN"  # the variable in which jobs find the process that started them
POLL_SECONDS = 1.0


def announce_run() -> None:
    """Tell the jobs of this process that it is their run."""
    import psutil

    os.environ[RUN] = f"{os.getpid()} {psutil.Process().create_time()}"


def end_with_run() -> None:
    """End this job soon after the run that started it, if that is killed: the next run would do the same job beside it.

    Its result would count for nothing, since a run that was killed does not know of it.
    """
    import psutil

    number, _, created = os.environ.get(RUN, "").partition(" ")
    try:
        run = psutil.Process(int(number))
        if abs(run.create_time() - float(created)) > 1 or int(number) == os.getpid():
            return
    except (ValueError, psutil.Error):
        return  # started by hand, or in a container that sees its own processes alone

    def watch() -> None:
        while run.is_running() and run.status() != psutil.STATUS_ZOMBIE:
            time.sleep(POLL_SECONDS)
        logging.error("the run that started this job (process %d) is gone: the job ends, too", run.pid)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
