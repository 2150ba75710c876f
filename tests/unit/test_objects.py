"""Shards and posteriors that are kept as objects are those that would lie in files, whatever the server does."""

import traceback
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from buckets import serving
from zarr.storage import ObjectStore

from hessgeo import store
from hessgeo.pipeline.runs import stops_without_store
from hessgeo.posteriors import read_posterior, write_posterior
from hessgeo.posteriors.base import Posterior
from hessgeo.store import ObjectStoreError, ShardState, StoreError, objects
from hessgeo.store.beside import look_beside

ROWS, SHARD = 24, 12
IMAGES = np.random.default_rng(0).integers(0, 256, (ROWS, 32, 32, 3), dtype="u1")


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    with serving(tmp_path / "s3") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        objects._client.cache_clear()
        yield server
        objects._client.cache_clear()


def write(root, shards=(0, 1)):
    path = root / "study" / "samples" / "layout.zarr"
    points = np.random.default_rng(1).random((ROWS, 2))
    arrays = {"image": (IMAGES.shape[1:], "u1")}
    store.create_samples(path, points=points, arrays=arrays, shard=SHARD, attributes={})
    for shard in shards:
        store.write_shard(path, "image", shard, IMAGES[store.shard_rows(path, "image", shard)], about={})
    return path


@pytest.fixture
def kept(tmp_path, bucket):
    """A store whose shards are objects; what reads them knows of no setting, and is patient for a second."""
    with store.kept_at(bucket.url, tmp_path / "results", 20):
        path = write(tmp_path / "results")
    with store.kept_at(None, tmp_path / "results", 1):
        yield path


def test_what_is_read_is_what_was_written(kept, tmp_path):
    assert all(store.pointed(store.shard_file(kept, "image", shard)) for shard in (0, 1))
    np.testing.assert_array_equal(store.read_array(kept, "image"), IMAGES)
    np.testing.assert_array_equal(store.open_array(kept, "image").compute(), IMAGES)
    np.testing.assert_array_equal(store.read_rows(kept, "image", np.array([20, 3])), IMAGES[[20, 3]])
    here = write(tmp_path / "here")
    for shard in (0, 1):
        sidecars = (store.read_record(store.sidecar_file(place, "image", shard)) for place in (here, kept))
        assert next(sidecars) == next(sidecars)


def test_the_url_is_a_zarr_group_for_whoever_has_it(kept, bucket):
    from obstore.store import from_url

    there = from_url(f"{bucket.url}/study/samples/layout.zarr", client_options={"allow_http": True})
    group = zarr.open_group(ObjectStore(there, read_only=True), mode="r")
    np.testing.assert_array_equal(group["image"][:], IMAGES)


def test_a_shard_costs_one_request_to_write_one_to_check_and_one_to_read(kept, bucket):
    bucket.asked.clear()
    store.read_array(kept, "image", slice(0, SHARD))
    assert (bucket.count("GET", "c/0/0/0/0"), len(bucket.asked)) == (2, 2)
    with store.kept_at(bucket.url, kept.parents[2], 1):
        bucket.asked.clear()
        store.write_shard(kept, "image", 0, IMAGES[:SHARD], about={})
    assert (bucket.count("PUT", "c/0/0/0/0"), len(bucket.asked)) == (1, 1)


def damaged(file):
    return {
        "missing": lambda: file.unlink(),
        "truncated": lambda: file.write_bytes(file.read_bytes()[:-1]),
        "shorter": lambda: file.write_bytes(b"x"),
        "longer": lambda: file.write_bytes(file.read_bytes() + b"x"),
        "empty": lambda: file.write_bytes(b""),
        "flipped": lambda: file.write_bytes(file.read_bytes()[:-1] + b"x"),
        "replaced": lambda: file.write_bytes(file.with_name("0").parents[3].joinpath("1/0/0/0").read_bytes()),
    }


