"""Sample stores keep what they are given, and nothing is read that no sidecar vouches for."""

import dataclasses
import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import zarr
from damages import empty, flip, make_folder, make_pipe

from hessgeo import store
from hessgeo.free_energies.base import FreeEnergy, free_energy_dataset
from hessgeo.grids import Grid
from hessgeo.posteriors import Posterior, read_posterior, write_posterior
from hessgeo.store import ShardState, StoreError

ROWS, SHARD = 48, 12


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (ROWS, 8, 8, 1), dtype="u1")


@pytest.fixture
def path(tmp_path):
    """A store without any shard of images yet."""
    path = tmp_path / "study" / "samples" / "layout.zarr"
    points = np.random.default_rng(1).random((ROWS, 2))
    arrays = {"image": ((8, 8, 1), "u1")}
    store.create_samples(
        path, points=points, arrays=arrays, shard=SHARD, attributes={"settings": {"seed": 1}}
    )
    return path


@pytest.fixture
def filled(path, images):
    for shard in range(ROWS // SHARD):
        rows = store.shard_rows(path, "image", shard)
        store.write_shard(path, "image", shard, images[rows], about={"seconds": 1.0, "device": "cpu"})
    return path


def test_what_is_read_is_what_was_written(filled, images):
    np.testing.assert_array_equal(store.read_array(filled, "image"), images)
    np.testing.assert_array_equal(store.open_array(filled, "image").compute(), images)
    # Across the border of two shards.
    np.testing.assert_array_equal(store.read_array(filled, "image", slice(10, 14)), images[10:14])
    assert store.open_array(filled, "image").chunks[0] == (SHARD,) * (ROWS // SHARD)


def test_single_rows_come_in_the_order_asked_for(filled, images):
    for rows in ([40, 3, 3, 11, 12, 47, 0], [], [5]):
        rows = np.array(rows, dtype=int)
        np.testing.assert_array_equal(store.read_rows(filled, "image", rows), images[rows])


def test_single_rows_need_the_sidecars_of_their_shards_alone(filled, images):
    store.sidecar_file(filled, "image", 1).unlink()
    rows = np.array([0, 47])
    np.testing.assert_array_equal(store.read_rows(filled, "image", rows), images[rows])
    with pytest.raises(StoreError, match="not complete: shard 1 is missing"):
        store.read_rows(filled, "image", np.array([0, 12, 47]))


@pytest.mark.parametrize(
    "read", [store.read_array, lambda *block: store.open_array(*block).compute()], ids=["whole", "lazily"]
)
def test_a_block_needs_the_shards_that_hold_it_alone(filled, images, read):
    for shard in (0, 3):
        store.sidecar_file(filled, "image", shard).unlink()
    for rows in (slice(12, 36), slice(12, 13), slice(35, 36), slice(20, 30)):
        np.testing.assert_array_equal(read(filled, "image", rows), images[rows])
    for rows, shard in ((slice(11, 13), 0), (slice(0, 12), 0), (slice(35, 37), 3), (slice(12, 48), 3)):
        with pytest.raises(StoreError, match=f"not complete: shard {shard} is missing"):
            read(filled, "image", rows)


@pytest.mark.parametrize("row", [-1, ROWS])
def test_a_row_that_is_not_there_is_named(filled, row):
    with pytest.raises(ValueError, match=rf"row {row} of .*image is not allowed; allowed: 0 to 47"):
        store.read_rows(filled, "image", np.array([3, row]))


def test_single_rows_read_their_chunks_alone(tmp_path, monkeypatch):
    path = tmp_path / "study" / "samples" / "layout.zarr"
    images = np.random.default_rng(0).integers(0, 256, (24, 256, 256, 3), dtype="u1")  # five a chunk
    store.create_samples(
        path, points=np.zeros((24, 2)), arrays={"image": (images.shape[1:], "u1")}, shard=12, attributes={}
    )
    for shard in range(2):
        store.write_shard(path, "image", shard, images[12 * shard :][:12], about={})
    decoded = []
    decode = zarr.codecs.ZstdCodec._decode_single

    async def counted(self, *arguments):
        decoded.append(arguments)
        return await decode(self, *arguments)

    monkeypatch.setattr(zarr.codecs.ZstdCodec, "_decode_single", counted)
    rows = np.array([1, 2, 13])
    np.testing.assert_array_equal(store.read_rows(path, "image", rows), images[rows])
    assert len(decoded) == 2


def test_a_shard_is_one_file_and_no_other_file_changes(path, images):
    before = {file for file in path.rglob("*") if file.is_file()}
    store.write_shard(path, "image", 2, images[24:36], about={})
    assert {file for file in path.rglob("*") if file.is_file()} - before == {
        store.shard_file(path, "image", 2)
    }
    marked = store.shard_file(path, "image", 2).stat().st_mtime_ns
    store.write_shard(path, "image", 1, images[12:24], about={})
    assert store.shard_file(path, "image", 2).stat().st_mtime_ns == marked


def test_the_same_rows_give_the_same_bytes_whatever_the_order_of_shards(filled, images, tmp_path):
    other = tmp_path / "other" / "samples" / "layout.zarr"
    points = store.read_array(filled, "t")
    store.create_samples(
        other, points=points, arrays={"image": ((8, 8, 1), "u1")}, shard=SHARD, attributes={}
    )
    for shard in (3, 1, 0, 2):
        store.write_shard(other, "image", shard, images[store.shard_rows(other, "image", shard)], about={})
    for shard in range(4):
        one, two = (store.shard_file(place, "image", shard).read_bytes() for place in (filled, other))
        assert one == two


def test_a_store_that_was_left_half_made_is_created_again_around_its_shards(filled, images):
    points = store.read_array(filled, "t")
    store.shard_file(filled, "t", 0).unlink()
    (filled / "zarr.json").unlink()
    arrays, about = {"image": ((8, 8, 1), "u1")}, {"settings": {"seed": 1}}
    store.create_samples(filled, points=points, arrays=arrays, shard=SHARD, attributes=about)
    np.testing.assert_array_equal(store.read_array(filled, "t"), points)
    np.testing.assert_array_equal(store.read_array(filled, "image"), images)
    # Of other points these shards would not be.
    store.create_samples(filled, points=points + 1, arrays=arrays, shard=SHARD, attributes=about)
    assert set(store.verify(filled, "image").values()) == {ShardState.FOREIGN}


def test_an_empty_shard_is_written_all_the_same(path):
    # Zarr would leave out chunks that hold nothing but the fill value, and the shard would look lost.
    store.write_shard(path, "image", 0, np.zeros((SHARD, 8, 8, 1), "u1"), about={})
    assert store.shard_file(path, "image", 0).stat().st_size > 0
    assert store.verify(path, "image")[0] == ShardState.OK


def test_chunks_inside_a_shard_hold_about_a_megabyte(tmp_path):
    for item, expected in (((8, 8, 1), 60), ((512, 512, 3), 1), ((64, 64, 3), 60), ((128, 128, 3), 20)):
        name = "x".join(map(str, item))
        store.create_array(tmp_path, name, samples=120, item=item, dtype="u1", shard=60)
        array = zarr.open_array(tmp_path / name)
        assert array.chunks == (expected, *item)
        assert array.shards == (60, *item)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((SHARD - 1, 8, 8, 1), "u1"), r"takes uint8 \(12, 8, 8, 1\), not uint8 \(11, 8, 8, 1\)"),
        (np.zeros((SHARD, 8, 8, 1), "f4"), "not float32"),
    ],
)
def test_rows_that_do_not_fit_are_refused(path, data, message):
    with pytest.raises(ValueError, match=message):
        store.write_shard(path, "image", 0, data, about={})
    assert set(store.verify(path, "image").values()) == {ShardState.MISSING}


