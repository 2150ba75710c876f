"""Whatever happens to a file under results, verification finds it, or no number depends on it."""

import itertools
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from damages import DAMAGES
from running import made_by_workflow

from hessgeo import store
from hessgeo.posteriors import read_posterior
from hessgeo.store.audit import Made, audit
from hessgeo.store.inputs import shard_of
from hessgeo.store.vouchers import vouched_by

pytestmark = pytest.mark.slow

COUNT = 300


@pytest.fixture(scope="module")
def pair(finished, routes, shared_folder):
    """The tiny study, and beside it four of another model along two planes, two of them with a network.

    What each has is also in another, of the same shape and with other content.
    """

    def build(folder):
        for one in (finished, routes):
            shutil.copytree(
                one("results"), folder / "results", copy_function=shutil.copy2, dirs_exist_ok=True
            )

    return shared_folder("pair", build)


@pytest.fixture(scope="module")
def made(repository, tmp_path_factory):
    """What the rules of the workflow make."""
    return made_by_workflow(repository, tmp_path_factory.mktemp("rules"))


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
    """A file as it was before a damage, whatever is in its place."""
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    elif os.path.lexists(file):
        file.unlink()
    file.write_bytes(content)


def test_no_damage_goes_unseen(pair, made, monkeypatch):
    monkeypatch.chdir(pair)
    assert audit("results", made).faults == []
    files = sorted(path for path in Path("results").rglob("*") if path.is_file() and path.stat().st_size)
    kinds = {}
    for file in files:
        # A kind of file: where it is made, whatever its study and its digest.
        kinds.setdefault((file.suffix, file.parts[1] == "models", *file.parts[2:4][:-1]), []).append(file)
    rng = random.Random(10)
    order = [rng.choice(kinds[kind]) for kind in rng.sample(sorted(kinds), len(kinds))]
    order += rng.choices(files, k=COUNT - len(order))
    harmless = seen = 0
    for file, how in zip(order, itertools.cycle(DAMAGES)):
        twin = twin_of(file, files)
        content = {path: path.read_bytes() for path in (file, twin) if path}
        before = None if unread(file, made) else read(file)
        # One that has no other of its kind is deleted.
        damaged = DAMAGES[how](file, rng, [twin] if twin else [], ()) or DAMAGES["deleted"](file, rng, [], ())
        about = f"{how}: {file}, {twin}"
        if audit("results", made).faults:
            seen += 1
        else:
            # A log, or the same content: nothing that a step reads has changed.
            assert all(
                unread(path, made) or (path.is_file() and path.read_bytes() == content[path])
                for path in damaged
            ), about
            harmless += 1
        if before is not None:
            try:
                after = read(file)
            except (OSError, ValueError, RuntimeError):
                after = before  # who reads it is told
            assert same(before, after), about
        for path in damaged:
            restore(path, content[path])
    assert audit("results", made).faults == []
    assert seen + harmless == COUNT
    assert seen > COUNT / 2


def unread(file, made):
    return bool(Made.matcher(made.unread).fullmatch(str(file)))
