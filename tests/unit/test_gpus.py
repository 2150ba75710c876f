"""Jobs side by side take a GPU each."""

import os
import stat
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from hessgeo.pipeline import context, gpus
from hessgeo.pipeline.gpus import lease
from hessgeo.weights.own_folder import own_folder


def test_each_lease_is_another_device_until_it_ends(tmp_path):
    first, one = lease(["a", "b"], tmp_path)
    second, two = lease(["a", "b"], tmp_path)
    assert {first, second} == {0, 1}
    one.close()
    again, three = lease(["a", "b"], tmp_path)
    assert again == first
    two.close()
    three.close()


def test_a_job_waits_for_a_process_that_has_the_device(tmp_path):
    code = f"import time; from hessgeo.pipeline.gpus import lease; held = lease(['a'], {str(tmp_path)!r})"
    code += "; print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError):
            gpus.fcntl.flock(
                (tmp_path / next(tmp_path.iterdir()).name).open("w"), gpus.fcntl.LOCK_EX | gpus.fcntl.LOCK_NB
            )
    finally:
        process.kill()  # no chance to clean up: the system lifts the lock
        process.wait()
    start = time.monotonic()
    place, lock = lease(["a"], tmp_path)
    assert place == 0
    assert time.monotonic() - start < 5
    lock.close()


def test_no_device_is_no_wait():
    with pytest.raises(ValueError, match="no device"):
        lease([])


def test_a_job_gets_the_gpu_that_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda k: SimpleNamespace(uuid=f"gpu-{k}"))
    monkeypatch.setattr(context, "_leases", [])
    monkeypatch.setattr(gpus, "own_folder", lambda: tmp_path)
    _, other = lease(["gpu-0"])
    assert context.pick_device.__wrapped__() == "cuda:1"
    other.close()


@pytest.mark.parametrize("apple", [False, True])
def test_without_a_gpu_of_cuda_there_is_the_cpu(monkeypatch, caplog, apple):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
    with caplog.at_level("INFO"):
        assert context.pick_device.__wrapped__() == "cpu"
    assert ("Apple's GPU is not used" in caplog.text) == apple


# --- what others may have put in a shared folder ---


def test_a_lock_follows_no_link_and_empties_no_file(tmp_path):
    precious = tmp_path / "thesis.tex"
    precious.write_text("years of work")
    lock = tmp_path / "a.lock"
    lock.symlink_to(precious)
    with pytest.raises(ValueError, match=r"a\.lock cannot be opened .* must be a regular file"):
        lease(["a"], tmp_path)
    assert precious.read_text() == "years of work"
    lock.unlink()
    lock.write_text("kept")
    lease(["a"], tmp_path)[1].close()
    assert lock.read_text() == "kept"


def test_a_program_that_a_job_starts_does_not_keep_its_gpu(tmp_path):
    _, lock = lease(["a"], tmp_path)
    process = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        lock.close()
        assert not os.get_inheritable(lease(["a"], tmp_path)[1].fileno())
    finally:
        process.kill()
        process.wait()


def test_the_folder_of_locks_is_made_for_its_user_alone(tmp_path):
    folder = own_folder(tmp_path)
    assert folder == tmp_path / f"hessgeo-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert own_folder(tmp_path) == folder


@pytest.mark.parametrize("kind", ["link", "file", "open", "another's", "no place"])
def test_another_thing_in_its_place_is_refused(tmp_path, monkeypatch, kind):
    path, elsewhere = tmp_path / f"hessgeo-{os.getuid()}", tmp_path / "elsewhere"
    if kind == "link":
        elsewhere.mkdir(mode=0o700)
        path.symlink_to(elsewhere)
    elif kind == "file":
        path.touch()
    elif kind == "open":
        path.mkdir()
        path.chmod(0o770)
    elif kind == "another's":
        path.mkdir(mode=0o700)
        uid = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)
        path.rename(tmp_path / f"hessgeo-{uid + 1}")
    with pytest.raises(ValueError, match="must be a folder of your own that nobody else may enter") as raised:
        own_folder(tmp_path / "gone" if kind == "no place" else tmp_path)
    assert "\n" not in str(raised.value)
    assert not any(elsewhere.glob("*"))


def test_a_system_without_locks_is_told_so_in_one_line():
    code = "import sys; sys.modules['fcntl'] = None; import hessgeo.pipeline.gpus"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: the workflow runs on Linux and macOS; on Windows, in its subsystem for Linux (WSL)"
    )