def test_values_that_are_not_finite_are_refused(path):
    store.create_array(path, "embedding/key", samples=ROWS, item=(4,), dtype="f4", shard=SHARD)
    data = np.ones((SHARD, 4), "f4")
    data[3, 1], data[4, 2] = np.nan, np.inf
    with pytest.raises(ValueError, match="holds 2 values not finite"):
        store.write_shard(path, "embedding/key", 0, data, about={})


def test_a_shard_out_of_range_is_refused(path):
    with pytest.raises(ValueError, match=r"shard 4 of .*allowed: 0 to 3"):
        store.shard_rows(path, "image", 4)


def test_a_sidecar_says_what_the_shard_is(filled):
    record = store.read_json(store.sidecar_file(filled, "image", 1))
    assert record["rows"] == [12, 24]
    assert record["bytes"] == store.shard_file(filled, "image", 1).stat().st_size
    assert record["device"] == "cpu"
    assert record["versions"]["zarr"] == zarr.__version__


def test_nothing_is_read_without_its_sidecars(filled, images):
    store.sidecar_file(filled, "image", 1).unlink()
    for read in (store.read_array, store.open_array):
        with pytest.raises(StoreError, match="not complete: shard 1 is missing"):
            read(filled, "image")
    # The other shards are whole.
    np.testing.assert_array_equal(store.read_array(filled, "image", slice(24, 48)), images[24:])


