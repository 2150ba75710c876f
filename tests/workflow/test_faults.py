"""Faults, one by one and at random: after each the plain command makes what an undisturbed run makes, to the byte."""

import contextlib
import os
import shutil
import subprocess
import time

import pytest
from damages import digests
from kills import jobs_of
from running import SECONDS
from soak import Soak, one_round

from hessgeo.store.audit import audit

pytestmark = pytest.mark.slow

NAMES = ("posterior.zarr", "free_energy.nc", "metric.nc")
DAY = 86_400


def fit(workflow):
    """The targets that are made again here."""
    return [workflow.study.path(name) for name in NAMES]


def refused(result):
    """The line of ours that a run ended with."""
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("hessgeo: ")]
    assert lines, result.stderr
    return lines[-1]


def test_a_sample_of_the_soak(finished, tmp_path):
    soak = Soak(tmp_path, seed=0, whole=finished, targets=fit(finished))
    sizes = {"kill": 3, "write": 40, "damage": 20}
    events = [event for fault, count in sizes.items() for event in one_round(soak, fault, 0, count)]
    assert len(events) >= sum(sizes.values()) - sizes["kill"]
    assert [event for event in events if event.outcome != "same bytes"] == []
    with contextlib.chdir(soak.place.directory):
        left = audit("results", soak.made)
        assert left.faults == []


def test_of_two_runs_in_one_folder_one_is_refused_and_the_other_loses_nothing(finished, copied):
    workflow = copied()
    shutil.rmtree(workflow(fit(workflow)[0]))
    process = subprocess.Popen(
        workflow.command(*fit(workflow)[:2]),
        cwd=workflow.directory.parent,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        while not jobs_of(process.pid):
            assert process.poll() is None
            time.sleep(0.1)
        # It would take for damaged what is being written.
        assert f"a run is at work in {workflow.directory} already (process {process.pid} on " in refused(
            workflow.run("verify", check=False)
        )
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
    assert digests(workflow.directory) == digests(finished.directory)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 200 MB that is unmounted in the end."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk, spare):
    """Leave so many bytes of a disk free."""
    free = shutil.disk_usage(disk).free
    with (disk / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, free - spare)


def test_a_disk_that_is_full_or_read_only_costs_a_line_and_no_result(finished, workflow_in, small_disk):
    shutil.copytree(finished.directory, small_disk / "run", copy_function=shutil.copy2)
    workflow = workflow_in(small_disk / "run")
    workflow(fit(workflow)[2]).unlink()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    before = digests(workflow.directory)
    assert "results: 'results' is not allowed; allowed: a folder that can be written to" in refused(
        workflow.run(*fit(workflow), check=False)
    )
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    for spare in (0, 1 << 16):  # not even for Snakemake's records; for these, and for no result
        fill(small_disk, spare)
        assert "No space left on device" in refused(workflow.run(*fit(workflow), check=False))
        (small_disk / "filler").unlink()
        assert digests(workflow.directory).items() <= before.items()
    workflow.run(*fit(workflow))
    assert digests(workflow.directory) == digests(finished.directory)


def test_a_clock_that_was_set_back_stops_nothing(finished, copied):
    workflow = copied()
    for path in (workflow("results"), *workflow("results").rglob("*")):
        times = path.stat()
        os.utime(path, (times.st_atime, times.st_mtime + DAY))
    workflow(fit(workflow)[2]).unlink()
    workflow.run(*fit(workflow))
    assert digests(workflow.directory) == digests(finished.directory)
    again = workflow.run("--dry-run", *fit(workflow))
    assert "Nothing to be done" in again.stdout + again.stderr
