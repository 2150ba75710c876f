"""What a file holds is found once, and found again whenever the file may have changed."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from damages import flip

from hessgeo.pipeline import content as module
from hessgeo.pipeline.content import CACHE, Source, content, contents, remembered

SIZE = module.LEAST_KEPT + 3


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file large enough to be remembered, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "SETTLED", 0)
    monkeypatch.setattr(module, "_memory", {})
    Path("model.bin").write_bytes(os.urandom(SIZE))
    return Path("model.bin")


def forget(monkeypatch):
    monkeypatch.setattr(module, "_memory", {})


def test_a_digest_is_read_once_and_then_remembered(weights, monkeypatch):
    calls = []
    for _ in range(2):
        assert remembered(weights, "length", lambda: calls.append(1) or len(weights.read_bytes())) == SIZE
    forget(monkeypatch)
    assert remembered(weights, "length", lambda: calls.append(1)) == SIZE, (
        "from the record of another process"
    )
    assert len(calls) == 1
    assert content(weights) == sha256(weights), "another thing to know of the same file"


def replace(path):
    other = path.with_name("other.bin")
    other.write_bytes(os.urandom(SIZE))
    os.utime(other, ns=(0, 0))
    os.replace(other, path)


@pytest.mark.parametrize("change", [flip, replace], ids=["a flipped bit", "an older file"])
def test_a_change_is_seen_whatever_the_time_of_the_file_says(weights, monkeypatch, change):
    before, status = content(weights), weights.stat()
    change(weights)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content(weights) == sha256(weights) != before
    forget(monkeypatch)
    assert content(weights) == sha256(weights)


def test_a_file_as_young_as_the_clock_is_coarse_is_not_remembered(weights, monkeypatch):
    monkeypatch.setattr(module, "SETTLED", 10**12)
    content(weights)
    assert not CACHE.exists()
    assert module._memory == {}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"stamp": 1}',
        lambda text: text.replace(b'"value": "', b'"value": "0'),
        lambda text: text[: len(text) // 2],
    ],
)
def test_a_damaged_record_costs_time_alone(weights, monkeypatch, damage):
    content(weights)
    (record,) = CACHE.iterdir()
    text = record.read_bytes()
    record.write_bytes(damage if isinstance(damage, bytes) else damage(text))
    forget(monkeypatch)
    assert content(weights) == sha256(weights)
    assert json.loads(record.read_bytes())["value"] == sha256(weights), "and is mended"


def test_a_record_of_another_file_is_not_taken(weights, monkeypatch):
    Path("second.bin").write_bytes(os.urandom(SIZE))
    content(weights)
    (record,) = CACHE.iterdir()
    content("second.bin")
    (other,) = set(CACHE.iterdir()) - {record}
    record.write_bytes(other.read_bytes())
    forget(monkeypatch)
    assert content(weights) == sha256(weights)


def test_a_folder_that_cannot_be_written_to_is_no_error(weights, tmp_path):
    (tmp_path / ".snakemake").write_text("a file where the folder would be")
    assert content(weights) == sha256(weights)


def test_writers_at_once_leave_a_whole_record(weights, tmp_path):
    code = (
        "from hessgeo.pipeline import content as c; c.SETTLED = 0\n"
        "for _ in range(60):\n"
        "    c._memory.clear(); print(c.content('model.bin')) if not _ else c.content('model.bin')\n"
        "    [path.unlink(missing_ok=True) for path in c.CACHE.glob('*.json')]\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = [process.communicate(timeout=60)[0].strip() for process in started]
    assert printed == [sha256(weights)] * 3
    assert [process.returncode for process in started] == [0] * 3
    assert not list(CACHE.glob("*.unfinished"))


def test_a_file_that_changes_while_it_is_read_is_refused(weights):
    def slow():
        weights.write_bytes(b"shorter")
        return "something"

    with pytest.raises(ValueError, match=r"^model\.bin changed while it was read$"):
        remembered(weights, "what", slow)


def source(path, planned, name="abcd1234"):
    return Source({}, str(path), {"weights": str(path)}, planned, name)


def test_a_job_reads_what_was_planned(weights):
    planned = contents({"weights": str(weights)})
    with source(weights, planned).reading("samples/grid-abcd1234.zarr/image/c/0") as model:
        assert len(model) == 64
    moved = weights.rename("elsewhere.bin")
    with source(moved, planned).reading() as again:
        assert again == model, "the place of a file is no matter"
    flip(moved)
    with pytest.raises(ValueError, match=r"elsewhere\.bin changed since the run was planned"):
        source(moved, planned).reading().__enter__()
    with source(moved, None).reading() as other:
        assert other != model, "what is trained by the run is not known when it is planned"


def test_a_job_of_another_plan_is_refused(weights):
    reading = source(weights, contents({"weights": str(weights)})).reading(
        "samples/grid-ffff0000.zarr/image/c/0"
    )
    with pytest.raises(ValueError, match=r"grid-ffff0000\.zarr/image/c/0 would be called by abcd1234"):
        reading.__enter__()


def test_a_model_that_changes_while_it_is_loaded_is_refused(weights):
    reading = source(weights, None).reading()
    reading.__enter__()
    time.sleep(0.02)  # more than a tick of the clock
    flip(weights)
    with pytest.raises(ValueError, match=r"model\.bin changed while it was read; run it again"):
        reading.__exit__(None, None, None)


def test_a_model_without_files_has_no_digest():
    with Source({}, None, {}, {}, "x").reading() as model:
        assert model is None