@pytest.mark.parametrize("how", list(damaged(None)))
def test_an_object_that_another_damaged_is_found_and_made_again(kept, bucket, how):
    file = bucket.folder / "study/samples/layout.zarr/image/c/0/0/0/0"
    damaged(file)[how]()
    state = store.verify(kept, "image")[0]
    assert state != ShardState.OK
    with pytest.raises(StoreError, match=f"image is not complete: shard 0 is {state}"):
        store.read_array(kept, "image")
    store.remove_shard(kept, "image", 0)
    with store.kept_at(bucket.url, kept.parents[2], 1):
        store.write_shard(kept, "image", 0, IMAGES[:SHARD], about={})
    assert set(store.verify(kept, "image").values()) == {ShardState.OK}


def test_a_large_object_is_digested_piece_by_piece(kept, bucket, monkeypatch):
    size = store.pointed(store.shard_file(kept, "image", 0)).bytes
    monkeypatch.setattr(objects, "BLOCK", size // 3)
    bucket.asked.clear()
    assert store.verify(kept, "image") == {0: ShardState.OK, 1: ShardState.OK}
    assert bucket.count("GET", "image/c/0/0/0/0") == 4


def test_a_byte_in_the_middle_of_an_object_is_found(kept, bucket):
    file = bucket.folder / "study/samples/layout.zarr/image/c/1/0/0/0"
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)
    assert store.verify(kept, "image") == {0: ShardState.OK, 1: ShardState.FLIPPED}
    with pytest.raises(Exception, match=r"hecksum|decompress|corrupt"):
        store.read_array(kept, "image")


@pytest.mark.parametrize("fault", ["slow_down", "broken", "cut_upload", "cut_download", "silent"])
def test_what_passes_is_tried_again(tmp_path, bucket, fault, monkeypatch):
    monkeypatch.setattr(objects, "ANSWER", 0.3)
    bucket.faults[fault] = 3
    with store.kept_at(bucket.url, tmp_path / "results", 20):
        path = write(tmp_path / "results")
        np.testing.assert_array_equal(store.read_array(path, "image"), IMAGES)
    assert bucket.faults[fault] == 0


LINES = {
    "slow_down": "cannot be reached .SlowDown status 503.; nothing is lost",
    "cut_upload": "cannot be reached .HTTP error.*; nothing is lost",
    "user": "is refused .InvalidAccessKeyId.; allowed: credentials in the environment",
    "expired": "is refused .ExpiredToken.; allowed: credentials in the environment",
    "bucket": "is in a bucket that does not exist; allowed: one that is there",
}


@pytest.mark.parametrize("fault", list(LINES))
def test_what_does_not_pass_is_told_in_one_line_and_loses_nothing(tmp_path, bucket, fault):
    root, url = tmp_path / "results", bucket.url
    with store.kept_at(url, root, 20):
        path = write(root, shards=[0])
    if fault == "user":
        bucket.user = "another"
    elif fault == "bucket":
        bucket.folder.parents[1].rename(tmp_path / "away")
    else:
        bucket.faults[fault] = 10**6
    with store.kept_at(url, root, 0.5):
        for attempt in (
            lambda: store.probe(["posterior.zarr"]),
            lambda: store.write_shard(path, "image", 1, IMAGES[SHARD:], about={}),
        ):
            with pytest.raises(ObjectStoreError, match=rf"^s3://bucket/some/runs/\S+ {LINES[fault]}") as told:
                attempt()
            assert "\n" not in str(told.value)
    assert not store.sidecar_file(path, "image", 1).exists()
    bucket.user, bucket.faults = "tests", {}
    if fault == "bucket":
        (tmp_path / "away").rename(bucket.folder.parents[1])
    with store.kept_at(url, root, 20):
        store.write_shard(path, "image", 1, IMAGES[SHARD:], about={})
        np.testing.assert_array_equal(store.read_array(path, "image"), IMAGES)


def test_a_server_that_is_away_damages_nothing(kept, bucket):
    bucket.faults["broken"] = 10**6
    with pytest.raises(ObjectStoreError, match=r"cannot be reached .InternalError status 500."):
        store.verify(kept, "image")
    bucket.faults.clear()
    assert set(store.verify(kept, "image").values()) == {ShardState.OK}


