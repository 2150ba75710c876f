"""Jobs of a scheduler: refused before submission where no node can hold them, and given more on each new attempt.

SLURM takes a job that asks for more than any node of its partition has, and lets it wait for ever without a word.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple, dataclass
from functools import wraps
from pathlib import PurePath
from typing import Any

from hessgeo.pipeline.config_files import SettingsError, one_line_each
from hessgeo.pipeline.executors import keep_jobs

# Executors whose jobs may go to SLURM, and the resource that names their partition.
PARTITION = {"slurm": "slurm_partition", "cluster-generic": "queue"}
# A line for all nodes of a partition that have the same: its name, CPUs, MB, generic resources, and its time limit.
SINFO = ("sinfo", "--noheader", "--exact", "--format=%P|%c|%m|%G|%l")
SECONDS = 60  # for an answer
GROWING = ("mem_mb", "mem_mib", "runtime")  # resources that a job may have had too little of
# What says more of nodes than a partition does: such jobs are not judged.
ELSEWHERE = ("clusters", "cluster", "slurm_cluster", "nodes", "mpi")
_GPU = re.compile(r"gpu(?::[^:,()]+)*?:(\d+)")
_TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


@dataclass(frozen=True)
class Amounts:
    """What a node has, or a job asks for: CPUs, MB of memory, GPUs, and minutes."""

    cpus: float
    memory_mb: float
    gpus: float
    minutes: float

    def within(self, most: Amounts) -> bool:
        """Whether there is enough of everything."""
        return all(mine <= theirs for mine, theirs in zip(astuple(self), astuple(most), strict=True))

    def __str__(self) -> str:
        parts = [_count(self.cpus, "CPU"), f"{self.memory_mb:,.0f} MB", _count(self.gpus, "GPU")]
        time = "any time" if math.isinf(self.minutes) else _count(self.minutes, "minute")
        return ", ".join([*parts, time])


def _count(amount: float, what: str) -> str:
    return f"{amount:,.0f} {what}{'' if amount == 1 else 's'}" if amount else f"no {what}"


def read_partitions(text: str) -> dict[str, list[Amounts]]:
    """What the nodes of each partition have, from the lines of ``SINFO``; that of jobs that name none is ``""``, too.

    Raises:
        ValueError: on a line of another form.
    """
    found: dict[str, list[Amounts]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, cpus, memory, gres, limit = line.split("|")
        # A plus stands after the least of nodes that differ.
        node = Amounts(int(cpus.rstrip("+")), int(memory.rstrip("+")), gpus_of(gres), _minutes(limit))
        found.setdefault(name.rstrip("*"), []).append(node)
        if name.endswith("*"):
            found.setdefault("", []).append(node)
    return found


def gpus_of(gres: str) -> int:
    """Number of GPUs in generic resources, as ``gpu:2`` or ``gpu:a100:4(S:0-1),shard:8``."""
    return sum(int(number) for number in _GPU.findall(gres))


def _minutes(limit: str) -> float:
    found = _TIME.fullmatch(limit)
    if not found:
        return math.inf  # infinite, or not set
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 1440 * days + 60 * hours + minutes + seconds / 60


def asked(threads: int, resources: Mapping[str, Any]) -> Amounts | None:
    """What SLURM is asked for a job of so many threads with these resources; None if its nodes are said otherwise."""
    if any(resources.get(name) for name in ELSEWHERE):
        return None
    cpus = int(resources.get("cpus_per_task") or threads) * int(resources.get("tasks") or 1)
    memory = resources.get("mem_mb") or 0
    if resources.get("mem_mb_per_cpu"):
        memory = int(resources["mem_mb_per_cpu"]) * cpus
    gpus = int(resources.get("gpu") or gpus_of(str(resources.get("gres", ""))))
    return Amounts(max(cpus, 1), float(memory), gpus, float(resources.get("runtime") or 0))


def partition_resource(workflow: Any) -> str | None:
    """The resource that names the partition of a job, if a workflow's executor submits to SLURM."""
    name = workflow.executor_plugin.name if workflow.executor_plugin else ""
    if name == "cluster-generic":
        command = (workflow.executor_settings.submit_cmd or "").split()
        if not command or PurePath(command[0]).name != "sbatch":
            return None  # of another scheduler, whose nodes sinfo does not know
    return PARTITION.get(name)


