"""Zarr folders in which a chunk that is missing is an error, not a block of fill values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore

from hessgeo.store.files import StoreError
from hessgeo.store.objects import ObjectStoreError, Pointer, pointed


class StrictStore(LocalStore):
    """A folder whose chunks must all be there; metadata may be asked for in vain, as Zarr does to find out."""

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        """The content under a key.

        Raises:
            StoreError: if it is that of a chunk, and there is none.
        """
        is_chunk = "c" in key.split("/") and not key.endswith("zarr.json")
        if is_chunk and (pointer := pointed(self.root / key)):
            return await _read(pointer, *arguments, **options)
        found = await super().get(key, *arguments, **options)
        if found is None and is_chunk:
            raise StoreError(f"{self.root}/{key} is missing")
        return found


async def _read(
    pointer: Pointer, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
) -> Buffer:
    """What a pointer stands for, or a range of it."""
    start, stop = 0, pointer.bytes
    match byte_range:
        case RangeByteRequest():
            start, stop = byte_range.start, min(byte_range.end, stop)
        case OffsetByteRequest():
            start = byte_range.offset
        case SuffixByteRequest():
            start = max(0, stop - byte_range.suffix)
    buffer = (prototype or default_buffer_prototype()).buffer
    return buffer.from_bytes(await pointer.read(start, stop))


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
    except (FileNotFoundError, ObjectStoreError):
        raise
    except Exception as error:
        raise StoreError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
