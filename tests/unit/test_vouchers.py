"""Results are known by their vouchers; an audit of a folder finds what is damaged, and touches nothing else."""

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from damages import empty, fill_folder, flip, link_to_nothing, make_folder, make_pipe

from hessgeo import store
from hessgeo.pipeline.verification import verify
from hessgeo.store import StoreError, vouchers
from hessgeo.store.audit import DamageError, Made
from hessgeo.store.audit import audit as audit_of
from hessgeo.store.files import clear

MADE = Made(
    files=[
        "results/{study}/metric.nc",
        "results/{study}/numbers/{step}.json",
        "results/{study}/samples/{layout}.zarr/zarr.json",
        "results/{study}/samples/{layout}.zarr/{array}/zarr.json",
    ],
    folders=["results/{study}/posterior.zarr"],
    unread=["results/logs/{study}.log"],
)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of results of two studies, all vouched for, relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    for seed, study in enumerate(("one", "two")):
        folder = Path("results", study)
        path, images = folder / "samples" / "layout.zarr", rng.integers(0, 256, (24, 4, 4, 1), dtype="u1")
        arrays = {"image": ((4, 4, 1), "u1")}
        store.create_samples(
            path, points=rng.random((24, 2)), arrays=arrays, shard=12, attributes={"seed": seed}
        )
        for shard in range(2):
            store.write_shard(path, "image", shard, images[12 * shard :][:12], about={})
        store.write_dataset(folder / "metric.nc", xr.Dataset({"g": (("a",), rng.random(5))}))
        store.write_json(folder / "numbers" / "fit.json", {"seed": seed})
        (folder / "posterior.zarr" / "mean").mkdir(parents=True)
        for name in ("zarr.json", "mean/zarr.json"):
            (folder / "posterior.zarr" / name).write_text(f"{study} {name}")
        metadata = [
            path / name for name in ("zarr.json", "embedding/zarr.json", "t/zarr.json", "image/zarr.json")
        ]
        store.vouch(
            [*metadata, folder / "metric.nc", folder / "numbers" / "fit.json", folder / "posterior.zarr"]
        )
        (folder / "posterior.zarr" / ".snakemake_timestamp").touch()
    Path("results/logs").mkdir()
    Path("results/logs/one.log").write_text("done")
    return Path("results")


def found(results):
    audit = audit_of(results, MADE)
    return [fault.told for fault in audit.faults], audit


def test_what_was_written_is_whole(results):
    told, audit = found(results)
    assert told == []
    assert (audit.whole, audit.unread, audit.strays, audit.leftovers) == (14, 1, {}, [])
    assert audit.shards == {
        f"results/{study}/samples/layout.zarr/{array}": (n, n)
        for study in ("one", "two")
        for array, n in (("t", 1), ("image", 2))
    }


DAMAGES = {
    "flipped": (flip, "holds other bytes than were written"),
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-1]), "bytes, not"),
    "emptied": (empty, "has 0 bytes, not"),
    "gone": (Path.unlink, "is missing"),
    "folder": (make_folder, "is no file"),
    "filled folder": (fill_folder, "is no file"),
    "link": (link_to_nothing, "is a link to nothing"),
    "pipe": (make_pipe, "is no file"),
    "of another study": (lambda file: shutil.copy(str(file).replace("/two/", "/one/"), file), ""),
    "without a voucher": (lambda file: store.voucher_file(file).unlink(), "has nothing that vouches for it"),
    "with half a voucher": (
        lambda file: store.voucher_file(file).write_text('{"name": '),
        "has a voucher that cannot be read",
    ),
    "with another voucher": (
        lambda file: shutil.copy(
            str(store.voucher_file(file)).replace("/two/", "/one/"), store.voucher_file(file)
        ),
        "",
    ),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_removed_and_nothing_else_is(results, damage, told):
    file = results / "two" / "metric.nc"
    before = {
        path: path.read_bytes() for path in results.rglob("*") if path.is_file() and "metric" not in path.name
    }
    damage(file)
    (line,), audit = found(results)
    assert line.startswith("results/two/metric.nc ")
    assert told in line
    assert "\n" not in line
    audit.faults[0].remove()
    assert not os.path.lexists(file)
    assert not os.path.lexists(store.voucher_file(file))
    assert {path: path.read_bytes() for path in before} == before
    assert found(results)[0] == []


def test_a_folder_of_somebodys_own_in_the_place_of_a_result_is_set_aside(results):
    fill_folder(results / "two" / "metric.nc")
    found(results)[1].faults[0].remove()
    assert (results / "two" / "metric.nc.set-aside" / "mine.txt").read_text() == "mine"
    told, audit = found(results)
    assert told == []
    assert list(audit.strays) == ["results/two/metric.nc.set-aside/mine.txt"]


