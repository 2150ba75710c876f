"""The context of a script: its log, its threads, its seed, and how it ends when the work fails."""

import io
import logging
import os
import random
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl
import torch
from tqdm import tqdm

from hessgeo.workflow import context
from hessgeo.workflow.context import ProgressLog, prepare_jobs, script_context


@pytest.fixture
def job(tmp_path, monkeypatch):
    """What Snakemake gives to a script. Everything that the context sets for its process is put back."""
    for variable in context.THREAD_VARIABLES:
        monkeypatch.setenv(variable, os.environ.get(variable, "2"))
    threads, handlers = torch.get_num_threads(), logging.root.handlers[:]
    level, limits = logging.root.level, threadpoolctl.threadpool_info()
    yield SimpleNamespace(
        rule="fit_free_energy",
        input=SimpleNamespace(),
        output=SimpleNamespace(),
        params={"seed": 7},
        wildcards={"study": "digits"},
        log=[str(tmp_path / "logs" / "fit.log")],
        threads=1,
    )
    torch.set_num_threads(threads)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.captureWarnings(False)
    threadpoolctl.threadpool_limits({pool["prefix"]: pool["num_threads"] for pool in limits})


def read_log(job):
    with open(job.log[0], encoding="utf-8") as log:
        return log.read()


def test_messages_and_warnings_go_to_the_log(job):
    screen = sys.stderr
    with script_context(job) as step:
        logging.getLogger("hessgeo").info("resolution %g", 20)
        warnings.warn("flat posterior", stacklevel=1)
        assert step.name == "fit_free_energy"
    log = read_log(job)
    assert "fit_free_energy (study digits) on 1 threads" in log
    assert "resolution 20" in log
    assert "flat posterior" in log
    assert "done in" in log
    assert sys.stderr is screen


def test_a_failure_is_one_line_and_a_traceback_in_the_log(job, capsys):
    with pytest.raises(SystemExit) as ended, script_context(job):
        raise ValueError("no positive\neigenvalue")
    assert ended.value.code == 1
    reason = "ValueError: no positive eigenvalue"
    expected = f"hessgeo: fit_free_energy (study digits) failed: {reason} (log: {job.log[0]})\n"
    assert capsys.readouterr().err == expected
    assert "Traceback (most recent call last)" in read_log(job)
    assert "done in" not in read_log(job)


def test_threads_bind_torch_and_blas(job):
    with script_context(job):
        assert torch.get_num_threads() == 1
        np.ones((2, 2)) @ np.ones((2, 2))
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}
        assert {os.environ[variable] for variable in context.THREAD_VARIABLES} == {"1"}


def test_the_seed_makes_even_global_randomness_repeat(job):
    draws = []
    for _ in range(2):
        with script_context(job):
            draws.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]


def test_a_bar_is_a_line_a_minute_in_the_log_and_moves_on_a_terminal(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(context.time, "monotonic", lambda: clock[0])
    log, terminal = io.StringIO(), io.StringIO()
    stream = ProgressLog(log, terminal)
    for _ in tqdm(range(13), desc="training", file=stream, mininterval=0, miniters=1):
        clock[0] += 10
    lines = [line for line in log.getvalue().splitlines() if line.startswith("training")]
    # 130 seconds: one line at the start, two after a minute each.
    assert len(lines) == 3
    assert terminal.getvalue().count("\r") > 10
    stream.write("a message\n")
    assert log.getvalue().endswith("a message\n")
    assert "a message" not in terminal.getvalue()


def test_jobs_of_other_environments_find_this_package_first(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    prepare_jobs("/checkout")
    assert os.environ["PYTHONPATH"] == os.pathsep.join(["/checkout", "/elsewhere"])
    monkeypatch.delenv("PYTHONPATH")
    prepare_jobs("/checkout")
    assert os.environ["PYTHONPATH"] == "/checkout"
    assert os.environ["OMP_WAIT_POLICY"] == "active"  # whoever sets it means it
