"""What partitions hold, what jobs ask for, and how a job is refused that would wait for ever."""

import math
from types import SimpleNamespace

import pytest
from snakemake.iocontainers import ResourceList

from hessgeo.pipeline import partitions
from hessgeo.pipeline.partitions import (
    Amounts,
    Scheduler,
    asked,
    gpus_of,
    partition_resource,
    read_partitions,
    refusals,
)

SINFO = """cpu*|16|64000|(null)|1-00:00:00
cpu*|64|256000+|(null)|1-00:00:00
gpu|8|32000|gpu:a100:4(S:0-1),shard:8|infinite
"""


@pytest.mark.parametrize(
    ("gres", "count"),
    [("(null)", 0), ("gpu:2", 2), ("gpu:a100:4(S:0-1),shard:8", 4), ("gpu:a100:2,gpu:v100:1", 3), ("", 0)],
)
def test_gpus_are_counted_among_generic_resources(gres, count):
    assert gpus_of(gres) == count


def test_nodes_are_read_by_partition_and_the_default_one_has_no_name_too():
    found = read_partitions(SINFO)
    assert found["cpu"] == found[""] == [Amounts(16, 64000, 0, 1440), Amounts(64, 256000, 0, 1440)]
    assert found["gpu"] == [Amounts(8, 32000, 4, math.inf)]
    assert read_partitions("debug|2|4000|(null)|30:00\n")["debug"][0].minutes == 30
    with pytest.raises(ValueError, match="unpack"):
        read_partitions("slurm_load_partitions: Unable to contact slurm controller\n")


def test_what_is_asked_is_what_the_executor_submits():
    assert asked(8, {"mem_mb": 4000, "runtime": 60}) == Amounts(8, 4000, 0, 60)
    assert asked(8, {"mem_mb_per_cpu": 500, "tasks": 2, "cpus_per_task": 3}) == Amounts(6, 3000, 0, 0)
    assert asked(1, {"gres": "gpu:a100:2"}).gpus == 2
    assert asked(1, {"gpu": 1}).gpus == 1
    assert asked(1, {"nodes": 2, "mem_mb": 10**9}) is None


@pytest.mark.parametrize(
    ("partition", "wanted", "fits"),
    [
        ("cpu", Amounts(16, 64000, 0, 1440), True),
        ("cpu", Amounts(64, 64000, 0, 10), True),
        ("cpu", Amounts(65, 1000, 0, 10), False),
        ("cpu", Amounts(1, 256001, 0, 10), False),
        ("cpu", Amounts(1, 1000, 1, 10), False),
        ("cpu", Amounts(1, 1000, 0, 1441), False),
        ("", Amounts(64, 1000, 0, 10), True),
        # Enough of each, but of one on one node and of the other on another.
        ("cpu,gpu", Amounts(16, 1000, 1, 10), False),
        ("cpu,gpu", Amounts(8, 1000, 1, 10), True),
    ],
)
def test_a_job_is_refused_where_no_one_node_has_all_of_it(partition, wanted, fits):
    lines = refusals([("fit", partition, wanted)] * 3, read_partitions(SINFO))
    assert len(lines) == (0 if fits else 1)


def test_a_line_names_the_rule_what_it_asks_for_and_what_the_nodes_have():
    (line,) = refusals([("estimate_posterior", "gpu", Amounts(16, 8000, 1, 240))], read_partitions(SINFO))
    assert line == (
        "estimate_posterior asks for 16 CPUs, 8,000 MB, 1 GPU, 240 minutes in partition gpu, whose nodes have 8 CPUs, "
        "32,000 MB, 4 GPUs, any time, so it would wait for ever: --set-threads estimate_posterior=N, or in the "
        "profile's set-resources mem_mb, gpu, runtime or slurm_partition of estimate_posterior"
    )
    (line,) = refusals([("fit", "fast", Amounts(1, 1, 0, 1))], read_partitions(SINFO))
    assert line.startswith(
        "fit is for the partition fast, which sinfo does not have; it has cpu, gpu: slurm_partition of"
    )


