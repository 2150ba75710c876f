"""Zarr folders in which a chunk that is missing is an error, not a block of fill values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from hessgeo.store.files import StoreError


class StrictStore(LocalStore):
    """A folder whose chunks must all be there; metadata may be asked for in vain, as Zarr does to find out."""

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        """The content under a key.

        Raises:
            StoreError: if it is that of a chunk, and there is none.
        """
        found = await super().get(key, *arguments, **options)
        if found is None and "c" in key.split("/") and not key.endswith("zarr.json"):
            raise StoreError(f"{self.root}/{key} is missing")
        return found


def open_strictly(path: str | Path, *, mode: str = "r") -> zarr.Array:
    """An array in a folder, to read it, or to write whole shards of it with ``r+``; no chunk may be missing.

    Raises:
        FileNotFoundError: if there is none.
        StoreError: if its metadata cannot be read, or a chunk is missing when it is read.
    """
    try:
        # Whether empty chunks are written is not stored, and open_array ignores its argument for it.
        with zarr.config.set({"array.write_empty_chunks": True}):
            store = LocalStore(path) if mode == "r+" else StrictStore(path, read_only=True)
            return zarr.open_array(store, mode=mode, zarr_format=3)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise StoreError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
