"""Whatever happens to a file under results, verification finds it, or no number depends on it."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from running import made_by_workflow

from hessgeo import store
from hessgeo.posteriors import read_posterior
from hessgeo.store.audit import Made, audit
from hessgeo.store.inputs import shard_of
from hessgeo.store.vouchers import vouched_by

pytestmark = pytest.mark.slow

DAMAGES = 300
OTHER = {
    "seed": 22,
    "slice": {"anchors": 22},
    "sampling": {"grid": [16, 16], "shard": 64, "shards_per_job": 4},
    "posterior": {"kind": "network", "network": {"grid": [16, 16], "epochs": 1, "batch_size": 32}},
}


@pytest.fixture(scope="module")
def pair(finished, workflow_in, shared_folder):
    """The tiny study, and beside it a second one of another seed, whose posterior comes from a network."""
    tiny = finished.overrides["studies"]["tiny"]
    settings = {"run": ["tiny", "other"], "studies": {"other": {**tiny, **OTHER}}}

    def build(folder):
        shutil.copytree(finished.directory, folder / "run", copy_function=shutil.copy2)
        numbers = [f"results/other/{name}" for name in ("numbers.json", "figures/metric.svg", "phases.nc")]
        workflow_in(folder / "run", **settings).run(*numbers)

    return workflow_in(shared_folder("pair", build) / "run", **settings)


@pytest.fixture(scope="module")
def made(repository, tmp_path_factory):
    """What the rules of the workflow make."""
    return made_by_workflow(repository, tmp_path_factory.mktemp("rules"))


def flip(file, rng, twin):
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def cut(file, rng, twin):
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content))])


def empty(file, rng, twin):
    file.write_bytes(b"")


def delete(file, rng, twin):
    file.unlink()


def make_folder(file, rng, twin):
    file.unlink()
    file.mkdir()


def replace(file, rng, twin):
    shutil.copyfile(twin, file)


def twin_of(file, files):
    """The file of another study, or of another place in this one, that is most like a file."""
    alike = [other for other in files if other != file and other.suffix == file.suffix]
    study = file.parts[1]
    named = [other for other in alike if other.name == file.name and other.parts[1] != study]
    place = [other for other in named if other.parts[2] == file.parts[2]]
    return (place or named or alike or [None])[0]


def read(file):
    """What the library reads of a result: what a change of the file must not change in silence."""
    if known := shard_of(file):
        return store.read_array(*known[:2])
    place = file
    if ".vouchers" in file.parts:
        place = vouched_by(file)
    if any(part.endswith(".zarr") and part != "posterior.zarr" for part in place.parts):
        path = next(parent for parent in place.parents if parent.suffix == ".zarr")
        name = str(place.parent.relative_to(path))
        arrays = {"image", "t"} if name in (".", "embedding") else {name}
        return {name: store.read_array(path, name) for name in sorted(arrays)}
    posterior = next((p for p in (place, *place.parents) if p.name == "posterior.zarr"), None)
    if posterior is not None:
        return vars(read_posterior(posterior))
    readers = {
        ".nc": lambda path: {name: field.to_numpy() for name, field in store.read_dataset(path).items()},
        ".json": store.read_json,
        ".npy": store.read_npy,
        ".csv": lambda path: store.read_table(path).to_dict("list"),
    }
    if place.suffix in readers:
        return readers[place.suffix](place)
    store.check(place)
    return place.read_bytes()


def same(one, two):
    return np.testing.assert_equal(one, two) is None


def restore(file, content):
    if file.is_dir():
        file.rmdir()
    file.write_bytes(content)


def test_no_damage_goes_unseen(pair, made, monkeypatch):
    monkeypatch.chdir(pair.directory)
    assert audit("results", made).faults == []
    files = sorted(path for path in Path("results").rglob("*") if path.is_file())
    kinds = {}
    for file in files:
        # A kind of file: where it is made, whatever its study and its digest.
        kinds.setdefault((file.suffix, file.parts[1] == "models", *file.parts[2:4][:-1]), []).append(file)
    rng = random.Random(10)
    damages = [flip, cut, empty, delete, make_folder, replace]
    order = [rng.choice(kinds[kind]) for kind in rng.sample(sorted(kinds), len(kinds))]
    order += rng.choices(files, k=DAMAGES - len(order))
    harmless = seen = 0
    for number, file in enumerate(order):
        damage = damages[number % len(damages)]
        content, twin = file.read_bytes(), twin_of(file, files)
        if damage in (flip, cut) and not content:
            damage = delete
        before = None if unread(file, made) else read(file)
        damage(file, rng, twin)
        about = f"{file}: {damage.__name__}, {twin}"
        found = audit("results", made)
        if found.faults:
            seen += 1
        else:
            # A log, or the same content: nothing that a step reads has changed.
            assert unread(file, made) or (file.is_file() and file.read_bytes() == content), about
            harmless += 1
        if before is not None:
            try:
                after = read(file)
            except (OSError, ValueError, RuntimeError):
                after = before  # who reads it is told
            assert same(before, after), about
        restore(file, content)
    assert audit("results", made).faults == []
    assert seen + harmless == DAMAGES
    assert seen > DAMAGES / 2


def unread(file, made):
    return bool(Made.matcher(made.unread).fullmatch(str(file))) or file.name == ".snakemake_timestamp"
