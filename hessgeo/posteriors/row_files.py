"""Files of a posterior that several jobs make: what all of them start from, and the strips of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hessgeo.posteriors.strips import Strip
from hessgeo.posteriors.tiles import Cut
from hessgeo.store.files import StoreError
from hessgeo.store.results import read_dataset, write_dataset

_SUMS = "sums"  # what an array is called that holds the marginals of strips
_VALUE = "row_"  # and how those of rows begin


@dataclass(frozen=True, eq=False)
class Start:
    """What all jobs must agree on, and what takes all samples to find.

    Attributes:
        resolution: the resolution number ``N``.
        chosen: whether it was chosen from the data.
        cut: how samples are sorted into tiles, for the method ``neighbours``.
    """

    resolution: float
    chosen: bool
    cut: Cut | None = None


def write_start(path: str | Path, start: Start) -> None:
    """Write what all jobs start from as NetCDF."""
    found = (
        {}
        if start.cut is None
        else {"order": ("sample", start.cut.order), "starts": ("tile", start.cut.starts)}
    )
    # As text, which holds every bit of it.
    about = {"resolution": start.resolution, "chosen": start.chosen}
    write_dataset(path, xr.Dataset(found, attrs={"about": about}))


def read_start(path: str | Path) -> Start:
    """Read what ``write_start`` wrote.

    Raises:
        StoreError: if it is not what its voucher says.
    """
    found = read_dataset(path)
    cut = Cut(found["order"].to_numpy(), found["starts"].to_numpy()) if "order" in found else None
    return Start(**json.loads(found.attrs["about"]), cut=cut)


def write_strips(path: str | Path, strips: Sequence[Strip], about: Mapping[str, Any]) -> None:
    """Write some strips of a posterior as NetCDF.

    Args:
        path: the file.
        strips: in their order, at least one.
        about: what must be the same of all files that are joined.
    """
    fields: dict[str, Any] = {
        "number": ("strip", [strip.number for strip in strips]),
        "rows": ("strip", [len(strip.sources) for strip in strips]),
        _SUMS: (("strip", "sample"), np.stack([strip.marginal for strip in strips])),
        "source": ("row", np.concatenate([strip.sources for strip in strips])),
    }
    for name in strips[0].values:
        value = np.concatenate([strip.values[name] for strip in strips])
        axes = [f"{name}_{axis}" for axis in range(1, value.ndim)]
        fields[f"{_VALUE}{name}"] = (("row", *axes), value)
    write_dataset(path, xr.Dataset(fields, attrs={"about": dict(about)}))


def read_strips(paths: Iterable[str | Path], about: Mapping[str, Any]) -> Iterator[Strip]:
    """The strips of files that ``write_strips`` wrote, file by file.

    Args:
        paths: the files, in the order of their strips.
        about: what all of them must say of themselves.

    Raises:
        StoreError: if a file is not what its voucher says, or of another posterior.
    """
    for path in paths:
        found = read_dataset(path)
        told = json.loads(found.attrs["about"])
        if told != dict(about):
            raise StoreError(f"{path} holds rows of another posterior: {told}, not {dict(about)}")
        names = [name.removeprefix(_VALUE) for name in map(str, found) if name.startswith(_VALUE)]
        ends = np.cumsum(found["rows"].to_numpy())
        for k, end in enumerate(ends):
            rows = slice(end - int(found["rows"][k]), end)
            values = {name: found[f"{_VALUE}{name}"].to_numpy()[rows] for name in names}
            yield Strip(
                int(found["number"][k]), found["source"].to_numpy()[rows], values, found[_SUMS].to_numpy()[k]
            )
