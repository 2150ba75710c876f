"""Snakemake's executors of other packages, where a run through them would wait for ever, or could not begin.

That of SLURM keeps jobs by what ``squeue`` says of them. Two things it takes ill: a controller that does not answer,
when it loses all jobs that it asked for, and a job that the controller has forgotten, for which it goes on to ask. That
of Kubernetes takes it that pods share no files.
"""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from functools import wraps
from typing import Any

from hessgeo.pipeline.patches import patch

# Number of a job, and of the array it is of.
SQUEUE = ("squeue", "--noheader", "--states=all", "--format=%A %F")
SECONDS = 60  # for an answer
ASKED = 3  # times, one after another, that a job is not known before it counts as ended

Check = Callable[[Any, list[Any]], AsyncGenerator[Any, None]]


def keep_jobs(executor: type) -> None:
    """Let a class of executors of SLURM lose no job, and wait for none that is gone.

    Args:
        executor: its method ``check_active_jobs`` is replaced.
    """
    patch(executor, "check_active_jobs", without_lost)


def without_lost(check: Check) -> Check:
    """An executor's check of its jobs, which reports those that ended and yields the others; all of them, and evenly.

    One that ``squeue`` does not know any more has ended, as far as anybody can say: a controller that was killed before
    it wrote the job down ends it, and one that ended long ago was taken off the list. It is reported as done. Snakemake
    then looks for its outputs, which are whole or not there, and sends it again where they are not.
    """
    unknown: Counter[str] = Counter()

    @wraps(check)
    async def checked(executor: Any, active_jobs: list[Any]) -> AsyncGenerator[Any, None]:
        # Not by number: a controller that forgot a job gives its number to another.
        left = {id(job): job for job in active_jobs}
        _note_ended(executor, left)
        known = await known_numbers()
        async for job in check(executor, active_jobs):
            number = left.pop(id(job)).external_jobid
            if known is not None:
                unknown[number] = 0 if number.partition("_")[0] in known else unknown[number] + 1
            if unknown[number] < ASKED:
                yield job
                continue
            del unknown[number]
            executor.logger.warning(f"SLURM does not know job {number} any more; its outputs are looked for.")
            executor.report_job_success(job)
        for job in left.values():  # of which nothing was said, for the controller was away
            yield job
        # Its own pauses grow to three minutes while no job ends; where one job follows another, half of that is idle.
        pause = executor.workflow.executor_settings.init_seconds_before_status_checks
        executor.next_seconds_between_status_checks = pause

    return checked


def _note_ended(executor: Any, left: dict[int, Any]) -> None:
    """Take jobs that an executor reports out of those that are left."""
    for name in ("report_job_success", "report_job_error"):
        report = getattr(type(executor), name)

        def noted(job: Any, *arguments: Any, report: Any = report, **options: Any) -> None:
            left.pop(id(job), None)
            report(executor, job, *arguments, **options)

        setattr(executor, name, noted)


async def known_numbers() -> set[str] | None:
    """Numbers of all jobs that SLURM knows, or None where it does not say."""
    try:
        asking = await asyncio.create_subprocess_exec(
            *SQUEUE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        said, _ = await asyncio.wait_for(asking.communicate(), SECONDS)
    except TimeoutError:
        asking.kill()
        await asking.wait()
        return None
    return set(said.decode().split()) if asking.returncode == 0 else None


def share_volume() -> None:
    """Let jobs of Kubernetes begin in the folder of the run, on a volume that all pods see at the same place.

    The executor says of itself that pods share nothing, and so carries inputs and outputs through a bucket, one by one.
    A step of the workflow reads more than Snakemake knows of: vouchers, sidecars and arrays beside its inputs.
    """
    import snakemake_executor_plugin_kubernetes as plugin

    plugin.common_settings.implies_no_shared_fs = False
    plugin.common_settings.job_deploy_sources = False
    plugin.Executor.get_job_exec_prefix = lambda self, job: f"cd {shlex.quote(self.workflow.workdir_init)}"