def test_a_write_that_dies_before_its_sidecar_leaves_nothing_to_trust(filled, images, monkeypatch):
    def die(path, value):
        raise KeyboardInterrupt

    monkeypatch.setattr("hessgeo.store.shards.write_record", die)
    with pytest.raises(KeyboardInterrupt):
        store.write_shard(filled, "image", 1, images[12:24], about={})
    assert store.verify(filled, "image")[1] == ShardState.MISSING
    with pytest.raises(StoreError):
        store.read_array(filled, "image")


def test_every_flipped_bit_is_found(filled, images):
    file = store.shard_file(filled, "image", 2)
    whole = file.read_bytes()
    for position in np.linspace(0, len(whole) - 1, 25).astype(int):
        flip(file, position, position % 8)
        states = store.verify(filled, "image")
        assert states == {k: ShardState.FLIPPED if k == 2 else ShardState.OK for k in range(4)}
        # Checksums of chunk and index: the damage does not go unseen by a reader either.
        with pytest.raises((ValueError, RuntimeError, IndexError)):
            store.read_array(filled, "image", slice(24, 36))
        file.write_bytes(whole)
    np.testing.assert_array_equal(store.read_array(filled, "image"), images)


def test_verification_tells_the_states_apart(filled):
    content = store.shard_file(filled, "image", 0).read_bytes()
    store.shard_file(filled, "image", 0).write_bytes(content[:-1])
    store.shard_file(filled, "image", 1).unlink()
    flip(store.shard_file(filled, "image", 3), 5, 5)
    assert store.verify(filled, "image") == {
        0: ShardState.TRUNCATED,
        1: ShardState.MISSING,
        2: ShardState.OK,
        3: ShardState.FLIPPED,
    }
    assert store.verify(filled, "t") == {0: ShardState.OK}


def test_a_sidecar_that_cannot_be_read_vouches_for_nothing(filled):
    store.sidecar_file(filled, "image", 0).write_text('{"bytes": 12')
    store.sidecar_file(filled, "image", 1).write_text("[]")
    states = store.verify(filled, "image")
    assert [states[k] for k in range(3)] == [ShardState.MISSING, ShardState.MISSING, ShardState.OK]


def test_a_removed_shard_is_missing(filled):
    store.remove_shard(filled, "image", 1)
    store.remove_shard(filled, "image", 1)
    assert store.verify(filled, "image")[1] == ShardState.MISSING
    assert not store.sidecar_file(filled, "image", 1).exists()


def test_an_array_that_is_not_there_is_named(path):
    with pytest.raises(store.MissingArrayError, match="has no array embedding/none"):
        store.read_array(path, "embedding/none")


READERS = {
    "read_array": lambda store_path: store.read_array(store_path, "image"),
    "open_array": lambda store_path: store.open_array(store_path, "image").compute(),
    "read_rows": lambda store_path: store.read_rows(store_path, "image", np.arange(ROWS)),
}


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


DAMAGES = {
    "emptied": empty,
    "cut": cut,
    "gone": os.unlink,
    "folder": make_folder,
    "pipe": make_pipe,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("shard", range(4))
def test_no_reader_takes_a_damaged_shard_for_black_images(filled, damage, shard):
    damage(store.shard_file(filled, "image", shard))
    for read in READERS.values():
        with pytest.raises(StoreError, match=f"image is not complete: shard {shard} is (missing|truncated)"):
            read(filled)
    states = store.verify(filled, "image")
    assert [k for k, state in states.items() if state != ShardState.OK] == [shard]
    store.remove_shard(filled, "image", shard)
    assert store.verify(filled, "image")[shard] == ShardState.MISSING


@pytest.fixture
def uneven(tmp_path):
    """A store whose last shard holds four of twelve rows."""
    path = tmp_path / "study" / "samples" / "uneven.zarr"
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (28, 8, 8, 1), dtype="u1")
    arrays = {"image": ((8, 8, 1), "u1")}
    store.create_samples(path, points=rng.random((28, 2)), arrays=arrays, shard=SHARD, attributes={})
    for shard in range(3):
        store.write_shard(path, "image", shard, images[store.shard_rows(path, "image", shard)], about={})
    return path, images


