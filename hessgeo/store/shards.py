"""Sample stores: one Zarr v3 group a study, one shard a job, one sidecar a shard.

A shard is filled in memory, written once, and vouched for by a sidecar written after it: store, array, rows, bytes,
digest. Zarr reads a shard that is not there as fill values in silence, and believes whatever its metadata say, so
nothing here is read that the sidecars do not know.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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

from hessgeo.store.contents import contents, ending, size_fault
from hessgeo.store.files import StoreError, alone, clear
from hessgeo.store.objects import copy, keep
from hessgeo.store.records import read_record, write_record
from hessgeo.store.strict import open_strictly

if TYPE_CHECKING:
    import dask.array as da

CHUNK_BYTES = 1 << 20
COMPRESSION = 3  # level of Zstandard
AT_ONCE = 16  # shards that are asked for side by side: those at a URL take their time
TAIL = 1 << 12  # bytes at the end of a shard: its index, and the checksum of its last chunk
VERSIONED = ("hessgeo", "numpy", "torch", "diffusers", "transformers", "open_clip_torch", "zarr")


class MissingArrayError(StoreError, FileNotFoundError):
    """A sample store without the array that was asked for."""


class ShardState(StrEnum):
    """What verification found of a shard."""

    OK = "ok"
    MISSING = "missing"
    TRUNCATED = "truncated"
    FLIPPED = "flipped"
    FOREIGN = "foreign"


Found = tuple[ShardState, str | None]  # with the model that the sidecar names


def create_samples(
    store: str | Path,
    *,
    points: Float[np.ndarray, "n d"],
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
        attributes: what the group says of itself; a digest of the points is added, by which sidecars know them.
    """
    points = np.asarray(points, dtype=float)
    known = {"points": hashlib.sha256(points.tobytes()).hexdigest()}
    Path(store, "zarr.json").unlink(missing_ok=True)  # a group that is there would keep what it says
    zarr.open_group(store, mode="a", zarr_format=3, attributes={**attributes, **known})
    zarr.open_group(f"{store}/embedding", mode="a", zarr_format=3)
    for group in ("", "embedding"):
        copy(Path(store, group, "zarr.json"))
    create_array(store, "t", samples=len(points), item=points.shape[1:], dtype="f8", shard=len(points))
    write_shard(store, "t", 0, points, about={})
    for name, (item, dtype) in arrays.items():
        create_array(store, name, samples=len(points), item=item, dtype=dtype, shard=shard)


def create_array(
    store: str | Path, name: str, *, samples: int, item: tuple[int, ...], dtype: DTypeLike, shard: int
) -> None:
    """Create the metadata of an array (samples, *item) whose shards hold ``shard`` samples each.

    Chunks inside a shard hold about a megabyte, so that a few rows are read without the rest of their shard.
    Every chunk carries a checksum; floats start as NaN. The last shard holds what is left. Metadata that a killed job
    left behind are replaced; shards that are there already stay.
    """
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
    )
    copy(Path(store, name, "zarr.json"))


