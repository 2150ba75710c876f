"""The context a workflow script runs in: log, progress, threads, seeds, and a clear end when it fails."""

from __future__ import annotations

import io
import logging
import os
import random
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from threadpoolctl import threadpool_limits

from hessgeo.pipeline.gpus import lease
from hessgeo.pipeline.orphans import announce_run, end_with_run

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
BAR_SECONDS = 60.0
COMMAND = "HESSGEO_COMMAND"  # the variable in which jobs find how to run the workflow again
DONE, FAILED = (
    "done in",
    "Traceback (most recent call last)",
)  # what the log of a job that came to its end has
_leases: list[Any] = []  # open as long as the process lives


@dataclass(frozen=True)
class Step:
    """What a script needs of its job.

    Attributes:
        name: the rule.
        input: named inputs.
        output: named outputs.
        params: parameters, the settings among them.
        wildcards: wildcards of the rule.
        threads: threads that the job may use.
    """

    name: str
    input: Any
    output: Any
    params: Any
    wildcards: Any
    threads: int


class ProgressLog(io.TextIOBase):
    """A stream that writes lines to a log as they come, and a progress bar to it once a minute.

    On a terminal the bar is shown there as it moves.

    Args:
        log: the log.
        terminal: where the bar is shown, or None.
    """

    def __init__(self, log: TextIO, terminal: TextIO | None) -> None:
        self.log, self.terminal = log, terminal
        self.last_bar = 0.0

    def write(self, text: str) -> int:
        """Write lines, or the next state of a bar, which starts with a carriage return."""
        if "\r" not in text:
            self.log.write(text)
        else:
            if self.terminal is not None:
                self.terminal.write(text)
            now = time.monotonic()
            if now - self.last_bar >= BAR_SECONDS:
                self.last_bar = now
                self.log.write(text.rpartition("\r")[2].rstrip() + "\n")
        self.flush()
        return len(text)

    def flush(self) -> None:
        """Flush both ends."""
        self.log.flush()
        if self.terminal is not None:
            self.terminal.flush()


def prepare_jobs(root: str | Path, command: str) -> None:
    """Set what every job inherits: where it finds the package, how its idle threads wait, how to run it again.

    Args:
        root: the checkout, which jobs in environments of their own (``--software-deployment-method conda``) import.
        command: what runs this workflow with its settings from any folder.
    """
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *([inherited] if inherited else [])])
    # By default OpenMP's idle threads spin; where jobs share cores with others that made small sums 70 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ[COMMAND] = command
    announce_run()


def repeat_command(
    snakefile: str | Path, configfiles: Iterable[str | Path], config: Sequence[str], *, replaced: bool = False
) -> str:
    """The command that runs the workflow with the same settings, in this working directory, from any other.

    Args:
        snakefile: the main Snakefile.
        configfiles: those of the command line.
        config: the arguments of ``--config``.
        replaced: whether they stand in the place of the workflow's own configuration.
    """
    parts = ["snakemake", "--snakefile", str(snakefile), "--directory", os.getcwd()]
    files = [str(path) for path in configfiles]
    parts += ["--configfile", *files] if files else []
    parts += ["--config", *config] if config else []
    parts += ["--replace-workflow-config"] if replaced else []
    return shlex.join([*parts, "--cores", "all"])


def close_log(path: str | Path) -> None:
    """Say in the log of a job that failed what the job could not: that it was killed, or never started.

    A job that is killed writes no last line, and has no log at all before its script runs.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if DONE in text or FAILED in text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log:
        log.write(
            "The job ended before it could say why: it was killed (memory, time, a signal), or it could not start; "
            "what was printed on the terminal may tell.\n"
        )


def explain_killed(log_error: Callable[..., None]) -> Callable[..., None]:
    """Snakemake's report of a job that failed, once its logs say why: they may be those of a job that was killed."""

    @wraps(log_error)
    def explained(job: Any, *arguments: Any, **options: Any) -> None:
        for path in job.log:
            close_log(path)
        log_error(job, *arguments, **options)

    return explained