def test_copies_are_copied_again_and_strays_are_told(kept, bucket):
    root, there = kept.parents[2], bucket.folder / "study/samples/layout.zarr"
    assert look_beside(root) is None
    with store.kept_at(bucket.url, root, 5):
        whole = look_beside(root)
        assert (whole.copied, whole.strays, whole.unlisted) == ([], {}, None)
        (there / "zarr.json").unlink()
        copy = there / "image" / "zarr.json"
        copy.write_bytes(copy.read_bytes()[:-1])
        (there / "image" / "c" / "9").write_bytes(b"stray")
        found = look_beside(root)
        url = f"{bucket.url}/study/samples/layout.zarr"
        assert sorted(found.copied) == [f"{url}/image/zarr.json", f"{url}/zarr.json"]
        assert found.strays == {f"{url}/image/c/9": 5}
        assert copy.read_bytes() == (kept / "image" / "zarr.json").read_bytes()
        assert look_beside(root).copied == []
        bucket.faults["no_listing"] = 1
        assert "is refused (AccessDenied)" in look_beside(root).unlisted


def test_no_job_is_begun_after_one_that_could_not_ask_the_store(tmp_path, capsys):
    log, tried = tmp_path / "job.log", []
    scheduler = SimpleNamespace(keepgoing=True)
    job = SimpleNamespace(log=[log], attempt=1, restart_times=2)
    handle = stops_without_store(lambda scheduler, job: tried.append(job.attempt), "snakemake")
    for error, attempt in ((StoreError("is damaged"), 1), (ObjectStoreError("cannot be reached"), 3)):
        log.write_text("".join(["generate_samples\n", *traceback.format_exception(error)]))
        handle(scheduler, job)
        # It is tried no more either, and no job beside it.
        assert (tried[-1], scheduler.keepgoing) == (attempt, attempt == 1)
    handle(scheduler, job)
    assert capsys.readouterr().err.count("no more jobs are begun") == 1


def test_an_upload_that_the_server_lost_is_missing(tmp_path, bucket):
    with store.kept_at(bucket.url, tmp_path / "results", 5):
        path = write(tmp_path / "results", shards=[0])
        bucket.faults["lose_upload"] = 1
        store.write_shard(path, "image", 1, IMAGES[SHARD:], about={})
        assert store.verify(path, "image") == {0: ShardState.OK, 1: ShardState.MISSING}


def test_nothing_is_ever_listed(kept, bucket):
    store.verify(kept, "image")
    store.read_array(kept, "image")
    assert not [path for _, path in bucket.asked if "list-type" in path or "prefix=" in path]


def test_a_posterior_is_kept_and_known_by_its_voucher(tmp_path, bucket):
    rng, path = np.random.default_rng(2), tmp_path / "results" / "study" / "posterior.zarr"
    rows = {name: rng.random(9) for name in ("marginal", "entropy", "log_normaliser")}
    moments = {"mean": rng.random((9, 2)), "central_moment": rng.random((9, 3))}
    about = {"resolution": 9.0, "kernel": "gaussian", "exclude_self": False}
    posterior = Posterior(t=rng.random((9, 2)), **moments, **rows, **about)
    with store.kept_at(bucket.url, tmp_path / "results", 1):
        write_posterior(path, posterior)
        store.vouch([path])
    assert store.pointed(path / "mean" / "c" / "0" / "0")
    np.testing.assert_array_equal(read_posterior(path).mean, posterior.mean)
    file = bucket.folder / "study/posterior.zarr/marginal/c/0"
    file.write_bytes(file.read_bytes()[::-1])
    with pytest.raises(StoreError, match="marginal/c/0 in it holds other bytes than were written"):
        read_posterior(path)
    file.unlink()
    with pytest.raises(
        StoreError, match=r"is not whole: marginal/c/0 in it is kept elsewhere, and s3://\S+ is missing"
    ):
        read_posterior(path)
