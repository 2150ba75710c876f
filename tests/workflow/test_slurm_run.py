"""The profile of SLURM on a cluster of this machine: what no node can hold is refused, the rest is the local run's."""

import hashlib
import subprocess

import pytest
from slurm_cluster import cluster, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"no cluster of SLURM: {missing()}"),
]


@pytest.fixture
def slurm(tmp_path):
    with cluster(tmp_path / "slurm") as running:
        yield running


def test_a_job_that_no_node_holds_is_refused_before_any_is_submitted(copied, slurm):
    workflow = copied()
    for name in ("free_energy.nc", "metric.nc"):
        workflow(workflow.study.path(name)).unlink()
    profile = workflow.repository / "workflow" / "profiles" / "slurm"
    more = ("--set-resources", "fit_free_energy:mem_mb=64000")
    command = workflow.command(workflow.study.path("metric.nc"), *more, "--workflow-profile", profile)
    done = subprocess.run(command, cwd=workflow.directory.parent, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("hessgeo: ")]
    assert line.startswith(
        "hessgeo: fit_free_energy asks for 1 CPU, 64,000 MB, no GPU, 240 minutes in partition cpu, "
    )
    assert "whose nodes have 8 CPUs, 16,000 MB, 2 GPUs, any time" in line
    assert slurm.jobs("all") == {}


def test_what_slurm_runs_has_the_bytes_of_a_local_run(copied, slurm):
    workflow = copied()
    study = workflow.study
    shard = study.shards("embedding")[0]
    made = [workflow(path) for path in (shard, *map(study.path, ("free_energy.nc", "metric.nc")))]
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in made]
    for path in made:
        path.unlink()
    profile = workflow.repository / "workflow" / "profiles" / "slurm"
    # Of jobs of seconds one need not wait 40 of them before asking.
    soon = ("--slurm-init-seconds-before-status-checks", "3")
    command = workflow.command(study.path("metric.nc"), *soon, "--workflow-profile", profile)
    done = subprocess.run(command, cwd=workflow.directory.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in made] == before
    assert len(slurm.jobs("all")) >= 4  # the embedding, the posterior, the fit, the metric
