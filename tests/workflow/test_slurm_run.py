"""Profiles on a SLURM cluster of this machine: what no node can hold is refused, the rest has a local run's bytes.

One cluster for all, and few jobs: a job is mostly Snakemake's start. ``benchmarks/slurm.py`` compares every file of a
study.
"""

import hashlib
import subprocess

import pytest
from kills import wait_for
from slurm_cluster import SOON, cluster, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"no cluster of SLURM: {missing()}"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def by_profile(workflow, name, paths, *options):
    """The command that makes files of a workflow through a profile."""
    profile = workflow.repository / "workflow" / "profiles" / name
    return workflow.command(*paths, *options, *SOON[name], "--workflow-profile", profile)


def remove(workflow, paths):
    """Remove files; returns the digests that they had."""
    before = digests(workflow, paths)
    for path in paths:
        workflow(path).unlink()
    return before


def digests(workflow, paths):
    return [hashlib.sha256(workflow(path).read_bytes()).hexdigest() for path in paths]


def disturbed(workflow, command, disturb):
    """Run a command, and meanwhile what disturbs it; returns what was printed."""
    process = subprocess.Popen(
        command,
        cwd=workflow.directory.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        disturb(process)
        printed, _ = process.communicate(timeout=1500)
    finally:
        process.kill()
    assert process.returncode == 0, printed[-3000:]
    return printed


def test_a_job_that_no_node_holds_is_refused_before_any_is_submitted(copied, slurm):
    workflow = copied()
    paths = list(map(workflow.study.path, ("free_energy.nc", "metric.nc")))
    remove(workflow, paths)
    before = slurm.numbers()
    more = ("--set-resources", "fit_free_energy:mem_mb=64000")
    command = by_profile(workflow, "slurm", paths, *more)
    done = subprocess.run(command, cwd=workflow.directory.parent, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("hessgeo: ")]
    assert line.startswith(
        "hessgeo: fit_free_energy asks for 1 CPU, 64,000 MB, no GPU, 240 minutes in partition cpu, "
    )
    assert "whose nodes have 8 CPUs, 16,000 MB, 2 GPUs, any time" in line
    assert slurm.numbers() == before


def test_a_run_through_kills_of_jobs_and_daemons_has_the_bytes_of_a_local_one(copied, slurm):
    workflow = copied()
    paths = workflow.study.shards("embedding")[:2]
    before = remove(workflow, paths)

    def disturb(process):
        def at_work():
            return [job for job, comment in slurm.jobs().items() if "embed_samples" in comment]

        # Two at once, for there are two GPUs.
        wait_for(lambda: len(at_work()) == 2, process)
        slurm.kill("slurmctld", "slurmd")
        slurm.start()
        # It goes on with what it had written down: with both, or with those that are sent again.
        job = wait_for(at_work, process)[0]
        subprocess.run(["scancel", job], check=True)

    printed = disturbed(workflow, by_profile(workflow, "slurm", paths), disturb)
    assert "Trying to restart job" in printed
    assert digests(workflow, paths) == before


def test_a_command_that_submits_has_the_bytes_of_a_local_run_and_a_killed_job_is_sent_again(copied, slurm):
    workflow = copied()
    paths = list(map(workflow.study.path, ("free_energy.nc", "metric.nc")))
    before = remove(workflow, paths)
    submitted = len(slurm.numbers())

    def disturb(process):
        (job,) = wait_for(lambda: slurm.numbers("running"), process)
        subprocess.run(["scancel", job], check=True)

    printed = disturbed(workflow, by_profile(workflow, "generic", paths), disturb)
    assert "Trying to restart job" in printed
    assert digests(workflow, paths) == before
    assert len(slurm.numbers()) == submitted + 3  # the fit twice, the metric