def test_the_last_shard_may_hold_fewer_rows_and_is_compared_like_the_others(uneven):
    path, images = uneven
    assert store.shard_rows(path, "image", 2) == slice(24, 28)
    with pytest.raises(ValueError, match=r"shard 3 of .* allowed: 0 to 2"):
        store.shard_rows(path, "image", 3)
    for read in READERS:
        rows = {"read_rows": lambda: store.read_rows(path, "image", np.arange(28))}
        got = rows.get(read, lambda read=read: READERS[read](path))()
        np.testing.assert_array_equal(got, images)
    assert store.verify(path, "image") == dict.fromkeys(range(3), ShardState.OK)
    file = store.shard_file(path, "image", 2)
    flip(file)
    assert store.verify(path, "image")[2] == ShardState.FLIPPED
    file.unlink()
    assert store.verify(path, "image")[2] == ShardState.MISSING
    with pytest.raises(StoreError, match="shard 2 is missing"):
        store.read_rows(path, "image", np.array([25]))
    np.testing.assert_array_equal(store.read_array(path, "image", slice(0, 24)), images[:24])


def shrink(metadata):
    metadata["shape"][0] = 24


def grow(metadata):
    metadata["shape"][0] = 96


def reshape(metadata):
    metadata["shape"][1] = 4


def refill(metadata):
    metadata["fill_value"] = 7


def reshard(metadata):
    metadata["chunk_grid"]["configuration"]["chunk_shape"][0] = 24


@pytest.mark.parametrize("change", [shrink, grow, reshape, refill, reshard])
def test_metadata_that_were_changed_are_refused(filled, change):
    file = filled / "image" / "zarr.json"
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))
    for name in ("read_array", "open_array"):
        with pytest.raises(StoreError, match="shard 0 is foreign"):
            READERS[name](filled)
    with pytest.raises(StoreError, match="shard 0 is foreign"):
        store.read_rows(filled, "image", np.array([0]))
    assert ShardState.FOREIGN in store.verify(filled, "image").values()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"shape": [48]}', b"[" * 100_000]
)
@pytest.mark.parametrize("name", ["zarr.json", "image/zarr.json"])
def test_metadata_that_cannot_be_read_are_named_in_one_line(filled, name, content):
    (filled / name).write_bytes(content)
    for read in READERS.values():
        with pytest.raises(StoreError) as refused:
            read(filled)
        assert str(filled) in str(refused.value)
        assert "\n" not in str(refused.value)


def test_shards_are_known_by_store_and_place(filled, images, tmp_path):
    other = tmp_path / "other" / "samples" / "layout.zarr"
    points, arrays = store.read_array(filled, "t"), {"image": ((8, 8, 1), "u1")}
    store.create_samples(
        other, points=points, arrays=arrays, shard=SHARD, attributes={"settings": {"seed": 2}}
    )
    for shard in range(4):
        store.write_shard(other, "image", shard, images[::-1][shard * SHARD :][:SHARD], about={})
    for shard, source, place in ((2, other, 2), (1, filled, 3)):
        before = {}
        for file in (store.shard_file, store.sidecar_file):
            target = file(filled, "image", shard)
            before[target] = target.read_bytes()
            target.write_bytes(file(source, "image", place).read_bytes())
        assert store.verify(filled, "image")[shard] == ShardState.FOREIGN
        for read in READERS.values():
            with pytest.raises(StoreError, match=f"shard {shard} is foreign"):
                read(filled)
        for target, content in before.items():
            target.write_bytes(content)
    np.testing.assert_array_equal(store.read_array(filled, "image"), images)


