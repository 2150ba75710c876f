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

from hessgeo import store
from hessgeo.pipeline import context
from hessgeo.pipeline.context import (
    ProgressLog,
    close_log,
    explain_killed,
    prepare_jobs,
    repeat_command,
    script_context,
)


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


@pytest.mark.parametrize(("spread", "threads"), [(False, 1), (True, 3)])
def test_torch_and_blas_have_one_thread_unless_a_script_lets_them_have_those_of_its_job(job, spread, threads):
    job.threads = 3
    with script_context(job, spread=spread) as step:
        assert step.threads == 3
        assert torch.get_num_threads() == threads
        np.ones((2, 2)) @ np.ones((2, 2))
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {threads}
        assert {os.environ[variable] for variable in context.THREAD_VARIABLES} == {str(threads)}


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
    monkeypatch.setenv(context.COMMAND, "")
    prepare_jobs("/checkout", "snakemake --cores all")
    assert os.environ["PYTHONPATH"] == os.pathsep.join(["/checkout", "/elsewhere"])
    monkeypatch.delenv("PYTHONPATH")
    prepare_jobs("/checkout", "snakemake --cores all")
    assert os.environ["PYTHONPATH"] == "/checkout"
    assert os.environ["OMP_WAIT_POLICY"] == "active"  # whoever sets it means it


def test_the_command_that_repeats_a_run_holds_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    plain = f"snakemake --snakefile /checkout/Snakefile --directory {tmp_path}"
    assert repeat_command("/checkout/Snakefile", [], []) == f"{plain} --cores all"
    files, settings = ["/settings/my study.yaml", "/settings/b.yaml"], ["seed=3"]
    assert repeat_command("/checkout/Snakefile", files, settings) == (
        f"{plain} --configfile '/settings/my study.yaml' /settings/b.yaml --config seed=3 --cores all"
    )


@pytest.fixture
def at_work(job, tmp_path, monkeypatch):
    """A job that reads a result of another and writes one of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(context.COMMAND, "snakemake --directory /run --cores all")
    store.write_json("results/moments.json", {"mean": 1})
    store.vouch(["results/moments.json"])
    job.input, job.output = ["results/moments.json"], ["results/fit.json"]
    job.config = {"results": "results"}
    return job


def test_a_job_vouches_for_what_it_wrote(at_work):
    with script_context(at_work) as step:
        store.write_json(step.output[0], {"N": 3})
        assert not store.voucher_file("results/fit.json").exists()
    assert store.fault("results/fit.json") is None
    # Done again, it vouches for nothing until it has ended well.

    def fail(step):
        assert not store.voucher_file("results/fit.json").exists()
        store.write_json(step.output[0], {"N": 4})
        raise RuntimeError

    with pytest.raises(SystemExit), script_context(at_work) as step:
        fail(step)
    assert store.fault("results/fit.json") == "has nothing that vouches for it"


@pytest.mark.parametrize("damage", ["content", "voucher"])
def test_a_job_does_not_start_on_a_damaged_input(at_work, damage, capsys):
    if damage == "content":
        store.write_json("results/moments.json", {"mean": 2})
    else:
        store.voucher_file("results/moments.json").unlink()
    worked = []
    with pytest.raises(SystemExit), script_context(at_work):
        worked.append(True)
    assert worked == []
    told = {"content": "holds other bytes than were written", "voucher": "has nothing that vouches for it"}
    line = capsys.readouterr().err
    assert line == (
        f"hessgeo: fit_free_energy (study digits) failed: StoreError: results/moments.json {told[damage]}; to remove "
        "what is damaged, before the same run again: snakemake --directory /run --cores all verify "
        f"(log: {at_work.log[0]})\n"
    )


def test_a_file_of_a_users_own_needs_no_voucher(at_work, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"mine")
    at_work.input = [str(tmp_path / "weights.safetensors"), "results/moments.json"]
    with script_context(at_work) as step:
        store.write_json(step.output[0], {"N": 3})


def test_the_log_of_a_killed_job_says_that_it_was_killed(tmp_path):
    never, begun, ended, failed = (
        tmp_path / "logs" / f"{name}.log" for name in ("never", "begun", "ended", "failed")
    )
    never.parent.mkdir()
    begun.write_text("fit on 1 threads\n")
    ended.write_text("fit on 1 threads\ndone in 3.0 s\n")
    failed.write_text("Traceback (most recent call last)\n")
    shown = []
    report = explain_killed(lambda job, message: shown.append(message))
    report(SimpleNamespace(log=[never, begun, ended, failed]), "Error in rule")
    assert shown == ["Error in rule"]
    for log in (never, begun):
        assert "it was killed" in log.read_text()
    assert begun.read_text().startswith("fit on 1 threads\n")
    assert "killed" not in ended.read_text() + failed.read_text()
    close_log(tmp_path / "new" / "deep.log")
    assert (tmp_path / "new" / "deep.log").exists()
