"""Sample stores: one Zarr v3 group a study, one shard a job, one sidecar a shard.

A shard is filled in memory, written once, and vouched for by a sidecar written after it: rows, bytes, digest.
Zarr reads a shard that is not there as fill values in silence, so nothing here is read without its sidecars.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from jaxtyping import Float, Int, Shaped
from numcodecs.zstd import Zstd
from numpy.typing import DTypeLike
from zarr.codecs import ZstdCodec

from hessgeo.store.results import read_json, write_json

if TYPE_CHECKING:
    import dask.array as da

CHUNK_BYTES = 1 << 20
COMPRESSION = 3  # level of Zstandard
VERSIONED = ("hessgeo", "numpy", "torch", "diffusers", "transformers", "open_clip_torch", "zarr")


class StoreError(ValueError):
    """A sample store that cannot be read as it stands."""


class MissingArrayError(StoreError, FileNotFoundError):
    """A sample store without the array that was asked for."""


class ShardState(StrEnum):
    """What verification found of a shard."""

    OK = "ok"
    MISSING = "missing"
    TRUNCATED = "truncated"
    FLIPPED = "flipped"


def create_samples(
    store: str | Path,
    *,
    points: Float[np.ndarray, "n 2"],
    arrays: Mapping[str, tuple[tuple[int, ...], DTypeLike]],
    shard: int,
    attributes: Mapping[str, Any],
) -> None:
    """Create a sample store: its group, its parameter points ``t`` with their sidecar, and empty arrays.

    Args:
        store: folder of the store.
        points: parameter point of each sample.
        arrays: shape of one sample and dtype of each array, by name.
        shard: samples a shard.
        attributes: what the group says of itself.

    Raises:
        ValueError: if ``shard`` does not divide the number of points.
    """
    zarr.open_group(store, mode="a", zarr_format=3, attributes=dict(attributes))
    zarr.open_group(f"{store}/embedding", mode="a", zarr_format=3)
    create_array(store, "t", samples=len(points), item=(2,), dtype="f8", shard=len(points))
    write_shard(store, "t", 0, np.asarray(points, dtype=float), about={})
    for name, (item, dtype) in arrays.items():
        create_array(store, name, samples=len(points), item=item, dtype=dtype, shard=shard)


def create_array(
    store: str | Path, name: str, *, samples: int, item: tuple[int, ...], dtype: DTypeLike, shard: int
) -> None:
    """Create the metadata of an array (samples, *item) whose shards hold ``shard`` samples each.

    Chunks inside a shard hold about a megabyte, so that a few rows are read without the rest of their shard.
    Every chunk carries a checksum; floats start as NaN. Metadata that a killed job left behind are replaced;
    shards that are there already stay.

    Raises:
        ValueError: if ``shard`` does not divide ``samples``.
    """
    if samples % shard:
        raise ValueError(f"shard {shard} must divide the number of samples, {samples}")
    dtype = np.dtype(dtype)
    rows = max(1, min(shard, CHUNK_BYTES // (dtype.itemsize * int(np.prod(item)))))
    # Zarr would refuse to create an array twice, or remove its shards with it.
    Path(store, name, "zarr.json").unlink(missing_ok=True)
    zarr.create_array(
        f"{store}/{name}",
        shape=(samples, *item),
        dtype=dtype,
        shards=(shard, *item),
        chunks=(next(chunk for chunk in range(rows, 0, -1) if shard % chunk == 0), *item),
        compressors=ZstdCodec(level=COMPRESSION, checksum=True),
        fill_value=np.nan if dtype.kind == "f" else 0,
        overwrite=False,
    )


def compressed_share(data: Shaped[np.ndarray, "rows *item"]) -> float:
    """Bytes that rows take in a shard over those in memory, compressed in chunks of their own."""
    step = max(1, CHUNK_BYTES // data[0].nbytes)
    codec = Zstd(level=COMPRESSION, checksum=True)
    chunks = (np.ascontiguousarray(data[start : start + step]) for start in range(0, len(data), step))
    return sum(len(codec.encode(chunk)) for chunk in chunks) / data.nbytes


def _open(store: str | Path, name: str) -> tuple[zarr.Array, int]:
    """An array of the store, and how many samples a shard of it holds."""
    try:
        # Whether empty chunks are written is not stored, and open_array ignores its argument for it.
        with zarr.config.set({"array.write_empty_chunks": True}):
            array = zarr.open_array(f"{store}/{name}", mode="r+")
    except FileNotFoundError as error:
        raise MissingArrayError(f"{store} has no array {name}") from error
    if array.shards is None:
        raise StoreError(f"{store}/{name} is not made of shards")
    return array, array.shards[0]


def shard_rows(store: str | Path, name: str, shard: int) -> slice:
    """Rows of the array that a shard holds.

    Raises:
        ValueError: on a shard that the array does not have.
    """
    array, rows = _open(store, name)
    last = array.shape[0] // rows - 1
    if not 0 <= shard <= last:
        raise ValueError(f"shard {shard} of {store}/{name} is not allowed; allowed: 0 to {last}")
    return slice(shard * rows, (shard + 1) * rows)


def shard_file(store: str | Path, name: str, shard: int) -> Path:
    """The file that holds a shard."""
    array, _ = _open(store, name)
    key = array.metadata.encode_chunk_key((shard, *(0,) * (array.ndim - 1)))
    return Path(store) / name / key


def sidecar_file(store: str | Path, name: str, shard: int) -> Path:
    """The sidecar of a shard, ``manifest/<store>/<array>/<shard>.json`` beside the folder of the stores."""
    store = Path(store)
    return store.parent.parent / "manifest" / store.stem / name / f"{shard}.json"


def write_shard(
    store: str | Path,
    name: str,
    shard: int,
    data: Shaped[np.ndarray, "rows *item"],
    *,
    about: Mapping[str, Any],
) -> None:
    """Write one whole shard, then its sidecar.

    Args:
        store: folder of the store.
        name: array.
        shard: index of the shard.
        data: all rows of the shard, of the array's own dtype.
        about: what else the sidecar says: seconds, device, settings digest.

    Raises:
        ValueError: if the data are not the rows that the shard holds, of another dtype, or not finite.
    """
    (array, _), rows = _open(store, name), shard_rows(store, name, shard)
    expected = (rows.stop - rows.start, *array.shape[1:])
    if data.shape != expected or data.dtype != array.dtype:
        raise ValueError(
            f"shard {shard} of {name} takes {array.dtype} {expected}, not {data.dtype} {data.shape}"
        )
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise ValueError(
            f"shard {shard} of {name} holds {np.count_nonzero(~np.isfinite(data))} values not finite"
        )
    sidecar = sidecar_file(store, name, shard)
    # The old sidecar must not vouch for a new shard, not even for the moment between the two writes.
    sidecar.unlink(missing_ok=True)
    array[rows] = data
    content = shard_file(store, name, shard).read_bytes()
    record = {
        "array": name,
        "rows": [rows.start, rows.stop],
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        **about,
        "versions": {package: version(package) for package in VERSIONED},
    }
    write_json(sidecar, record)


def _state(file: Path, sidecar: Path) -> ShardState:
    if not file.is_file() or not sidecar.is_file():
        return ShardState.MISSING
    try:
        record = read_json(sidecar)
        size, sha256 = record["bytes"], record["sha256"]
    except (ValueError, TypeError, KeyError):
        return ShardState.MISSING
    if file.stat().st_size != size:
        return ShardState.TRUNCATED
    with file.open("rb") as stream:
        same = hashlib.file_digest(stream, "sha256").hexdigest() == sha256
    return ShardState.OK if same else ShardState.FLIPPED


def verify(store: str | Path, name: str) -> dict[int, ShardState]:
    """State of every shard that an array should have, by digest.

    ``missing`` has no file or no sidecar that can be read, ``truncated`` another size than its sidecar says,
    ``flipped`` other bytes.
    """
    array, size = _open(store, name)
    shards = range(array.shape[0] // size)
    return {k: _state(shard_file(store, name, k), sidecar_file(store, name, k)) for k in shards}


def remove_shard(store: str | Path, name: str, shard: int) -> None:
    """Remove a shard and its sidecar, so that the job that makes them is due again."""
    sidecar_file(store, name, shard).unlink(missing_ok=True)
    shard_file(store, name, shard).unlink(missing_ok=True)


def _complete(store: str | Path, name: str, rows: slice | None) -> tuple[zarr.Array, slice]:
    """An array and the rows asked for, once the sidecar of every shard that holds some of them is there."""
    array, size = _open(store, name)
    start, stop, step = (rows or slice(None)).indices(array.shape[0])
    if step != 1 or start >= stop:
        raise ValueError(f"rows {rows} of {name} is not allowed; allowed: a block of neighbouring rows")
    _check_sidecars(store, name, range(start // size, (stop - 1) // size + 1))
    return array, slice(start, stop)


def _check_sidecars(store: str | Path, name: str, shards: Iterable[int]) -> None:
    missing = [k for k in shards if not sidecar_file(store, name, k).is_file()]
    if missing:
        raise StoreError(
            f"{store}/{name} is not complete: {len(missing)} shards lack their sidecars (first: {missing[0]})"
        )


def open_array(store: str | Path, name: str, rows: slice | None = None) -> da.Array:
    """Rows of an array of the store, all of them by default, lazily, in blocks of one shard.

    Raises:
        StoreError: if the array, or the sidecar of a shard that holds the rows, is missing.
    """
    # Imported here: most jobs read arrays whole, and need not wait for Dask.
    import dask.array as da

    array, rows = _complete(store, name, rows)
    return da.from_zarr(array, chunks=array.shards)[rows]


def read_array(store: str | Path, name: str, rows: slice | None = None) -> Shaped[np.ndarray, "rows *item"]:
    """Rows of an array of the store, all of them by default, in memory.

    Raises:
        StoreError: if the array, or the sidecar of a shard that holds the rows, is missing.
    """
    array, rows = _complete(store, name, rows)
    return np.asarray(array[rows])


def read_rows(store: str | Path, name: str, rows: Int[np.ndarray, "m"]) -> Shaped[np.ndarray, "m *item"]:
    """Single rows of an array of the store, in the order asked for; only the chunks that hold them are read.

    Raises:
        ValueError: if a row is not in the array.
        StoreError: if the array, or the sidecar of a shard that holds one of the rows, is missing.
    """
    array, size = _open(store, name)
    outside = (rows < 0) | (rows >= array.shape[0])
    if outside.any():
        raise ValueError(
            f"row {rows[outside][0]} of {store}/{name} is not allowed; allowed: 0 to {array.shape[0] - 1}"
        )
    _check_sidecars(store, name, np.unique(rows // size).tolist())
    return np.asarray(array.oindex[rows])
