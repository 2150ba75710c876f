"""Vouchers: a record of size and SHA-256 beside each result, written last, by which every reader knows it again.

A result ``folder/name`` has its voucher in ``folder/.vouchers/name.json``; what lies in a sample store, beside the
store. Shards of samples are vouched for by their sidecars instead, see ``shards``. Both are ``records``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from hessgeo.store.contents import content_fault, contents
from hessgeo.store.files import StoreError, clear
from hessgeo.store.records import read_record, write_record

VOUCHERS = ".vouchers"
# Paths of a shard, and of its sidecar.
SHARD = re.compile(r"(?:^|/)samples/[^/]+\.zarr/(?P<array>.+?)/c/(?P<shard>\d+)(?:/0)*$")
SIDECAR = re.compile(r"(?:^|/)manifest/(?P<store>[^/]+)/(?P<array>.+)/(?P<shard>\d+)\.json$")
MARKER = ".snakemake_timestamp"  # what Snakemake leaves in a folder that a rule makes


def voucher_file(path: str | Path) -> Path:
    """The voucher of a result."""
    path = Path(path)
    stores = (place for place in path.parents if place.suffix == ".zarr" and place.parent.name == "samples")
    base = next((place.parent for place in stores), path.parent)
    return base / VOUCHERS / f"{path.relative_to(base)}.json"


def vouched_by(voucher: Path) -> Path | None:
    """The result that a file in a folder of vouchers is about, None if it is no voucher."""
    folder = next((place for place in voucher.parents if place.name == VOUCHERS), None)
    if folder is None or voucher.suffix != ".json":
        return None
    return folder.parent / voucher.relative_to(folder).with_suffix("")


def _inside(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.name != MARKER and not path.is_dir():
            yield path


def in_manifest(path: str | Path) -> bool:
    """Whether a result is a shard of a sample store or the sidecar of one, which need no voucher."""
    return bool(SHARD.search(str(path)) or SIDECAR.search(str(path)))


def vouch(paths: Iterable[str | Path]) -> None:
    """Write the vouchers of results, files or folders, that are complete; shards and their sidecars need none."""
    for path in map(Path, paths):
        if in_manifest(path):
            continue
        if path.is_dir():
            files = {str(file.relative_to(path)): contents(file) for file in _inside(path)}
            write_record(voucher_file(path), {"name": path.name, "files": files})
        else:
            write_record(voucher_file(path), {"name": path.name, **contents(path)})


def withdraw(paths: Iterable[str | Path]) -> None:
    """Remove the vouchers of results that are about to change, so that nothing vouches for what replaces them."""
    for path in paths:
        voucher = voucher_file(path)
        if os.path.lexists(voucher):
            clear(voucher)


def fault(path: str | Path) -> str | None:
    """What is wrong with a result, None if it is what its voucher says."""
    path = Path(path)
    if not path.exists():
        return "is a link to nothing" if path.is_symlink() else "is missing"
    try:
        record = read_record(voucher_file(path))
    except FileNotFoundError:
        return "has nothing that vouches for it"
    except (OSError, StoreError):
        return "has a voucher that cannot be read"
    if record.pop("name", None) != path.name:
        return "has the voucher of another result"
    if "files" not in record:
        return content_fault(path, record)
    if not path.is_dir():
        return "is no folder"
    faults = ((name, content_fault(path / name, entry)) for name, entry in record["files"].items())
    return next((f"is not whole: {name} in it {found}" for name, found in faults if found), None)


def check(path: str | Path) -> None:
    """Compare a result with its voucher, where it has one: a file that was carried elsewhere has none.

    Raises:
        FileNotFoundError: if there is no such file.
        StoreError: if the result is not what its voucher says.
    """
    path = Path(path)
    if os.path.lexists(voucher_file(path)) and (found := fault(path)):
        raise (FileNotFoundError if found == "is missing" else StoreError)(f"{path} {found}")