@pytest.mark.parametrize(
    ("plugin", "submit", "resource"),
    [
        ("slurm", None, "slurm_partition"),
        ("cluster-generic", "/opt/slurm/bin/sbatch --parsable --mem={resources.mem_mb}", "queue"),
        ("cluster-generic", "qsub -q {resources.queue}", None),
        ("cluster-generic", None, None),
        ("kubernetes", None, None),
        (None, None, None),
    ],
)
def test_jobs_are_judged_where_they_go_to_slurm(plugin, submit, resource):
    plugin = plugin and SimpleNamespace(name=plugin)
    workflow = SimpleNamespace(executor_plugin=plugin, executor_settings=SimpleNamespace(submit_cmd=submit))
    assert partition_resource(workflow) == resource


def a_graph(*jobs):
    """A graph of jobs, each a rule, its threads, and resources."""

    def job(rule, threads, resources):
        return SimpleNamespace(
            rule=SimpleNamespace(name=rule),
            threads=threads,
            resources=ResourceList(fromdict=resources),
            is_local=False,
            is_group=lambda: False,
        )

    return SimpleNamespace(needrun_jobs=lambda: [job(*each) for each in jobs])


@pytest.fixture
def sinfo(stand_in, monkeypatch):
    """Put a script in the place of ``sinfo``."""

    def put(script):
        program = str(stand_in("sinfo", script))
        monkeypatch.setattr(partitions, "SINFO", (program, *partitions.SINFO[1:]))

    return put


def test_a_run_ends_with_a_line_a_rule_before_anything_is_submitted(sinfo):
    sinfo(f"cat <<'END'\n{SINFO}END")
    fit, scan = {"slurm_partition": "cpu", "mem_mb": 10**6}, {"slurm_partition": "cpu", "mem_mb": 4000}
    with pytest.raises(SystemExit) as ended:
        Scheduler().check(a_graph(("fit", 1, fit), ("fit", 1, fit), ("scan", 100, scan), ("map", 1, scan)))
    lines = str(ended.value.code).splitlines()
    assert [line.split(" asks for ")[0] for line in lines] == ["hessgeo: fit", "hessgeo: scan"]
    Scheduler().check(a_graph(("map", 1, scan)))
    # By a command that submits, which names partitions by another resource.
    with pytest.raises(SystemExit, match=r"scan asks for .* partition gpu, .* or queue of scan$"):
        Scheduler().check(a_graph(("scan", 9, {"queue": "gpu"}), ("map", 9, {"queue": "cpu"})), "queue")


@pytest.mark.parametrize("script", ["echo 'no controller' >&2; exit 1", "exec sleep 5"])
def test_a_controller_that_does_not_answer_is_said_in_one_line(sinfo, script, monkeypatch):
    monkeypatch.setattr(partitions, "SECONDS", 0.5)
    sinfo(script)
    with pytest.raises(SystemExit, match=r"sinfo does not say what the partitions hold: .") as ended:
        Scheduler().check(a_graph())
    assert "\n" not in str(ended.value.code)


def test_memory_and_time_grow_with_the_attempt_up_to_what_a_node_has(sinfo):
    sinfo(f"cat <<'END'\n{SINFO}END")
    scheduler = Scheduler()
    own = {"mem_mb": 15_000, "runtime": 500, "slurm_partition": "gpu", "_cores": 2}
    expand = scheduler.grown(lambda rule, wildcards, files, attempt: ResourceList(fromdict=own))

    def at(attempt):
        found = expand(None, {}, [], attempt)
        return found.mem_mb, found.runtime, found._cores, found.slurm_partition

    assert at(1) == (15_000, 500, 2, "gpu")
    assert at(2) == (30_000, 1000, 2, "gpu")
    assert at(3) == (45_000, 1500, 2, "gpu")  # nothing is known of nodes: another executor
    scheduler.check(a_graph())
    assert at(3) == (32_000, 1500, 2, "gpu")