def test_a_file_in_the_place_of_a_folder_is_set_aside(results):
    shutil.rmtree(results / "two" / "numbers")
    (results / "two" / "numbers").write_text("mine")
    told, audit = found(results)
    assert told == ["results/two/numbers is a file where a folder should be"]
    audit.faults[0].remove()
    assert (results / "two" / "numbers.set-aside").read_text() == "mine"


@pytest.mark.parametrize("name", ["zarr.json", "mean/zarr.json"])
def test_a_folder_is_whole_if_all_its_files_are(results, name):
    file = results / "one" / "posterior.zarr" / name
    for damage in (flip, Path.unlink):
        content = file.read_bytes()
        damage(file)
        (line,), audit = found(results)
        assert line.startswith(f"results/one/posterior.zarr is not whole: {name} in it ")
        file.write_bytes(content)
    audit.faults[0].remove()
    assert not (results / "one" / "posterior.zarr").exists()


def test_lost_metadata_do_not_cost_the_samples(results):
    path = results / "one" / "samples" / "layout.zarr"
    for name in ("zarr.json", "image/zarr.json"):
        content = (path / name).read_bytes()
        (path / name).write_bytes(content.replace(b"24", b"12").replace(b"seed", b"sead"))
        told, audit = found(results)
        assert told == [f"{path}/{name} holds other bytes than were written"]
        audit.faults[0].remove()
        assert found(results)[0] == []
        (path / name).write_bytes(content)
        store.vouch([path / name])
    store.read_array(path, "image")


def test_shards_and_sidecars_are_found_wherever_there_is_a_store(results):
    path = results / "two" / "samples" / "layout.zarr"
    store.shard_file(path, "image", 1).write_bytes(b"")
    store.sidecar_file(path, "t", 0).write_text("{}")
    told, audit = found(results)
    assert told == [f"{path}/image: shard 1 is truncated", f"{path}/t: shard 0 is missing"]
    for fault in audit.faults:
        fault.remove()
    assert not store.shard_file(path, "t", 0).exists()
    assert not store.sidecar_file(path, "image", 1).exists()


def test_files_of_a_users_own_are_named_and_left(results):
    own = {
        "results/notes.txt": "a",
        "results/one/mine.nc": "b",
        "results/.note": "c",
        "results/logs/other.txt": "d",
    }
    for path, text in own.items():
        Path(path).write_text(text)
    told, audit = found(results)
    assert told == []
    assert set(audit.strays) == set(own)
    # A copy of a study, made with its vouchers, is a study.
    shutil.copytree(results / "one", results / "copy")
    assert found(results)[0] == []
    assert {path: Path(path).read_text() for path in own} == own


def test_results_behind_links_are_compared_and_circles_end(results, tmp_path):
    shutil.move(results / "two" / "samples", tmp_path / "disk")
    (results / "two" / "samples").symlink_to(tmp_path / "disk")
    (results / "two" / "circle").symlink_to("..")
    assert found(results)[0] == []
    store.shard_file(results / "two" / "samples" / "layout.zarr", "image", 0).unlink()
    assert found(results)[0] == ["results/two/samples/layout.zarr/image: shard 0 is missing"]


def test_what_killed_jobs_left_unfinished_is_told(results):
    zarr = f"results/one/samples/layout.zarr/image/c/0/0/0/0.{'1a' * 16}.partial"
    left = ["results/one/.metric.nc.partial", "results/one/manifest/layout/image/.0.json.partial", zarr]
    left += ["results/one/.metric.nc.0123abcd.partial"]
    Path("results/one/download.partial").write_text("somebody's own")
    for path in left:
        Path(path).write_text("half")
    told, audit = found(results)
    assert told == []
    assert sorted(audit.leftovers) == sorted(left)
    assert list(audit.strays) == ["results/one/download.partial"]


def test_a_verification_removes_reports_and_names_the_command(results, monkeypatch):
    monkeypatch.setenv("HESSGEO_COMMAND", "snakemake --configfile /mine.yaml --cores all")
    path = results / "two" / "samples" / "layout.zarr"
    targets = {"all": ["results/one/metric.nc"], "table1": [str(store.sidecar_file(path, "image", 0))]}
    verify("results", MADE, targets, io.StringIO())
    (results / "notes.txt").write_text("mine")
    (results / "one" / ".metric.nc.partial").write_text("half")
    for file in (
        results / "one" / "metric.nc",
        results / "two" / "metric.nc",
        store.shard_file(path, "image", 0),
    ):
        flip(file)
    report = io.StringIO()
    with pytest.raises(DamageError) as failed:
        verify("results", MADE, targets, report)
    assert str(failed.value) == (
        "3 results were damaged or missing, and what was damaged is removed; to make them again: "
        "snakemake --configfile /mine.yaml --cores all all table1; 1 belong to settings other than these"
    )
    assert report.getvalue().splitlines() == [
        "results/one/samples/layout.zarr/image: 2 of 2 shards ok",
        "results/one/samples/layout.zarr/t: 1 of 1 shards ok",
        "results/two/samples/layout.zarr/image: 1 of 2 shards ok",
        "results/two/samples/layout.zarr/t: 1 of 1 shards ok",
        "results/one/metric.nc holds other bytes than were written",
        "results/two/metric.nc holds other bytes than were written",
        "results/two/samples/layout.zarr/image: shard 0 is flipped",
        "results/one/.metric.nc.partial was left unfinished by a job that was killed, and is removed",
        "results/notes.txt is made by no step, and is left as it is",
        "12 other results ok; 1 logs, benchmarks and reports are read by no step",
    ]
    # A shard is missing as long as its array asks for it.
    with pytest.raises(DamageError, match=r"^1 results were damaged or missing"):
        verify("results", MADE, targets, io.StringIO())
    assert (results / "notes.txt").read_text() == "mine"


