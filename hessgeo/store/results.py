"""Results that are one file each: gridded fields, tables, numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hessgeo.store.files import plain, whole
from hessgeo.store.vouchers import check


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all.

    Raises:
        ValueError: if a number is not finite, which JSON does not have.
    """
    text = json.dumps(value, indent=2, allow_nan=False, default=plain) + "\n"
    write_text(path, text)


def write_text(path: str | Path, text: str) -> None:
    """Write a text, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        StoreError: if it is not what its voucher says.
    """
    check(path)
    return json.loads(Path(path).read_text(encoding="utf-8"))


def finite(value: Any) -> Any:
    """A value for JSON, None where a number in it is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float | np.floating) and not np.isfinite(value) else value


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as CSV with ten significant digits, whole or not at all."""
    with whole(path) as partial:
        table.to_csv(partial, index=False, float_format="%.10g", lineterminator="\n")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table that ``write_table`` wrote.

    Raises:
        StoreError: if it is not what its voucher says.
    """
    check(path)
    return pd.read_csv(path)


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write an array in numpy's own format, whole or not at all."""
    with whole(path) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_npy(path: str | Path) -> np.ndarray:
    """Read an array that ``write_npy`` wrote.

    Raises:
        StoreError: if it is not what its voucher says.
    """
    check(path)
    return np.load(path, allow_pickle=False)


def write_dataset(path: str | Path, dataset: xr.Dataset) -> None:
    """Write a dataset as compressed NetCDF 4, whole or not at all; mappings in attributes become JSON."""
    attributes = {
        key: json.dumps(value, default=plain) if isinstance(value, Mapping) else value
        for key, value in dataset.attrs.items()
    }
    encoding = {
        name: {"zlib": True, "complevel": 3} for name, field in dataset.data_vars.items() if field.ndim
    }
    # In memory first: HDF5 does not survive a disk that is full.
    content = dataset.assign_attrs(attributes).to_netcdf(engine="h5netcdf", encoding=encoding)
    with whole(path) as partial:
        partial.write_bytes(content)


def read_dataset(path: str | Path) -> xr.Dataset:
    """Read a dataset that ``write_dataset`` wrote, into memory.

    Raises:
        StoreError: if it is not what its voucher says.
    """
    check(path)
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        return dataset.load()
