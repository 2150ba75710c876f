"""One run of the workflow in a folder at a time.

Snakemake leaves its locks behind when it is killed, and cannot tell them from those of a run that is at work: it asks a
person. The system can: a lock on an open file ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from functools import wraps
from pathlib import Path
from threading import Thread
from typing import IO, Any

from hessgeo.pipeline.clocks import settle

LOCK = "hessgeo.lock"  # in Snakemake's own folder
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
AWAY = "\nhessgeo.store.objects.ObjectStoreError: "  # at the end of a traceback
READ_ONLY = {"plan"}  # rules that neither write nor compare results


class AtWorkError(RuntimeError):
    """Another run is at work in the folder."""


@contextmanager
def claim(folder: str | Path) -> Iterator[IO[str] | None]:
    """Be the only run that works in a folder; a run that was killed lets go of it.

    Args:
        folder: of Snakemake's records.

    Yields:
        The open file of the lock, which names the last run unless that came to its end; None if the disk has no
        locks, so that other runs cannot be known.

    Raises:
        AtWorkError: in one line, if another run has the folder.
        OSError: if nothing can be written there.
    """
    file = Path(folder, LOCK)
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AtWorkError(_at_work(Path(folder), lock.read())) from None
        except OSError:
            yield None
            return
        yield lock


def _read(text: str) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}


def _write(lock: IO[str], text: str) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()


def _at_work(folder: Path, text: str) -> str:
    found = _read(text)
    since = f" since {datetime.fromtimestamp(found['since']):%Y-%m-%d %H:%M:%S}" if "since" in found else ""
    who = (
        f"process {found['process']} on {found['machine']}{since}"
        if "process" in found
        else "another process"
    )
    return f"a run is at work in {folder.absolute().parent} already ({who}); wait for its end, or stop it"


def one_run(
    lock: Callable[[Any], AbstractContextManager[None]], *, again: str, results: str | Path
) -> Callable[[Any], AbstractContextManager[None]]:
    """Snakemake's lock of a folder, as ours has it: what a killed run left is lifted, of two runs one is refused.

    Args:
        lock: the method of Snakemake's persistence.
        again: what runs this workflow again.
        results: folder of everything that is produced; what bears a date of the future there is dated now.
    """

    @wraps(lock)
    @contextmanager
    def locked(persistence: Any) -> Iterator[None]:
        if {job.rule.name for job in persistence.dag.jobs} <= READ_ONLY:
            with lock(persistence):
                yield
            return
        try:
            with claim(persistence.path) as own:
                if own is None:
                    with lock(persistence):
                        yield
                    return
                if persistence.locked:
                    _lift(persistence, str(_read(own.read()).get("machine", "")), again)
                about = {"machine": platform.node(), "process": os.getpid(), "since": time.time()}
                _write(own, json.dumps(about))
                if count := settle(results):
                    sys.stderr.write(
                        f"hessgeo: {count} files and folders of {results} bore dates of the future, as after a clock "
                        "was set back; they are dated now\n"
                    )
                try:
                    with lock(persistence):
                        yield
                finally:
                    _write(own, "")
        except AtWorkError as error:
            sys.exit(f"hessgeo: {error}")
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            # Jobs say this of themselves; here it is Snakemake that cannot write.
            sys.exit(f"hessgeo: {error.filename or persistence.path} cannot be written: {error.strerror}")

    return locked


def in_a_thread(handler: Callable[..., None]) -> Callable[..., None]:
    """A handler of signals that takes a lock, for signals that may come while the lock is held.

    A signal interrupts the main thread wherever it is. Where that has the lock, a handler on top of it would wait for
    ever; a thread waits until the lock is free.
    """

    @wraps(handler)
    def started(*args: Any) -> None:
        Thread(target=handler, args=args, daemon=True).start()

    return started


def stops_without_store(handle_error: Callable[..., None], again: str) -> Callable[..., None]:
    """Snakemake's handling of a job that failed; where the object store could not be asked, no other job is begun.

    Each would wait out its patience before it failed in the same way. Jobs at work come to their end.

    Args:
        handle_error: the method of Snakemake's scheduler.
        again: what runs this workflow again.
    """

    @wraps(handle_error)
    def handled(scheduler: Any, job: Any, *arguments: Any, **options: Any) -> None:
        if any(AWAY in _text(path) for path in job.log):
            if scheduler.keepgoing:
                told = "no more jobs are begun, for the object store cannot be asked; when it can be, this goes on"
                sys.stderr.write(f"hessgeo: {told}: {again}\n")
            scheduler.keepgoing = False
            job.attempt = job.restart_times + 1  # the last
        handle_error(scheduler, job, *arguments, **options)

    return handled


def _text(path: str | Path) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""


def _lift(persistence: Any, machine: str, again: str) -> None:
    """Lift what a killed run left locked: nobody has our lock, which is of this machine, so nobody has Snakemake's."""
    if machine != platform.node():
        whom = f"by a run on {machine}" if machine else "by a run of which nothing is known"
        sys.exit(f"hessgeo: {Path.cwd()} is locked {whom}; if that is not at work any more: {again} --unlock")
    persistence.cleanup_locks()
    Path(persistence.path, "locks").mkdir(exist_ok=True)
