"""Jobs side by side take a GPU each."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from hessgeo.workflow import context, gpus
from hessgeo.workflow.gpus import lease


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
    code = f"import time; from hessgeo.workflow.gpus import lease; held = lease(['a'], {str(tmp_path)!r})"
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
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    _, other = lease(["gpu-0"], tmp_path)
    assert context.pick_device.__wrapped__() == "cuda:1"
    other.close()


def test_without_a_gpu_there_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert context.pick_device.__wrapped__() == "cpu"
