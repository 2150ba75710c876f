"""Everything under a results folder beside what vouches for it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hessgeo.store.files import PARTIAL, clear, discard, set_aside
from hessgeo.store.inputs import shard_of
from hessgeo.store.shards import ShardState, examine, find_shard, remove_shard, sidecar_file, verify
from hessgeo.store.vouchers import VOUCHERS, fault, vouched_by, withdraw


class DamageError(ValueError):
    """Results that verification found damaged or missing."""


TOKEN = re.compile(
    r"\.[0-9a-f]{8}$"
)  # in the names of unfinished files where two writers cannot know each other
ZARR_PARTIAL = re.compile(rf"\.[0-9a-f]{{32}}{re.escape(PARTIAL)}$")


@dataclass(frozen=True)
class Made:
    """What rules make, and what they leave beside it, as paths with ``{wildcards}``.

    Attributes:
        files: outputs.
        folders: outputs that are folders.
        unread: logs, benchmarks and reports, which no step reads.
    """

    files: Iterable[str]
    folders: Iterable[str]
    unread: Iterable[str]

    @staticmethod
    def matcher(patterns: Iterable[str]) -> re.Pattern[str]:
        """What fits one of the patterns, with anything but a slash for a wildcard."""
        parts = {
            re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(os.path.normpath(pattern))) for pattern in patterns
        }
        return re.compile("|".join(sorted(parts)) or r"(?!)")

    def parents(self) -> Iterator[str]:
        """Folders that outputs need to be in, as far as their names are known."""
        for pattern in (*self.files, *self.folders):
            yield from (str(place) for place in Path(pattern).parents if place.name and "{" not in place.name)


@dataclass(frozen=True)
class Fault:
    """A result that is damaged or missing.

    Attributes:
        path: of the result; of a shard, that of its sidecar.
        told: what is wrong, in one line.
        remove: removes it, so that the step that makes it is due again.
    """

    path: str
    told: str
    remove: Callable[[], None]


@dataclass
class Audit:
    """What was found under a results folder.

    Attributes:
        faults: the results that are damaged or missing.
        shards: of each array of a sample store, how many shards are whole and how many there should be.
        whole: number of results that are what was written, shards not counted.
        unread: number of logs, benchmarks and reports, which no step reads.
        strays: what no step makes, with what is to be said of it.
        leftovers: unfinished files of jobs that were killed.
    """

    faults: list[Fault] = field(default_factory=list)
    shards: dict[str, tuple[int, int]] = field(default_factory=dict)
    whole: int = 0
    unread: int = 0
    strays: dict[str, str] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)


def audit(root: str | Path, made: Made) -> Audit:
    """Compare everything under a results folder with what vouches for it; nothing is changed.

    Results are known by the paths that rules make, of whatever study, and by their vouchers; samples by their stores.
    """
    walk = _Walk(made)
    return walk.through(os.path.normpath(root))


class _Walk:
    """One walk through a results folder."""

    def __init__(self, made: Made) -> None:
        self.audit = Audit()
        self.files, self.folders = made.matcher(made.files), made.matcher(made.folders)
        self.unread, self.parents = made.matcher(made.unread), made.matcher(made.parents())
        self.arrays: dict[tuple[Path, str], set[int]] = {}
        self.results: set[str] = set()
        self.seen: set[str] = set()

    def through(self, root: str) -> Audit:
        def unreadable(error: OSError) -> None:
            self.audit.strays[str(error.filename)] = f"cannot be read ({error.strerror})"

        # Data may lie elsewhere, behind a link.
        for folder, folders, files in os.walk(root, followlinks=True, onerror=unreadable):
            for name in list(folders):
                if not self._descends(f"{folder}/{name}"):
                    folders.remove(name)
            for name in files:
                self._file(f"{folder}/{name}")
        for path in sorted(self.results):
            self._result(path)
        for (store, array), found in sorted(self.arrays.items()):
            self._array(store, array, found)
        return self.audit

    def _descends(self, path: str) -> bool:
        """Take note of a folder; whether to look into it."""
        name, real = os.path.basename(path), os.path.realpath(path)
        if name == VOUCHERS:
            self._vouchers(Path(path))
        elif self._is_of_shard(path):
            return True  # a shard is a file some folders further down
        elif self.folders.fullmatch(path) or self.files.fullmatch(path):
            self.results.add(path)
        elif self._is_leftover(path):
            self.audit.leftovers.append(path)
        elif real not in self.seen:  # links may lead in circles
            self.seen.add(real)
            return True
        return False

    def _is_leftover(self, path: str) -> bool:
        """Whether a job was writing this, see ``files.whole``, or Zarr was, when it was killed."""
        folder, name = os.path.split(path)
        if not name.endswith(PARTIAL):
            return False
        whole = name.removeprefix(".").removesuffix(PARTIAL)
        targets = {f"{folder}/{found}" for found in (whole, TOKEN.sub("", whole))}
        kinds = (self.files, self.folders, self.parents)
        known = any(kind.fullmatch(target) for kind in kinds for target in targets)
        return (name.startswith(".") and (known or any(map(shard_of, targets)))) or bool(
            ZARR_PARTIAL.search(name)
        )

    def _is_of_shard(self, path: str) -> bool:
        if known := shard_of(path):
            self.arrays.setdefault(known[:2], set()).add(known[2])
        return known is not None

    def _vouchers(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.name.startswith(".") and path.name.endswith(PARTIAL):
                self.audit.leftovers.append(str(path))
            elif not path.is_dir() and (subject := vouched_by(path)):
                self.results.add(str(subject))

    def _file(self, path: str) -> None:
        if self._is_of_shard(path):
            return
        if self.unread.fullmatch(path):
            self.audit.unread += 1
        elif self.files.fullmatch(path) or self.folders.fullmatch(path):
            self.results.add(path)
        elif self.parents.fullmatch(path):
            told = f"{path} is a file where a folder should be"
            self.audit.faults.append(Fault(path, told, partial(set_aside, Path(path))))
        elif self._is_leftover(path):
            self.audit.leftovers.append(path)
        else:
            self.audit.strays[path] = "is made by no step"

    def _result(self, path: str) -> None:
        found = fault(path)
        folder = self.folders.fullmatch(path) is not None
        if found is None:
            self.audit.whole += 1
        elif folder or self.files.fullmatch(path):
            remove = partial(_remove_result, Path(path), folder=folder)
            self.audit.faults.append(Fault(path, f"{path} {found}", remove))
        else:
            self.audit.strays[path] = found

    def _array(self, store: Path, array: str, found: set[int]) -> None:
        metadata = (store / "zarr.json", store / array / "zarr.json")
        if any(fault(file) for file in metadata):
            # A fault of its own; what the metadata would say of the shards cannot be asked.
            files = {
                shard: (find_shard(store, array, shard), sidecar_file(store, array, shard)) for shard in found
            }
            states = {shard: examine(*pair, {}, whole=True)[0] for shard, pair in files.items()}
        else:
            states = verify(store, array)
            states |= dict.fromkeys(found - set(states), ShardState.FOREIGN)
        place = f"{store}/{array}"
        wrong = {shard: state for shard, state in states.items() if state != ShardState.OK}
        self.audit.shards[place] = (len(states) - len(wrong), len(states))
        for shard, state in sorted(wrong.items()):
            remove = partial(remove_shard, store, array, shard)
            sidecar = str(sidecar_file(store, array, shard))
            self.audit.faults.append(Fault(sidecar, f"{place}: shard {shard} is {state}", remove))


def _remove_result(path: Path, *, folder: bool) -> None:
    withdraw([path])
    (discard if folder else clear)(path)
