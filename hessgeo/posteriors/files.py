"""Posteriors as Zarr folders that carry a digest of all that they hold."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from hessgeo.posteriors.base import Posterior
from hessgeo.store.files import StoreError, discard, whole
from hessgeo.store.objects import ObjectStoreError, keep_folder
from hessgeo.store.strict import StrictStore
from hessgeo.store.vouchers import check

DIGEST = "digest"


def _digest(fields: Mapping[str, Any]) -> str:
    """Digest of the fields of a posterior: of numbers their values, of arrays dtype, shape and content."""
    digest = hashlib.sha256()
    for name, value in sorted(fields.items()):
        if isinstance(value, np.ndarray):
            digest.update(json.dumps([name, value.dtype.str, value.shape]).encode())
            digest.update(np.ascontiguousarray(value).data)
        else:
            digest.update(json.dumps([name, value]).encode())
    return digest.hexdigest()


def write_posterior(path: str | Path, posterior: Posterior) -> None:
    """Write a posterior as a Zarr v3 folder, whole or not at all: an array a field, the rest attributes."""
    path = Path(path)
    values = {field.name: getattr(posterior, field.name) for field in dataclasses.fields(posterior)}
    fields = {name: value for name, value in values.items() if value is not None}
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    scalars: dict[str, Any] = {name: value for name, value in fields.items() if name not in arrays}
    with whole(path) as partial:
        attributes = {**scalars, DIGEST: _digest(fields)}
        group = zarr.open_group(partial, mode="w-", zarr_format=3, attributes=attributes)
        for name, value in arrays.items():
            group.create_array(
                name,
                data=value,
                compressors=ZstdCodec(level=3, checksum=True),
                config={"write_empty_chunks": True},
            )
        keep_folder(partial, path)
        discard(path)


def read_posterior(path: str | Path) -> Posterior:
    """Read a posterior that ``write_posterior`` wrote.

    Raises:
        FileNotFoundError: if there is none.
        StoreError: if a chunk is missing, or anything is not what was written.
    """
    check(path)
    # Asked for by name: a listing would also see what others, such as Snakemake, leave in the folder.
    names = [field.name for field in dataclasses.fields(Posterior)]
    try:
        group = zarr.open_group(StrictStore(path, read_only=True), mode="r", zarr_format=3)
        fields: dict[str, Any] = {name: group.attrs[name] for name in names if name in group.attrs}
        fields |= {name: np.asarray(group[name]) for name in names if name in group}
        known = group.attrs.get(DIGEST)
    except (FileNotFoundError, ObjectStoreError, StoreError):
        raise
    except Exception as error:
        raise StoreError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if known != _digest(fields):
        raise StoreError(f"{path} is not the posterior that was written: its digest is another")
    return Posterior(**fields)