def test_a_shard_of_the_same_size_does_not_pass_for_another(path):
    # Noise does not compress, so that all shards have one size.
    store.create_array(path, "noise", samples=ROWS, item=(64,), dtype="f4", shard=SHARD)
    rng = np.random.default_rng(0)
    for shard in range(4):
        store.write_shard(path, "noise", shard, rng.random((SHARD, 64)).astype("f4"), about={})
    one, two = (store.shard_file(path, "noise", shard) for shard in (0, 3))
    two.write_bytes(one.read_bytes()[: two.stat().st_size].ljust(two.stat().st_size, b"\0"))
    assert store.verify(path, "noise")[3] == ShardState.FLIPPED
    with pytest.raises(StoreError, match="shard 3 is flipped"):
        store.read_array(path, "noise", slice(40, 44))


def test_shards_of_two_models_are_not_read_together(path, images):
    for shard, model in enumerate(("a1", "a1", "b2", None)):
        about = {"model": model} if model else {}
        store.write_shard(path, "image", shard, images[shard * SHARD :][:SHARD], about=about)
    for read in READERS.values():
        with pytest.raises(StoreError, match="image holds shards of two models in one store: a1, b2"):
            read(path)
    np.testing.assert_array_equal(store.read_array(path, "image", slice(0, 24)), images[:24])
    np.testing.assert_array_equal(store.read_array(path, "image", slice(24, 48)), images[24:])


def test_a_shard_that_is_lost_after_an_array_was_opened_is_missed_when_it_is_read(filled):
    lazy = store.open_array(filled, "image")
    store.shard_file(filled, "image", 3).unlink()
    lazy[: 3 * SHARD].compute()
    with pytest.raises(StoreError, match="c/3/0/0/0 is missing"):
        lazy.compute()


def make_posterior(**more):
    rng = np.random.default_rng(2)
    moments = {"mean": rng.random((9, 2)), "central_moment": rng.random((9, 3))}
    rows = {name: rng.random(9) for name in ("marginal", "entropy", "log_normaliser")}
    about = {"resolution": 0.1 + 0.2, "kernel": "laplace", "exclude_self": True}
    return Posterior(t=rng.random((9, 2)), **moments, **rows, **about, **more)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {
            "neighbours": np.arange(18).reshape(9, 2),
            "neighbour_weights": np.full((9, 2), 0.5, "f4"),
            "coarse": np.full((9, 2, 3), 1 / 6, "f4"),
        },
    ],
)
def test_a_posterior_comes_back_as_it_was(tmp_path, more):
    posterior = make_posterior(**more)
    write_posterior(tmp_path / "posterior.zarr", make_posterior())  # an older one is replaced
    write_posterior(tmp_path / "posterior.zarr", posterior)
    again = read_posterior(tmp_path / "posterior.zarr")
    for field in dataclasses.fields(Posterior):
        one, two = getattr(posterior, field.name), getattr(again, field.name)
        assert type(one) is type(two)
        np.testing.assert_array_equal(one, two)
        if isinstance(one, np.ndarray):
            assert one.dtype == two.dtype
    assert [file.name for file in tmp_path.iterdir()] == ["posterior.zarr"]


@pytest.fixture
def written(tmp_path):
    more = {"neighbours": np.arange(18).reshape(9, 2), "coarse": np.zeros((9, 2, 3), "f4")}
    write_posterior(tmp_path / "posterior.zarr", make_posterior(**more))
    return tmp_path / "posterior.zarr"


def test_a_posterior_misses_every_file_that_it_lost(written):
    for file in sorted(path for path in written.rglob("*") if path.is_file()):
        content = file.read_bytes()
        file.unlink()
        with pytest.raises((StoreError, FileNotFoundError)):
            read_posterior(written)
        file.write_bytes(content)
    read_posterior(written)


@pytest.mark.parametrize(
    "change", [{"resolution": 4.0}, {"kernel": "gaussian"}, {"exclude_self": False}, {"digest": None}]
)
def test_a_posterior_whose_attributes_were_edited_is_refused(written, change):
    file = written / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["attributes"] |= change
    file.write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match="its digest is another"):
        read_posterior(written)


def test_a_posterior_whose_arrays_changed_places_is_refused(written):
    (written / "mean").rename(written / "aside")
    (written / "t").rename(written / "mean")
    (written / "aside").rename(written / "t")
    with pytest.raises(StoreError, match="its digest is another"):
        read_posterior(written)


