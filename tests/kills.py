"""Jobs of a run, and what kills them."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

SIGNALS = (
    signal.SIGKILL,
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGINT,
)  # twice the one that nobody can catch
VICTIMS = ("job", "snakemake", "both")


def ended(process, seconds):
    """Whether a process ends within some seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def jobs_of(pid):
    """Jobs below a process, by rule."""
    found = {}
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = child.cmdline()
            if command and "python" in Path(command[0]).name and ".snakemake/scripts" in "".join(command):
                script = next(part for part in command if ".snakemake/scripts" in part)
                found[child] = Path(script).name.split(".")[-2]
    return found


def wait_for(found, process, seconds=600):
    """Poll until there is something, while the process runs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if value := found():
            return value
        time.sleep(0.02)
    raise AssertionError(
        "time ran out" if process.poll() is None else f"it ended: {process.communicate()[0]}"
    )


def wait_for_jobs(process):
    """Wait until a run has a job at work, or has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        while not ended(process, 0.2) and not jobs_of(process.pid):
            pass


def strike(process, rng):
    """Send a signal to a job, to Snakemake alone or to both; returns what was done, and the rules at work then."""
    jobs = jobs_of(process.pid)
    victim = rng.choice(VICTIMS if jobs else VICTIMS[1:])
    sent = rng.choice(SIGNALS)
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        if victim == "job":
            rng.choice(sorted(jobs, key=lambda job: job.pid)).send_signal(sent)
        elif victim == "snakemake":
            os.kill(process.pid, sent)
        else:
            os.killpg(process.pid, sent)
    return f"{victim} {sent.name}", " ".join(sorted(jobs.values()))


def left_over(directory, seconds=20):
    """Whether jobs of a folder go on after its run has ended."""
    deadline = time.monotonic() + seconds
    while any(jobs_in(directory)):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.5)
    return False


def jobs_in(directory):
    """Jobs whose scripts lie in Snakemake's records of a folder."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(directory / ".snakemake/scripts") in part for part in process.info["cmdline"] or []):
            yield process
