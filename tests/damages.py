"""What can happen to a file under results, and what it may cost."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from hessgeo import store
from hessgeo.store.inputs import shard_of
from hessgeo.store.shards import find_shard
from hessgeo.store.vouchers import vouched_by

VARIES = ("seconds", "seal")  # of a sidecar, from run to run
UNREAD = ("logs", "benchmarks")


def digests(directory):
    """Digest of every file under results that a step reads; of a sidecar without its seconds."""
    found = {}
    for path in sorted(Path(directory, "results").rglob("*")):
        name = path.relative_to(directory)
        if path.is_dir() or name.parts[1] in UNREAD or path.name == ".snakemake_timestamp":
            continue
        content = path.read_bytes()
        if "manifest" in name.parts and path.suffix == ".json":
            record = {key: value for key, value in json.loads(content).items() if key not in VARIES}
            content = json.dumps(record).encode()
        found[str(name)] = hashlib.sha256(content).hexdigest()
    return found


def flip(file, place=None, bit=0):
    """Flip a bit, of the byte in the middle if no place is given, and keep the times, as a failing disk does."""
    content, times = bytearray(file.read_bytes()), file.stat()
    content[len(content) // 2 if place is None else place] ^= 1 << bit
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def lengthen(file):
    with file.open("ab") as stream:
        stream.write(b"\0")


def empty(file):
    file.write_bytes(b"")


def make_folder(file):
    file.unlink()
    file.mkdir()


def fill_folder(file):
    make_folder(file)
    (file / "mine.txt").write_text("mine")


def link_to_nothing(file):
    file.unlink()
    file.symlink_to("nowhere")


def make_pipe(file):
    file.unlink()
    os.mkfifo(file)


def _flip(file, rng):
    flip(file, rng.randrange(file.stat().st_size), rng.randrange(8))


def _cut(file, rng):
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content))])


def _at_random(change):
    def damage(file, rng, files, taken):
        if file in taken or not file.stat().st_size:
            return None
        change(file, rng)
        return (file,)

    return damage


def _one(change):
    return _at_random(lambda file, rng: change(file))


def _other(file, rng, files, taken):
    """Another file of the same kind, that holds something else."""
    if file in taken:
        return None
    alike = [other for other in files if other.suffix == file.suffix and other not in taken and other != file]
    alike = [other for other in alike if other.read_bytes() != file.read_bytes()]
    return rng.choice(alike) if alike else None


def _replaced(file, rng, files, taken):
    """By another: a stale sidecar, the shard of another place, the voucher of another result."""
    if other := _other(file, rng, files, taken):
        shutil.copyfile(other, file)
        return (file,)
    return None


def _swapped(file, rng, files, taken):
    if other := _other(file, rng, files, taken):
        mine, theirs = file.read_bytes(), other.read_bytes()
        file.write_bytes(theirs)
        other.write_bytes(mine)
        return (file, other)
    return None


DAMAGES = {
    "flipped": _at_random(_flip),
    "cut": _at_random(_cut),
    "lengthened": _one(lengthen),
    "emptied": _one(empty),
    "deleted": _one(Path.unlink),
    "folder": _one(make_folder),
    "filled folder": _one(fill_folder),
    "link to nothing": _one(link_to_nothing),
    "pipe": _one(make_pipe),
    "replaced": _replaced,
    "swapped": _swapped,
}


@dataclass(frozen=True)
class Damaged:
    """What was done to which files."""

    how: str
    files: tuple

    def __str__(self):
        return f"{self.how}: {' '.join(map(str, self.files))}"

    @staticmethod
    def of(fault):
        """All paths that a fault is about, which may be removed for it."""
        if known := shard_of(fault.path):
            shard, sidecar = find_shard(*known), store.sidecar_file(*known)
            return {str(shard), str(sidecar), fault.path}
        return {fault.path, str(store.voucher_file(fault.path))}

    def subjects(self):
        """The results that the damaged files are, are part of, or vouch for."""
        for file in self.files:
            path = vouched_by(file) if ".vouchers" in file.parts else file
            if known := shard_of(path):
                yield f"{known[0]}/{known[1]}: shard {known[2]} "
            else:
                inside = [str(place) for place in path.parents if place.name == "posterior.zarr"]
                yield inside[0] if inside else str(path)

    def named(self, lines):
        """Whether some line names each result."""
        return all(any(subject in line for line in lines.splitlines()) for subject in self.subjects())


def lost_beyond(damaged, faults, before, after):
    """Paths that are gone, or faults that are told, though no damage was done to them."""
    subjects = list(damaged.subjects())
    strange = [fault.told for fault in faults if not any(subject in f"{fault.told} " for subject in subjects)]
    mine = {path for fault in faults for path in damaged.of(fault)} | {str(file) for file in damaged.files}
    gone = [path for path in before if path not in after or after[path] != before[path]]
    kept = (".set-aside", "/mine.txt")
    return strange + [
        path
        for path in gone
        if path not in mine
        and not path.endswith(kept)
        and not any(path.startswith(f"{one}/") for one in mine)
    ]
