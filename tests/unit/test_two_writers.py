"""Two processes that write one result, or run in one folder: a file is one writer's, and one of two runs is refused."""

import json
import os
import platform
import signal
import threading
import time
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import psutil
import pytest
from snakemake.scheduling.job_scheduler import JobScheduler
from writing import forked

from hessgeo import store
from hessgeo.pipeline import orphans, runs
from hessgeo.store.files import alone

ROUNDS = 15


def write_again_and_again(path, letter):
    def work():
        for length in range(ROUNDS):
            # In two steps, as large files are written; another writer may come between them.
            with store.whole(path) as partial, partial.open("w") as file:
                file.write(letter * (1000 + length))
                file.flush()
                os.sched_yield()
                file.write("\n")

    return work


def test_a_file_with_two_writers_is_always_that_of_one(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("a\n")
    writers = {forked(write_again_and_again(path, letter)) for letter in "abc"}
    seen = set()
    while writers:
        text = path.read_text()
        assert text.endswith("\n")
        assert len(set(text[:-1])) == 1
        seen.add(text[0])
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            assert status == 0
            writers.remove(pid)
    assert [file.name for file in tmp_path.iterdir()] == ["numbers.txt"]


def test_a_folder_with_two_writers_is_always_that_of_one(tmp_path):
    path = tmp_path / "posterior.zarr"

    def write(letter):
        def work():
            for _ in range(ROUNDS):
                with store.whole(path) as partial:
                    partial.mkdir()
                    for name in ("one", "two"):
                        (partial / name).write_text(letter)
                        os.sched_yield()
                    store.files.discard(path)  # as posteriors are replaced

        return work

    writers = [forked(write(letter)) for letter in "abc"]
    assert [os.waitpid(pid, 0)[1] for pid in writers] == [0, 0, 0]
    assert len({(path / name).read_text() for name in ("one", "two")}) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["posterior.zarr"]


def test_what_a_killed_writer_left_stands_in_nobodys_way(tmp_path):
    path = tmp_path / "numbers.txt"

    def work():
        with store.whole(path) as partial:
            partial.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(forked(work), 0)
    assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == [".numbers.txt.partial"]
    with store.whole(path) as partial:
        assert not partial.exists()
        partial.write_text("all")
    assert path.read_text() == "all"
    assert [file.name for file in tmp_path.iterdir()] == ["numbers.txt"]


def test_on_a_disk_without_locks_each_writer_has_a_name_of_its_own(tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError

    monkeypatch.setattr(store.files.fcntl, "flock", no_locks)
    path = tmp_path / "metric.nc"
    with store.whole(path) as one:
        with store.whole(path) as two:
            one.write_text("one")
            two.write_text("two")
        assert path.read_text() == "two"
    assert path.read_text() == "one"


def test_somebodys_file_in_the_place_of_a_folder_is_kept(tmp_path):
    (tmp_path / "c").write_text("mine")
    with alone(tmp_path / "c" / "0") as locked:
        assert locked
    assert (tmp_path / "c.set-aside").read_text() == "mine"


class Persistence:
    """What ``one_run`` asks of Snakemake's."""

    def __init__(self, path, *rules, locked=False):
        self.path, self.locked = path, locked
        self.dag = SimpleNamespace(jobs=[SimpleNamespace(rule=SimpleNamespace(name=name)) for name in rules])

    def cleanup_locks(self):
        self.locked = False

    @contextmanager
    def lock(self):
        assert not self.locked
        yield


LOCKED = runs.one_run(Persistence.lock, again="snakemake --cores all", results="nowhere")


def test_of_two_runs_in_one_folder_the_second_is_refused_in_one_line(tmp_path):
    with LOCKED(Persistence(tmp_path, "all", "fit_free_energy")):
        with pytest.raises(SystemExit) as refused, LOCKED(Persistence(tmp_path, "verify")):
            pytest.fail("a verification in the midst of a run would remove what is being written")
        with LOCKED(Persistence(tmp_path, "plan")):
            pass
    message = str(refused.value)
    assert message.startswith(
        f"hessgeo: a run is at work in {tmp_path.parent} already (process {os.getpid()} on "
    )
    assert message.endswith("; wait for its end, or stop it")
    assert "\n" not in message
    with LOCKED(Persistence(tmp_path, "verify")):
        pass


def test_locks_of_a_run_that_was_killed_are_lifted_those_of_another_machine_are_not(tmp_path):
    def work():
        with LOCKED(Persistence(tmp_path, "all")):
            os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(forked(work), 0)
    left = Persistence(tmp_path, "all", locked=True)
    with LOCKED(left):
        assert not left.locked
    # A run that came to its end leaves none: these are those of somebody else.
    for record, words in (
        ("", "by a run of which nothing is known"),
        (json.dumps({"machine": f"not-{platform.node()}"}), f"by a run on not-{platform.node()}"),
    ):
        (tmp_path / runs.LOCK).write_text(record)
        for _ in range(2):  # nor does being refused once lift them
            with (
                pytest.raises(SystemExit, match=f"{words}; .*--unlock"),
                LOCKED(Persistence(tmp_path, "all", locked=True)),
            ):
                pytest.fail("locked")


def test_a_job_ends_with_the_run_that_started_it(monkeypatch, tmp_path):
    monkeypatch.setattr(orphans, "POLL_SECONDS", 0.05)

    def run():
        orphans.announce_run()

        def job():
            orphans.end_with_run()
            time.sleep(60)

        (tmp_path / "job").write_text(str(forked(job)))
        time.sleep(60)

    parent = forked(run)
    while not (tmp_path / "job").exists() or not (tmp_path / "job").read_text():
        time.sleep(0.01)
    job = psutil.Process(int((tmp_path / "job").read_text()))
    time.sleep(0.2)
    assert job.is_running()
    os.kill(parent, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while psutil.pid_exists(job.pid) and job.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.waitpid(parent, 0)


@pytest.mark.parametrize("value", ["", "none", "1", "999999999 1.0", "{self} 1.0"])
def test_a_job_without_a_run_goes_on(monkeypatch, value):
    monkeypatch.setenv(orphans.RUN, value.format(self=os.getpid()))
    orphans.end_with_run()


def test_a_run_that_is_told_to_stop_as_it_holds_its_lock_stops():
    scheduler = SimpleNamespace(_lock=threading.Lock(), _user_kill=None, _open_jobs=threading.Semaphore(0))
    taken = JobScheduler.exit_gracefully
    stop = partial(runs.in_a_thread(getattr(taken, "before_hessgeo", taken)), scheduler)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with scheduler._lock:
            os.kill(os.getpid(), signal.SIGTERM)  # Snakemake's own handler waits here for ever
            assert scheduler._user_kill is None
        assert scheduler._open_jobs.acquire(timeout=10)
        assert scheduler._user_kill == "graceful"
    finally:
        signal.signal(signal.SIGTERM, before)