def refusals(
    jobs: Iterable[tuple[str, str, Amounts]],
    partitions: Mapping[str, list[Amounts]],
    resource: str = PARTITION["slurm"],
) -> list[str]:
    """A line for each rule with a job that no node of its partition can hold.

    Args:
        jobs: rule, partition (or several, with commas; empty for the default one), and what is asked.
        partitions: nodes of each.
        resource: what names the partition of a job.
    """
    lines: dict[str, str] = {}
    for rule, partition, wanted in dict.fromkeys(jobs):
        names = partition.split(",")
        unknown = [name for name in names if name not in partitions]
        nodes = [node for name in names for node in partitions.get(name, [])]
        if rule in lines or (not unknown and any(wanted.within(node) for node in nodes)):
            continue
        if unknown:
            known = ", ".join(filter(None, partitions))
            where = f"the partition {unknown[0]}" if unknown[0] else "the default partition"
            lines[rule] = (
                f"{rule} is for {where}, which sinfo does not have; it has {known}: {resource} of {rule} in the profile"
            )
            continue
        have = " or ".join(map(str, dict.fromkeys(nodes)))
        where = f"partition {partition}" if partition else "the default partition"
        lines[rule] = (
            f"{rule} asks for {wanted} in {where}, whose nodes have {have}, so it would wait for ever: "
            f"--set-threads {rule}=N, or in the profile's set-resources mem_mb, gpu, runtime or {resource} of {rule}"
        )
    return list(lines.values())


class Scheduler:
    """What is known of the partitions of a cluster, and what follows from it for jobs."""

    def __init__(self) -> None:
        self.partitions: dict[str, list[Amounts]] = {}
        self.resource = PARTITION["slurm"]

    def checked(
        self, lock: Callable[[Any], AbstractContextManager[None]]
    ) -> Callable[[Any], AbstractContextManager[None]]:
        """Snakemake's lock of a folder, before which jobs that no node can hold end the run, in a line a rule."""

        @wraps(lock)
        @contextmanager
        def locked(persistence: Any) -> Any:
            workflow = persistence.dag.workflow
            if resource := partition_resource(workflow):
                self.check(persistence.dag, resource)
            if workflow.executor_plugin and workflow.executor_plugin.name == "slurm":
                keep_jobs(workflow.executor_plugin.executor)
            with lock(persistence):
                yield

        return locked

    def check(self, dag: Any, resource: str = PARTITION["slurm"]) -> None:
        """Refuse what no node can hold; ``resource`` names the partition of a job.

        Raises:
            SystemExit: with a line for each rule.
        """
        try:
            done = subprocess.run(SINFO, capture_output=True, text=True, check=True, timeout=SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            reason = " ".join(str(getattr(error, "stderr", "") or error).split())
            sys.exit(f"hessgeo: sinfo does not say what the partitions hold: {reason}")
        self.partitions, self.resource = read_partitions(done.stdout), resource
        jobs = []
        for job in dag.needrun_jobs():
            wanted = None if job.is_group() or job.is_local else asked(job.threads, job.resources)
            if wanted is not None:
                jobs.append((job.rule.name, str(job.resources.get(resource, "")), wanted))
        with one_line_each():
            if lines := refusals(jobs, self.partitions, resource):
                raise SettingsError(lines)

    def grown(self, expand: Callable[..., Any]) -> Callable[..., Any]:
        """Snakemake's evaluation of resources, with as many times the memory and the time as this is an attempt.

        A job that was killed had perhaps too little of one. More than any node of its partition has is not asked for.
        """

        @wraps(expand)
        def expanded(
            rule: Any, wildcards: Any, files: Any, attempt: int, *arguments: Any, **options: Any
        ) -> Any:
            resources = expand(rule, wildcards, files, attempt, *arguments, **options)
            if attempt == 1:
                return resources
            values = dict(resources.items())
            for name in GROWING:
                if isinstance(own := values.get(name), int):
                    most = self._most(name, str(values.get(self.resource, "")))
                    values[name] = int(max(own, min(own * attempt, most)))
            return type(resources)(fromdict=values)

        return expanded

    def _most(self, name: str, partition: str) -> float:
        nodes = [node for part in partition.split(",") for node in self.partitions.get(part, [])]
        amounts = {
            "mem_mb": [node.memory_mb for node in nodes],
            "mem_mib": [node.memory_mb * 1e6 / 2**20 for node in nodes],
            "runtime": [node.minutes for node in nodes],
        }
        return max(amounts[name], default=math.inf)