@cache
def pick_device() -> str:
    """A GPU of CUDA that no other job of this user has, until the process ends; ``cpu`` where torch finds none.

    Jobs that run side by side get GPUs of their own, and wait for one where there are fewer than jobs.
    """
    import torch

    if not torch.cuda.is_available():
        if torch.backends.mps.is_available():
            # It has no float64, which fits and metrics need.
            logging.info("Apple's GPU is not used: the job runs on the CPU")
        return "cpu"
    count = torch.cuda.device_count()
    place, lock = lease([str(torch.cuda.get_device_properties(k).uuid) for k in range(count)])
    _leases.append(lock)
    return f"cuda:{place}"


def _limit_threads(threads: int) -> None:
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    # BLAS libraries that are loaded by now read no variable; torch has a pool of its own.
    threadpool_limits(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _seed(seed: int) -> None:
    # All randomness comes from generators with seeds of their own; this makes a slip repeatable.
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _results(value: Any) -> list[str]:
    return [str(path) for path in value] if isinstance(value, list | tuple) else []


@contextmanager
def _vouched(snakemake: Any) -> Iterator[None]:
    """Do a job's work between the check of its inputs and the vouchers of its outputs."""
    # Imported here: the Snakefile, which reads no result, need not wait for the libraries that do.
    from hessgeo import store

    outputs, config = _results(snakemake.output), getattr(snakemake, "config", {})
    root = config.get("results")
    store.withdraw(outputs)
    with store.kept_at(root=root or ".", **config.get("storage", {})):
        # Before hours of work whose results nobody would take.
        store.probe(outputs)
        if root is not None:
            store.check_results(_results(snakemake.input), root)
        yield
        store.vouch(outputs)


def _failure(error: Exception) -> str:
    """What a person is told of an error, in one line."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
    # By name: a job that reads no result need not import what reads them.
    if any(kind.__name__ == "StoreError" for kind in type(error).__mro__) and COMMAND in os.environ:
        reason += f"; to remove what is damaged, before the same run again: {os.environ[COMMAND]} verify"
    return reason


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """A log to write to, which may end before its last line where the disk is full."""
    log = path.open("w", encoding="utf-8")
    try:
        yield log
    finally:
        with suppress(OSError):
            log.close()


@contextmanager
def script_context(snakemake: Any, *, spread: bool = False) -> Iterator[Step]:
    """Run a script's work: messages and progress go to its log, a failure ends in one line.

    Inputs that are results are compared with their vouchers first. The vouchers of the outputs are withdrawn before the
    work and written after it, so that nothing vouches for what a job that failed left behind.

    Messages of ``logging`` and whatever is written to standard error go to the job's log, a progress bar as
    one line a minute. If the work fails, its traceback is in the log and the last line on standard error names the
    rule, the error and the log; the job exits with 1.

    Torch and BLAS have one thread and so one order of every sum: the bytes of results do not depend on the threads of a
    job, which are for what shares out whole blocks.

    Args:
        snakemake: the object of that name that Snakemake gives to a script; its rule has a log.
        spread: let torch and BLAS use the threads of the job, whose number then changes roundings.
    """
    end_with_run()
    _limit_threads(snakemake.threads if spread else 1)
    _seed(int(snakemake.params.get("seed", 0)))
    path = Path(str(snakemake.log[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    screen = sys.stderr
    about = ", ".join(f"{key} {value}" for key, value in snakemake.wildcards.items())
    with _opened(path) as log:
        sys.stderr = ProgressLog(log, screen if screen.isatty() else None)
        logging.basicConfig(
            stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", force=True
        )
        logging.captureWarnings(True)
        start = time.monotonic()
        logging.info("%s (%s) on %d threads", snakemake.rule, about or "no wildcards", snakemake.threads)
        try:
            with _vouched(snakemake):
                yield Step(
                    name=snakemake.rule,
                    input=snakemake.input,
                    output=snakemake.output,
                    params=snakemake.params,
                    wildcards=snakemake.wildcards,
                    threads=snakemake.threads,
                )
            logging.info("%s %.1f s", DONE, time.monotonic() - start)
        # The one place that ends a job: the traceback is kept, the person gets one line, the job fails.
        except Exception as error:  # noqa: BLE001
            with suppress(OSError):  # where the disk is full, the line alone says so
                log.write(traceback.format_exc())
                log.flush()
            screen.write(f"hessgeo: {snakemake.rule} ({about}) failed: {_failure(error)} (log: {path})\n")
            raise SystemExit(1) from None
        finally:
            sys.stderr = screen