def test_a_posterior_whose_array_has_another_shape_is_refused(written):
    for name in ("mean", "marginal", "coarse"):
        file = written / name / "zarr.json"
        text = file.read_text()
        metadata = json.loads(text)
        metadata["shape"][0] -= 1
        file.write_text(json.dumps(metadata))
        with pytest.raises(StoreError):
            read_posterior(written)
        file.write_text(text)
    read_posterior(written)


def test_a_dataset_comes_back_as_it_was(tmp_path):
    definite = np.array([[True, False], [False, True]])
    value = np.array([[0.1, np.nan], [1e-300, -2.0]])
    fields = {"positive_definite": (("a", "b"), definite), "curvature": (("a", "b"), value)}
    certificate = {"converged": True, "decrement": 1e-12}
    dataset = xr.Dataset(fields, {"a": [0.0, 1.0]}, {"resolution": 20.0, "certificate": certificate})
    store.write_dataset(tmp_path / "metric.nc", dataset)
    again = store.read_dataset(tmp_path / "metric.nc")
    xr.testing.assert_equal(again, dataset)
    assert again["positive_definite"].dtype == bool
    assert json.loads(again.attrs["certificate"]) == certificate
    assert [file.name for file in tmp_path.iterdir()] == ["metric.nc"]


def test_json_takes_numpy_and_refuses_nan(tmp_path):
    file = tmp_path / "numbers.json"
    store.write_json(file, {"count": np.int64(3), "mean": np.float32(0.5), "all": np.arange(2)})
    assert store.read_json(file) == {"count": 3, "mean": 0.5, "all": [0, 1]}
    for value in (np.float64("nan"), float("inf"), {1, 2}):
        with pytest.raises((ValueError, TypeError)):
            store.write_json(file, {"value": value})
    # The file of before stands.
    assert store.read_json(file)["count"] == 3


class Cubic(FreeEnergy):
    """``F = a^3 + a b^2``, whose derivatives are known."""

    resolution = 7.0
    certificate = {"converged": True}  # noqa: RUF012

    def value(self, t):
        return t[..., 0] ** 3 + t[..., 0] * t[..., 1] ** 2

    def gradient(self, t):
        a, b = t.unbind(-1)
        return torch.stack([3 * a**2 + b**2, 2 * a * b], dim=-1)

    def gradient_error(self, t):
        return torch.full_like(t, 0.25)

    def hessian(self, t):
        a, b = t.unbind(-1)
        return torch.stack([6 * a, 2 * b, 2 * b, 2 * a], dim=-1).reshape(*t.shape[:-1], 2, 2)

    def third(self, t):
        entries = torch.tensor([6.0, 0, 0, 2, 0, 2, 2, 0], dtype=t.dtype)
        return entries.reshape(2, 2, 2).expand(*t.shape[:-1], 2, 2, 2)


def test_a_free_energy_is_tabulated_at_its_nodes():
    grid = Grid(((0.0, 1.0), (2.0, 5.0)), (3, 4))
    dataset = free_energy_dataset(Cubic(), grid, attributes={"fit": "known"})
    at = dataset.sel(a=0.5, b=4.0)
    assert float(at["free_energy"]) == 0.5**3 + 0.5 * 16
    assert at["gradient"].sel(i="b").item() == 2 * 0.5 * 4
    np.testing.assert_array_equal(at["fisher_metric"], [[3, 8], [8, 1]])
    assert at["third"].sel(i="a", j="b", k="b").item() == 2
    assert (dataset["gradient_error"] == 0.25).all()
    # An error that a fit does not know is not zero.
    assert np.isnan(dataset["fisher_metric_error"]).all()
    assert dataset.attrs == {"resolution": 7.0, "certificate": {"converged": True}, "fit": "known"}


def test_a_table_comes_back_as_it_was_written(tmp_path):
    table = pd.DataFrame({"method": ["linear", "fisher"], "length": [1 / 3, np.nan], "count": [1, 2]})
    store.write_table(tmp_path / "deep" / "table.csv", table)
    back = store.read_table(tmp_path / "deep" / "table.csv")
    # Ten significant digits.
    pd.testing.assert_frame_equal(back, table, rtol=1e-9)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["table.csv"]


def test_what_is_not_finite_becomes_null():
    value = {"a": [1.0, np.nan, {"b": np.float64(np.inf)}], "c": "nan", "d": 3}
    assert store.finite(value) == {"a": [1.0, None, {"b": None}], "c": "nan", "d": 3}
