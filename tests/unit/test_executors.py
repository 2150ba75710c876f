"""Executors of other packages: no job is lost while a controller is away, and none that is forgotten is waited for."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

from hessgeo.pipeline import executors


class Executor:
    """One that asks of its jobs as that of SLURM does: what is running it yields, and nothing if nobody answers."""

    logger = logging.getLogger(__name__)
    workflow = SimpleNamespace(executor_settings=SimpleNamespace(init_seconds_before_status_checks=40))
    next_seconds_between_status_checks = 170

    def __init__(self, states):
        self.states, self.done, self.failed = states, [], []

    def report_job_success(self, job):
        self.done.append(job.external_jobid)

    def report_job_error(self, job, msg=None):
        self.failed.append(job.external_jobid)

    async def check_active_jobs(self, active_jobs):
        if self.states is None:
            return
        for job in active_jobs:
            state = self.states.get(job.external_jobid)
            if state == "COMPLETED":
                self.report_job_success(job)
            elif state == "FAILED":
                self.report_job_error(job, msg="failed")
            else:
                yield job


@pytest.fixture
def kept():
    """A class of its own, kept twice, as where a Snakefile is read twice."""
    kind = type("Kept", (Executor,), {})
    executors.keep_jobs(kind)
    executors.keep_jobs(kind)
    return kind


@pytest.fixture
def squeue(stand_in, monkeypatch):
    """Put a script in the place of ``squeue``."""

    def put(script):
        program = str(stand_in("squeue", script))
        monkeypatch.setattr(executors, "SQUEUE", (program, *executors.SQUEUE[1:]))

    return put


JOBS = [SimpleNamespace(external_jobid=number) for number in ("1", "2", "3", "7_2")]


def checked(executor, jobs=JOBS):
    """Jobs that are at work still after a check."""

    async def run():
        return [job.external_jobid async for job in executor.check_active_jobs(list(jobs))]

    return asyncio.run(run())


def test_what_ended_is_reported_once_and_the_rest_is_at_work(kept, squeue):
    squeue("printf '1 1\\n2 2\\n3 3\\n9 7\\n'")
    executor = kept({"1": "COMPLETED", "2": "FAILED", "3": "RUNNING", "7_2": "PENDING"})
    assert checked(executor) == ["3", "7_2"]
    assert (executor.done, executor.failed) == (["1"], ["2"])
    assert executor.next_seconds_between_status_checks == 40


@pytest.mark.parametrize("script", ["exit 1", "exec sleep 5"])
def test_a_controller_that_does_not_answer_loses_no_job(kept, squeue, script, monkeypatch):
    monkeypatch.setattr(executors, "SECONDS", 0.2)
    squeue(script)
    executor = kept(None)
    for _ in range(executors.ASKED + 1):
        assert checked(executor) == ["1", "2", "3", "7_2"]
    assert executor.done == executor.failed == []


def test_a_job_that_is_forgotten_is_waited_for_a_few_times_and_then_its_outputs_are_looked_for(kept, squeue):
    squeue("printf '2 2\\n3 3\\n9 7\\n'")
    executor = kept({})
    for _ in range(executors.ASKED - 1):
        assert checked(executor) == ["1", "2", "3", "7_2"]
    squeue("exit 1")  # says nothing, and is no time that it was not known
    assert checked(executor) == ["1", "2", "3", "7_2"]
    squeue("printf '2 2\\n3 3\\n9 7\\n'")
    assert checked(executor) == ["2", "3", "7_2"]
    assert (executor.done, executor.failed) == (["1"], [])
    # One that is there again meanwhile is no stranger.
    squeue("printf '2 2\\n9 7\\n'")
    assert checked(executor, JOBS[1:]) == ["2", "3", "7_2"]
    squeue("printf '2 2\\n3 3\\n9 7\\n'")
    assert checked(executor, JOBS[1:]) == ["2", "3", "7_2"]
    squeue("printf '2 2\\n9 7\\n'")
    for _ in range(executors.ASKED - 1):
        assert checked(executor, JOBS[1:]) == ["2", "3", "7_2"]


def test_two_jobs_may_have_one_number_where_a_controller_forgot_the_first(kept, squeue):
    squeue("echo 2 2")
    again = [*JOBS[1:2], SimpleNamespace(external_jobid="2")]
    executor = kept({"2": "RUNNING"})
    assert checked(executor, again) == ["2", "2"]
    executor.states = {"2": "COMPLETED"}
    assert checked(executor, again) == []
    assert executor.done == ["2", "2"]


def test_the_executor_of_slurm_is_as_the_one_that_is_kept():
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm")
    assert hasattr(plugin.Executor, "check_active_jobs")
    assert all(hasattr(plugin.Executor, name) for name in ("report_job_success", "report_job_error"))
