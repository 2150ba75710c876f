"""A study whose samples, embeddings and posterior lie in a bucket is the local one, whatever the server does."""

import shutil

import pytest
from buckets import serving

from hessgeo.store import pointed, read_record, voucher_file

pytestmark = pytest.mark.slow
ARRAYS = ("t", "image", "embedding")


def digests(workflow):
    """What sidecars say of the bytes of all shards, and the voucher of those of the posterior."""
    sidecars = (read_record(workflow(path)) for path in workflow.sidecars(*ARRAYS))
    posterior = workflow(workflow.study.path("posterior.zarr"))
    kept = ("bytes", "sha256", "tail")
    return [[record[key] for key in kept] for record in sidecars], read_record(voucher_file(posterior))


def test_a_study_in_a_bucket_is_the_local_one(finished, copied, tmp_path):
    with serving(tmp_path / "s3") as server:
        workflow = copied(storage={"url": server.url, "patience": 30})
        workflow.environment = server.environment
        posterior = workflow.study.path("posterior.zarr")
        for path in (workflow.study.samples, posterior):
            shutil.rmtree(workflow(path))

        # The first job finds out that it may not write, and says so; nothing is begun.
        server.user = "another"
        refused = workflow.run(posterior, check=False)
        line = "ObjectStoreError: s3://bucket/some/runs/.hessgeo is refused (InvalidAccessKeyId); allowed: credentials"
        assert refused.returncode != 0
        assert sum(line in said for said in refused.stderr.splitlines() if said.startswith("hessgeo:")) == 1
        assert not any(workflow(path).exists() for path in workflow.shards("image"))

        # What passes by itself is waited for.
        server.user = server.environment["AWS_ACCESS_KEY_ID"]
        server.faults = {"slow_down": 2, "cut_upload": 2, "cut_download": 2, "broken": 2}
        workflow.run(posterior)
        assert set(server.faults.values()) == {0}
        assert all(pointed(workflow(path)) for path in workflow.shards(*ARRAYS))
        assert digests(workflow) == digests(finished)

        # One object is gone, another is not what it was: their jobs are due, and no other.
        paths = workflow.shards("image")
        first, *_, last = (server.folder / path.removeprefix("results/") for path in paths)
        first.write_bytes(last.read_bytes())
        last.unlink()
        before = workflow.times(paths)
        found = workflow.run("verify", check=False)
        assert found.returncode != 0
        assert f"shard {len(paths) - 1} is missing" in found.stdout
        assert "shard 0 is " in found.stdout
        workflow.run(*paths)
        made = [path for path, time in workflow.times(paths).items() if time != before[path]]
        assert made == [paths[0], paths[-1]]
        assert digests(workflow) == digests(finished)