def test_inputs_are_checked_before_they_are_read(results):
    path = results / "one" / "samples" / "layout.zarr"
    inputs = [
        results / "one" / "metric.nc",
        results / "one" / "posterior.zarr",
        path / "image" / "zarr.json",
        store.shard_file(path, "image", 0),
        store.sidecar_file(path, "image", 1),
    ]
    store.check_results(inputs, "results")
    Path("own.safetensors").write_bytes(b"mine")  # outside: nobody's result
    store.check_results(["own.safetensors"], "results")
    for file in (inputs[0], inputs[2], inputs[3]):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(StoreError):
            store.check_results([Path(file).absolute()], "results")
        file.write_bytes(content)
    store.voucher_file(inputs[0]).unlink()
    with pytest.raises(StoreError, match=r"metric\.nc has nothing that vouches for it"):
        store.check_results(inputs, "results")


READ = {
    "metric.nc": (store.write_dataset, store.read_dataset, xr.Dataset({"g": (("a",), [1.0, 2.0])})),
    "numbers.json": (store.write_json, store.read_json, {"N": 3}),
    "table.csv": (store.write_table, store.read_table, pd.DataFrame({"N": [3]})),
    "anchors.npy": (store.write_npy, store.read_npy, np.arange(3)),
}


@pytest.mark.parametrize(("name", "functions"), READ.items(), ids=READ)
def test_readers_ask_a_voucher_that_is_there(tmp_path, name, functions):
    write, read, value = functions
    write(tmp_path / name, value)
    read(tmp_path / name)  # carried here without one
    store.vouch([tmp_path / name])
    read(tmp_path / name)
    flip(tmp_path / name)
    with pytest.raises(StoreError, match=f"{name} holds other bytes than were written"):
        read(tmp_path / name)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError):
        read(tmp_path / name)


def test_a_network_is_read_as_it_was_written(tmp_path):
    weights = {"a": torch.arange(6.0).reshape(2, 3).T}
    store.write_network(tmp_path / "net", weights, {"width": 3})
    again, config = store.read_network(tmp_path / "net")
    assert config == {"width": 3}
    torch.testing.assert_close(again["a"], weights["a"])
    store.vouch((tmp_path / "net").glob("*.*"))
    flip(tmp_path / "net" / "model.safetensors")
    with pytest.raises(StoreError, match=r"model.safetensors holds other bytes"):
        store.read_network(tmp_path / "net")


def test_every_byte_of_a_record_counts(tmp_path):
    path = tmp_path / "record.json"
    vouchers.write_record(path, {"bytes": 12, "seconds": 0.1 + 0.2, "rows": [0, 12]})
    assert store.read_record(path) == {"bytes": 12, "seconds": 0.1 + 0.2, "rows": [0, 12]}
    content = path.read_bytes()
    for position in range(len(content)):
        before, after = content[:position], content[position + 1 :]
        for damaged in (before, before + bytes([content[position] ^ 1]) + after):
            path.write_bytes(damaged)
            with pytest.raises(StoreError):
                store.read_record(path)
    path.write_text(json.dumps({"bytes": 13}))
    with pytest.raises(StoreError):
        store.read_record(path)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail(place):
        place.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError), store.whole(path) as partial:
        fail(partial)
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "old"
    with pytest.raises(RuntimeError), store.whole_files(tmp_path / "model") as partial:
        fail(partial / "weights")
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    with store.whole_files(tmp_path / "model") as partial:
        (partial / "unet").mkdir()
        (partial / "unet" / "weights").write_text("all")
    assert sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")) == [
        "model",
        "model/unet",
        "model/unet/weights",
        "table.csv",
    ]


def test_room_is_made_for_a_file_without_loss(tmp_path):
    (tmp_path / "a").write_text("mine")
    clear(tmp_path / "a" / "b" / "c.json")
    assert (tmp_path / "a.set-aside").read_text() == "mine"
    clear(tmp_path / "nowhere" / "c.json")
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    clear(tmp_path / "empty")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.set-aside"]
