"""Results that are one file or one folder each: posteriors, gridded fields and numbers."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec

if TYPE_CHECKING:
    from hessgeo.free_energies.base import FreeEnergy
    from hessgeo.grids import Grid
    from hessgeo.posterior import Posterior


def _partial(path: str | Path) -> Path:
    """A place beside ``path`` to write to before the move that makes it whole at once."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.partial")


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all.

    Raises:
        ValueError: if a number is not finite, which JSON does not have.
    """
    partial = _partial(path)
    partial.write_text(json.dumps(value, indent=2, allow_nan=False, default=_plain) + "\n", encoding="utf-8")
    partial.replace(path)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
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
    partial = _partial(path)
    table.to_csv(partial, index=False, float_format="%.10g", lineterminator="\n")
    partial.replace(path)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table that ``write_table`` wrote."""
    return pd.read_csv(path)


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write an array in numpy's own format, whole or not at all."""
    partial = _partial(path)
    with partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    partial.replace(path)


def write_posterior(path: str | Path, posterior: Posterior) -> None:
    """Write a posterior as a Zarr v3 folder, whole or not at all: an array a field, the rest attributes."""
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    fields = {field.name: getattr(posterior, field.name) for field in dataclasses.fields(posterior)}
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    scalars: dict[str, Any] = {
        name: value for name, value in fields.items() if isinstance(value, bool | float | int | str)
    }
    group = zarr.open_group(partial, mode="w-", zarr_format=3, attributes=scalars)
    for name, value in arrays.items():
        group.create_array(
            name,
            data=value,
            compressors=ZstdCodec(level=3, checksum=True),
            config={"write_empty_chunks": True},
        )
    shutil.rmtree(path, ignore_errors=True)
    os.replace(partial, path)


def read_posterior(path: str | Path) -> Posterior:
    """Read a posterior that ``write_posterior`` wrote.

    Raises:
        FileNotFoundError: if there is none.
    """
    from hessgeo.posterior import Posterior

    group = zarr.open_group(path, mode="r")
    # Asked for by name: a listing would also see what others, such as Snakemake, leave in the folder.
    names = [field.name for field in dataclasses.fields(Posterior)]
    values: dict[str, Any] = {name: group.attrs[name] for name in names if name in group.attrs}
    for name in names:
        if name in group:
            values[name] = np.asarray(group[name])
    return Posterior(**values)


def write_dataset(path: str | Path, dataset: xr.Dataset) -> None:
    """Write a dataset as compressed NetCDF 4, whole or not at all; mappings in attributes become JSON."""
    attributes = {
        key: json.dumps(value, default=_plain) if isinstance(value, Mapping) else value
        for key, value in dataset.attrs.items()
    }
    encoding = {
        name: {"zlib": True, "complevel": 3} for name, field in dataset.data_vars.items() if field.ndim
    }
    partial = _partial(path)
    dataset.assign_attrs(attributes).to_netcdf(partial, engine="h5netcdf", encoding=encoding)
    partial.replace(path)


def read_dataset(path: str | Path) -> xr.Dataset:
    """Read a dataset that ``write_dataset`` wrote, into memory."""
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        return dataset.load()


def free_energy_dataset(free_energy: FreeEnergy, grid: Grid, *, attributes: Mapping[str, Any]) -> xr.Dataset:
    """A fitted free energy and its derivatives on a grid.

    Variables on dims ``(a, b)``: ``free_energy``, ``gradient (a, b, i)``, ``fisher_metric (a, b, i, j)`` and
    ``third (a, b, i, j, k)``; the first three have a ``<name>_error``, NaN if the fit does not know it. A fit
    with coefficients adds ``coefficients``.
    """
    import torch

    t = torch.from_numpy(grid.points)
    inner = {"free_energy": (), "gradient": ("i",), "fisher_metric": ("i", "j"), "third": ("i", "j", "k")}
    methods = {"free_energy": "value", "gradient": "gradient", "fisher_metric": "hessian", "third": "third"}
    fields: dict[str, Any] = {}
    for name, dims in inner.items():
        for suffix in ("", "_error")[: 1 if name == "third" else 2]:
            method = getattr(free_energy, methods[name] + suffix, None)
            shape = (*grid.shape, *(2,) * len(dims))
            values = np.full(shape, np.nan) if method is None else method(t).detach().cpu().numpy()
            fields[name + suffix] = (("a", "b", *dims), values.reshape(shape))
    coefficients = getattr(free_energy, "coefficients", None)
    if coefficients is not None:
        fields["coefficients"] = (("ka", "kb"), coefficients.detach().cpu().numpy())
    about = {"resolution": free_energy.resolution, "certificate": dict(free_energy.certificate), **attributes}
    coordinates = {"a": grid.axes[0], "b": grid.axes[1], "i": ["a", "b"], "j": ["a", "b"], "k": ["a", "b"]}
    return xr.Dataset(fields, coords=coordinates, attrs=about)
