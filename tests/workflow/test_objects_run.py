"""A study whose samples, embeddings and posterior lie in a bucket is the local one, whatever the server does."""

import shutil

import pytest
from buckets import serving

from hessgeo.store import pointed, read_record, voucher_file

pytestmark = pytest.mark.slow
ARRAYS = ("t", "image", "embedding")


def digests(workflow):
    """What sidecars say of the bytes of all shards, and vouchers of those of the posterior and the fit of it."""
    sidecars = (read_record(workflow(path)) for path in workflow.sidecars(*ARRAYS))
    vouchers = [read_record(voucher_file(workflow(path))) for path in results(workflow)]
    return [[record[key] for key in ("bytes", "sha256", "tail")] for record in sidecars], vouchers


def results(workflow):
    return [workflow.study.path(name) for name in ("posterior.zarr", "free_energy.nc")]


def test_a_study_in_a_bucket_is_the_local_one(finished, copied, tmp_path):
    with serving(tmp_path / "s3") as server:
        workflow = copied(storage={"url": server.url, "patience": 30})
        workflow.environment = server.environment
        shutil.rmtree(workflow(workflow.study.samples))
        for path in results(workflow):
            voucher_file(workflow(path)).unlink()
        shutil.rmtree(workflow(results(workflow)[0]))

        # The first job finds out that it may not write, and says so; nothing is begun.
        server.user = "another"
        refused = workflow.run(*results(workflow), check=False)
        line = "ObjectStoreError: s3://bucket/some/runs/.hessgeo is refused (InvalidAccessKeyId); allowed: credentials"
        assert refused.returncode != 0
        assert refused.stderr.count(line) == 1
        assert not any(workflow(path).exists() for path in workflow.shards("image"))

        # What passes by itself is waited for.
        server.user = server.environment["AWS_ACCESS_KEY_ID"]
        server.faults = {"slow_down": 2, "cut_upload": 2, "cut_download": 2, "broken": 2}
        workflow.run(*results(workflow))
        assert set(server.faults.values()) == {0}
        assert all(pointed(workflow(path)) for path in workflow.shards(*ARRAYS))
        assert digests(workflow) == digests(finished)

        # One object is gone, another is not what it was: their jobs are due, and no other.
        paths = workflow.shards("image")
        objects = [server.folder / path.removeprefix("results/") for path in paths]
        objects[1].unlink()
        objects[2].write_bytes(objects[0].read_bytes())
        before = workflow.times(paths)
        found = workflow.run("verify", check=False)
        assert found.returncode != 0
        assert "shard 1 is missing" in found.stdout
        assert "shard 2 is " in found.stdout
        workflow.run(*results(workflow))
        after = workflow.times(paths)
        assert [before[path] == after[path] for path in paths] == [True, False, False, True]
        assert digests(workflow) == digests(finished)
