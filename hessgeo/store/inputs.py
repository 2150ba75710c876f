"""What a job makes sure of before it reads results of others."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from hessgeo.store.files import StoreError
from hessgeo.store.shards import check_shards, describe_array
from hessgeo.store.vouchers import SHARD, SIDECAR, fault


def check_results(paths: Iterable[str | Path], root: str | Path) -> None:
    """Compare those files that lie in the results folder with what vouches for them, before a job reads them.

    Shards are asked for their size and their end, since all else in them is compared as it is read.

    Raises:
        StoreError: if one is missing, is not what was written, or has nothing that vouches for it.
    """
    roots = {Path(os.path.abspath(root)), Path(root).resolve()}
    shards: dict[tuple[Path, str], set[int]] = {}
    for path in map(Path, paths):
        places = (Path(os.path.abspath(path)), path.resolve())
        if not any(place.is_relative_to(folder) for place in places for folder in roots):
            continue
        if known := shard_of(path):
            shards.setdefault(known[:2], set()).add(known[2])
        elif found := fault(path):
            raise StoreError(f"{path} {found}")
    for (store, array), numbers in shards.items():
        check_shards(describe_array(store, array), sorted(numbers))


def shard_of(path: str | Path) -> tuple[Path, str, int] | None:
    """Store, array and number of the shard that a path is, or is the sidecar of."""
    text = str(path)
    if found := SHARD.search(text):
        return Path(text[: found.start("array") - 1]), found["array"], int(found["shard"])
    if found := SIDECAR.search(text):
        study = Path(text[: found.start("store")]).parent
        return study / "samples" / f"{found['store']}.zarr", found["array"], int(found["shard"])
    return None
