"""Features that are there already, in a file: a row for each image, in the order of the images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from hessgeo.features.base import FeatureCheckpoint, Features, directions
from hessgeo.weights.files import check_file, npy_header
from hessgeo.weights.headers import NUMBERS, from_bfloat16, read_header

SUFFIXES = (".npy", ".safetensors", ".parquet")
ALLOWED = "a .npy, .safetensors or .parquet file of features (n, d), a row a point in the order of the points"


class FeatureFile(FeatureCheckpoint):
    """Features (n, d): an array in ``.npy``, a tensor in ``.safetensors``, or columns of numbers in ``.parquet``.

    Rows become unit vectors, as the embeddings of all other kinds are: distances of features are those of their
    directions.
    """

    def __init__(self, checkpoint: str | Path | None, model: str | None = None) -> None:
        if checkpoint is None:
            raise ValueError(f"embedding.file is null, must be {ALLOWED}")
        self.path = str(checkpoint)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of features of each, by the header of the file.

        Raises:
            ValueError: one line, if the file is missing, cannot be read or holds no real numbers (n, d).
        """
        if Path(self.path).suffix not in SUFFIXES:
            raise ValueError(f"{self.path} must be a file in .npy, .safetensors or .parquet")
        check_file(self.path, "a file of features")
        with self._read() as (shape, kinds, _):
            if len(shape) != 2 or min(shape) < 1 or not set(kinds) <= set("fiu"):
                raise ValueError(f"{self.path} is of shape {tuple(shape)}, must be real numbers (n, d)")
        return int(shape[0]), int(shape[1])

    def check(self) -> None:
        """See ``FeatureCheckpoint``."""
        _ = self.shape

    def dimension(self, image_shape: tuple[int, int, int]) -> int:
        """See ``FeatureCheckpoint``; images have no say in it."""
        return self.shape[1]

    def files(self) -> list[str]:
        """See ``FeatureCheckpoint``."""
        return [self.path]

    def load(
        self, image_shape: tuple[int, int, int] | None = None, *, dtype: str = "float32", device: str = "cpu"
    ) -> Features:
        """No map from images.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{self.path} holds features of the images that are there, and embeds no others")

    def rows(self, rows: Int[np.ndarray, "row"]) -> Float32[np.ndarray, "row d"]:
        """Some of the rows, of unit length.

        Raises:
            ValueError: one line, on a row that is not finite or is zero.
        """
        with self._read() as (_, _, read):
            unit, lost = directions(read(rows))
        if lost.any():
            raise ValueError(f"row {rows[np.argmax(lost)]} of {self.path} must be finite and not zero")
        return unit.astype(np.float32)

    @contextmanager
    def _read(self) -> Iterator[tuple[tuple[int, ...], str, Any]]:
        """Shape, kinds of the numbers, and what reads rows."""
        try:
            if self.path.endswith(".npy"):
                npy_header(self.path, "a .npy file of features")
                array = np.load(self.path, mmap_mode="r", allow_pickle=False)
                yield array.shape, array.dtype.kind, lambda rows: np.asarray(array[rows])
            elif self.path.endswith(".safetensors"):
                yield self._safetensors()
            else:
                yield from self._parquet()
        except (OSError, KeyError, TypeError, EOFError, RuntimeError) as error:
            raise ValueError(f"{self.path} cannot be read ({' '.join(str(error).split())[:200]})") from error

    def _safetensors(self) -> tuple[tuple[int, ...], str, Any]:
        tensors = list(read_header(self.path).tensors.values())
        if len(tensors) != 1:
            raise ValueError(f"{self.path} holds {len(tensors)} tensors, must hold one")
        (entry,) = tensors
        if entry.dtype not in NUMBERS:
            return entry.shape, entry.dtype, None
        halves = entry.dtype == "BF16"

        def read(rows: Int[np.ndarray, "row"]) -> np.ndarray:
            found = np.memmap(self.path, NUMBERS[entry.dtype], "r", entry.start, entry.shape)[rows]
            return from_bfloat16(found) if halves else found

        return entry.shape, "f" if halves else np.dtype(NUMBERS[entry.dtype]).kind, read

    def _parquet(self) -> Iterator[tuple[tuple[int, ...], str, Any]]:
        import pyarrow
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(self.path) as file:
                index = self._index(file.schema_arrow)
                names = [name for name in file.schema_arrow.names if name not in index]
                kinds = "".join(
                    np.dtype(file.schema_arrow.field(name).type.to_pandas_dtype()).kind for name in names
                )

                def read(rows: Int[np.ndarray, "row"]) -> np.ndarray:
                    columns = file.read(names).columns
                    return np.stack([column.to_numpy()[rows] for column in columns], axis=1)

                yield (file.metadata.num_rows, len(names)), kinds, read
        except (pyarrow.ArrowException, NotImplementedError) as error:
            raise ValueError(f"{self.path} cannot be read ({' '.join(str(error).split())[:200]})") from error

    def _index(self, schema: Any) -> list[Any]:
        """Columns that say which row it is, as pandas keeps them under whatever name they have."""
        try:
            return [*(schema.pandas_metadata or {}).get("index_columns", ())]
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise ValueError(f"{self.path} cannot be read (its metadata of pandas are damaged)") from error
