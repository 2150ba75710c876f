"""What lies at the URL of a results folder beside the objects that its pointers name: copies of metadata, and strays.

Pointers are asked for what they name; here alone a listing is asked for, which may lag, so that it only ever informs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hessgeo.store.files import StoreError
from hessgeo.store.objects import PROBE, ObjectStoreError, Place, copy, listed, pointed, read, the_place


@dataclass
class Beside:
    """What was found at a URL.

    Attributes:
        copied: URLs of copies of metadata that were not what they are copies of, and were copied again.
        strays: sizes of the objects that nothing points to, by URL.
        unlisted: why there is no listing, None if there is one.
    """

    copied: list[str] = field(default_factory=list)
    strays: dict[str, int] = field(default_factory=dict)
    unlisted: str | None = None


def look_beside(root: str | Path) -> Beside | None:
    """Compare the copies of metadata with what they are copies of, and look for objects that nothing points to.

    Args:
        root: the results folder.

    Returns:
        What was found; None where the results are not kept at a URL.

    Raises:
        ObjectStoreError: if the store cannot be asked for an object, or takes none.
    """
    here = the_place()
    if here.url is None:
        return None
    found, known = Beside(), {f"{here.url.rstrip('/')}/{PROBE}"}
    for path in _kept(Path(root), here):
        url = here.address(path)
        assert url is not None
        known.add(url)
        if path.name == "zarr.json" and not _same(url, path):
            copy(path)
            found.copied.append(url)
    try:
        found.strays = {url: size for url, size in listed(here.url) if url not in known}
    except ObjectStoreError as error:  # who may read an object need not be allowed to list
        found.unlisted = str(error)
    return found


def _kept(root: Path, here: Place) -> Iterator[Path]:
    """Files whose bytes are at the URL: pointers, and all metadata of the stores that they are in."""
    seen: set[str] = set()
    stores: set[Path] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # links may lead in circles
            folders.clear()
            continue
        seen.add(real)
        for path in (Path(folder, name) for name in files if ".zarr" in folder):
            try:
                pointer = pointed(path)
            except StoreError:
                continue  # a fault of its own
            if pointer and pointer.url == here.address(path):
                yield path
                stores.add(next(place for place in path.parents if place.suffix == ".zarr"))
    yield from (file for store in sorted(stores) for file in sorted(store.rglob("zarr.json")))


def _same(url: str, path: Path) -> bool:
    try:
        return read(url) == path.read_bytes()
    except StoreError:
        return False