def compressed_share(data: Shaped[np.ndarray, "rows *item"]) -> float:
    """Bytes that rows take in a shard over those in memory, compressed in chunks of their own."""
    step = max(1, CHUNK_BYTES // data[0].nbytes)
    codec = Zstd(level=COMPRESSION, checksum=True)
    chunks = (np.ascontiguousarray(data[start : start + step]) for start in range(0, len(data), step))
    return sum(len(codec.encode(chunk)) for chunk in chunks) / data.nbytes


@dataclass(frozen=True)
class StoredArray:
    """An array of a sample store as its metadata describe it.

    Attributes:
        store: folder of the store.
        name: the array.
        shape: of all samples.
        shard: samples a shard; the last one may hold fewer.
        identity: what sidecars know the array by: digests of its metadata and of the store's.
    """

    store: Path
    name: str
    shape: tuple[int, ...]
    shard: int
    identity: Mapping[str, str]

    def __getitem__(self, rows: slice | Int[np.ndarray, "m"]) -> Shaped[np.ndarray, "m *item"]:
        """Some rows, as ``read_array`` and ``read_rows`` read them."""
        if isinstance(rows, slice):
            return read_array(self.store, self.name, rows)
        return read_rows(self.store, self.name, rows)

    @property
    def count(self) -> int:
        """Number of shards."""
        return -(-self.shape[0] // self.shard)

    def rows(self, shard: int) -> slice:
        """Rows that a shard holds."""
        return slice(shard * self.shard, min((shard + 1) * self.shard, self.shape[0]))

    def expected(self, shard: int) -> dict[str, Any]:
        """What the sidecar of a shard says of where it belongs."""
        return {**self.identity, "array": self.name, "rows": [self.rows(shard).start, self.rows(shard).stop]}

    def file(self, shard: int) -> Path:
        """The file of a shard."""
        return Path(self.store, self.name, "c", str(shard), *"0" * (len(self.shape) - 1))


def _metadata(file: Path) -> dict[str, Any]:
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from error
    if not isinstance(metadata, dict):
        raise StoreError(f"{file} cannot be read: it holds no metadata")
    return metadata


def _digest(metadata: Any) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()


def describe_array(store: str | Path, name: str) -> StoredArray:
    """An array of a store as its metadata describe it.

    Raises:
        MissingArrayError: if the store does not have it.
        StoreError: if the metadata cannot be read, or are not those of an array in shards.
    """
    file = Path(store, name, "zarr.json")
    try:
        own, group = _metadata(file), _metadata(Path(store, "zarr.json"))
    except FileNotFoundError as error:
        raise MissingArrayError(f"{store} has no array {name}: {error.filename} is missing") from error
    try:
        shape = tuple(map(int, own["shape"]))
        shard = int(own["chunk_grid"]["configuration"]["chunk_shape"][0])
        if own["codecs"][0]["name"] != "sharding_indexed" or min(*shape, shard) < 1:
            raise StoreError(f"{store}/{name} is not made of shards")
    except (LookupError, TypeError, ValueError) as error:
        raise StoreError(f"{store}/{name} is not made of shards") from error
    return StoredArray(Path(store), name, shape, shard, {"store": _digest(group), "metadata": _digest(own)})


def shard_rows(store: str | Path, name: str, shard: int) -> slice:
    """Rows of the array that a shard holds.

    Raises:
        ValueError: on a shard that the array does not have.
    """
    array = describe_array(store, name)
    if not 0 <= shard < array.count:
        raise ValueError(f"shard {shard} of {store}/{name} is not allowed; allowed: 0 to {array.count - 1}")
    return array.rows(shard)


def shard_file(store: str | Path, name: str, shard: int) -> Path:
    """The file that holds a shard."""
    return describe_array(store, name).file(shard)


def sidecar_file(store: str | Path, name: str, shard: int) -> Path:
    """The sidecar of a shard, ``manifest/<store>/<array>/<shard>.json`` beside the folder of the stores."""
    return Path(store).parent.parent / "manifest" / Path(store).stem / name / f"{shard}.json"


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
        about: what else the sidecar says: seconds, device, settings digest; ``model``, a digest of the model that
            made the samples, which all shards must share to be read together.

    Raises:
        ValueError: if the data are not the rows that the shard holds, of another dtype, or not finite.
    """
    rows, stored = shard_rows(store, name, shard), describe_array(store, name)
    array = open_strictly(f"{store}/{name}", mode="r+")
    expected = (rows.stop - rows.start, *array.shape[1:])
    if data.shape != expected or data.dtype != array.dtype:
        raise ValueError(
            f"shard {shard} of {name} takes {array.dtype} {expected}, not {data.dtype} {data.shape}"
        )
    if data.dtype.kind == "f" and (wrong := np.count_nonzero(~np.isfinite(data))):
        raise ValueError(f"shard {shard} of {name} holds {wrong} values not finite")
    file = stored.file(shard)
    # Two jobs write one shard where a run was killed and its jobs were not: each does all of it, in turn.
    with alone(file.parent):
        # The old sidecar must not vouch for a new shard, not even for a moment, nor the old shard fill up the new one.
        remove_shard(store, name, shard)
        array[rows] = data
        record = {
            **stored.expected(shard),
            **contents(file),
            **ending(file, TAIL),
            **about,
            "versions": {package: version(package) for package in VERSIONED},
        }
        keep(file)
        write_record(sidecar_file(store, name, shard), record)


def examine(file: Path, sidecar: Path, expected: Mapping[str, Any], *, whole: bool) -> Found:
    """State of a shard, and the model that its sidecar names.

    Args:
        file: the shard.
        sidecar: its sidecar.
        expected: what the sidecar must say of store, array and rows.
        whole: compare all bytes, and not the size and the end alone.
    """
    try:
        record = read_record(sidecar)
        if any(record.get(key) != value for key, value in expected.items()):
            return ShardState.FOREIGN, None
        if size_fault(file, record["bytes"]):
            return (ShardState.TRUNCATED if file.is_file() else ShardState.MISSING), None
        found = contents(file) if whole else ending(file, TAIL)
        if found["bytes"] != record["bytes"]:  # of an object, whose pointer knows what it had
            return ShardState.TRUNCATED, None
        same = all(record[key] == value for key, value in found.items())
    except (OSError, StoreError, KeyError):
        return ShardState.MISSING, None
    return (ShardState.OK if same else ShardState.FLIPPED), record.get("model")


def _states(array: StoredArray, shards: Iterable[int], *, whole: bool) -> dict[int, Found]:
    def state(shard: int) -> tuple[int, Found]:
        sidecar = sidecar_file(array.store, array.name, shard)
        return shard, examine(array.file(shard), sidecar, array.expected(shard), whole=whole)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(pool.map(state, shards))


def verify(store: str | Path, name: str) -> dict[int, ShardState]:
    """State of every shard that an array should have, by digest.

    ``missing`` has no file or no sidecar that can be read, ``truncated`` another size than its sidecar says,
    ``flipped`` other bytes, ``foreign`` a sidecar of another store, array or place, or of other metadata.
    """
    array = describe_array(store, name)
    return {shard: state for shard, (state, _) in _states(array, range(array.count), whole=True).items()}


def remove_shard(store: str | Path, name: str, shard: int) -> None:
    """Remove a shard and its sidecar, so that the job that makes them is due again."""
    clear(sidecar_file(store, name, shard))
    clear(find_shard(store, name, shard))


def find_shard(store: str | Path, name: str, shard: int) -> Path:
    """The file of a shard in the folder of the array, whose metadata may be lost."""
    file = Path(store, name, "c", str(shard))
    while os.path.lexists(file / "0"):
        file /= "0"
    return file


def check_shards(array: StoredArray, shards: Iterable[int]) -> None:
    """Ask the sidecars for shards that are about to be read.

    Compared are what the sidecars say of store, array and rows, the size of each shard and its last bytes; what else
    there is in a shard has checksums, which Zarr compares as it reads.

    Raises:
        StoreError: if a shard is not what its sidecar says, or the shards are those of several models.
    """
    states = _states(array, shards, whole=False)
    wrong = [f"shard {shard} is {state}" for shard, (state, _) in states.items() if state != ShardState.OK]
    models = {model for _, model in states.values() if model}
    place, more = f"{array.store}/{array.name}", f", and {len(wrong) - 1} more are wrong" if wrong[1:] else ""
    if wrong:
        raise StoreError(f"{place} is not complete: {wrong[0]}{more}")
    if len(models) > 1:
        raise StoreError(f"{place} holds shards of two models in one store: {', '.join(sorted(models))}")


def _complete(store: str | Path, name: str, rows: slice | None) -> tuple[zarr.Array, slice]:
    """An array and the rows asked for, once every shard that holds some of them is known to be there."""
    array = describe_array(store, name)
    start, stop, step = (rows or slice(None)).indices(array.shape[0])
    if step != 1 or start >= stop:
        raise ValueError(f"rows {rows} of {name} is not allowed; allowed: a block of neighbouring rows")
    check_shards(array, range(start // array.shard, (stop - 1) // array.shard + 1))
    return open_strictly(f"{store}/{name}"), slice(start, stop)


def open_array(store: str | Path, name: str, rows: slice | None = None) -> da.Array:
    """Rows of an array of the store, all of them by default, lazily, in blocks of one shard.

    Raises:
        StoreError: if the array, or a shard that holds the rows, is missing or not what its sidecar says.
    """
    import dask.array as da  # most jobs need not wait for it

    array, rows = _complete(store, name, rows)
    return da.from_zarr(array, chunks=array.shards)[rows]


def read_array(store: str | Path, name: str, rows: slice | None = None) -> Shaped[np.ndarray, "rows *item"]:
    """Rows of an array of the store, all of them by default, in memory.

    Raises:
        StoreError: if the array, or a shard that holds the rows, is missing or not what its sidecar says.
    """
    array, rows = _complete(store, name, rows)
    return np.asarray(array[rows])


def read_rows(store: str | Path, name: str, rows: Int[np.ndarray, "m"]) -> Shaped[np.ndarray, "m *item"]:
    """Single rows of an array of the store, in the order asked for; only the chunks that hold them are read.

    Raises:
        ValueError: if a row is not in the array.
        StoreError: if the array, or a shard that holds one of the rows, is missing or not what its sidecar says.
    """
    array = describe_array(store, name)
    if (wrong := rows[(rows < 0) | (rows >= array.shape[0])]).size:
        most = array.shape[0] - 1
        raise ValueError(f"row {wrong[0]} of {store}/{name} is not allowed; allowed: 0 to {most}")
    check_shards(array, np.unique(rows // array.shard).tolist())
    stored = open_strictly(f"{store}/{name}")
    step, found = stored.chunks[0], np.empty((len(rows), *array.shape[1:]), stored.dtype)
    # Chunk by chunk: Zarr's own selection of rows holds indices of every number, a hundred times the memory of images.
    for chunk in np.unique(rows // step):
        here = rows // step == chunk
        block = np.asarray(stored[chunk * step : (chunk + 1) * step])
        found[here] = block[rows[here] - chunk * step]
    return found
