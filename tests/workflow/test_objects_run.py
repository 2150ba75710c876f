"""A study whose samples, embeddings and posterior lie in a bucket is the local one, whatever the server does."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from buckets import serving
from kills import wait_for

from hessgeo.store import pointed, read_record, voucher_file

pytestmark = pytest.mark.slow
ARRAYS = ("t", "image", "embedding")


def digests(workflow):
    """What sidecars say of the bytes of all shards, and the voucher of those of the posterior."""
    sidecars = (read_record(workflow(path)) for path in workflow.sidecars(*ARRAYS))
    posterior = workflow(workflow.study.path("posterior.zarr"))
    kept = ("bytes", "sha256", "tail")
    return [[record[key] for key in kept] for record in sidecars], read_record(voucher_file(posterior))


def interrupted(workflow, some, array, interrupt, **options):
    """What a run says in whose midst something happens, once there are some shards of an array, any or all."""

    def made():
        return some(workflow(path).exists() for path in workflow.sidecars(array))

    process = workflow.begin(workflow.study.path("posterior.zarr"), output=subprocess.PIPE, **options)
    with ThreadPoolExecutor(1) as reader:
        said = reader.submit(process.communicate, timeout=300)
        wait_for(made, process)
        interrupt()
    assert process.returncode != 0
    lines = [line for line in said.result()[0].splitlines() if line.startswith("hessgeo: ")]
    # One job was at work; no other is begun, to wait in vain and say the same.
    assert len(lines) == 2, lines
    assert "no more jobs are begun, for the object store cannot be asked; when it can be" in lines[1]
    return lines[0]


def test_a_study_in_a_bucket_is_the_local_one(finished, copied, tmp_path):
    with ExitStack() as power:
        server = power.enter_context(serving(tmp_path / "s3"))
        workflow = copied(storage={"url": server.url, "patience": 2})
        workflow.environment = server.environment
        posterior = workflow.study.path("posterior.zarr")
        for path in (workflow.study.samples, posterior):
            shutil.rmtree(workflow(path))
        for path in workflow.sidecars("image", "embedding"):
            workflow(path).unlink()

        # Credentials expire while samples are made: one line, and no waiting.
        line = interrupted(workflow, any, "image", lambda: setattr(server, "user", "another"), cores=1)
        assert "is refused (InvalidAccessKeyId); allowed: credentials in the environment" in line
        server.user = server.environment["AWS_ACCESS_KEY_ID"]
        # The server goes away before a job that reads them all.
        line = interrupted(workflow, all, "embedding", power.close)
        assert "cannot be reached (Connection refused); nothing is lost" in line
        before = workflow.times(workflow.sidecars(*ARRAYS))

    with serving(tmp_path / "s3", server.server_port) as server:
        # What passes by itself is waited for, and the run goes on where it stopped.
        workflow.change(storage={"patience": 30})
        server.faults = {"slow_down": 2, "cut_upload": 2, "cut_download": 2, "broken": 2}
        workflow.run(posterior)
        assert set(server.faults.values()) == {0}
        assert workflow.times(before) == before
        assert all(pointed(workflow(path)) for path in workflow.shards(*ARRAYS))
        assert digests(workflow) == digests(finished)

        # One object is gone, another is not what it was: their jobs are due, and no other.
        paths = workflow.shards("image")
        first, *_, last = (server.folder / path.removeprefix("results/") for path in paths)
        first.write_bytes(last.read_bytes())
        last.unlink()
        (server.folder / "mine.txt").write_text("mine")
        found = workflow.run("verify", check=False)
        assert found.returncode != 0
        assert f"shard {len(paths) - 1} is missing" in found.stdout
        assert "shard 0 is " in found.stdout
        assert "runs/mine.txt is pointed to by nothing here, and left in the bucket" in found.stdout
        planned = workflow.run("--dry-run", *paths).stdout
        due = re.findall(r"^Job \d+: (Generate shard \d+|.*)", planned, re.MULTILINE)
        assert sorted(due) == ["Generate shard 0", f"Generate shard {len(paths) - 1}"]
