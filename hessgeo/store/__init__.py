"""Everything that reads or writes results: Zarr shards and sidecars, Zarr folders, NetCDF, JSON."""

from hessgeo.store.results import (
    free_energy_dataset,
    read_dataset,
    read_json,
    read_posterior,
    write_dataset,
    write_json,
    write_posterior,
)
from hessgeo.store.shards import (
    MissingArrayError,
    ShardState,
    StoreError,
    create_array,
    create_samples,
    open_array,
    read_array,
    remove_shard,
    shard_file,
    shard_rows,
    sidecar_file,
    verify,
    write_shard,
)

__all__ = [
    "MissingArrayError",
    "ShardState",
    "StoreError",
    "create_array",
    "create_samples",
    "free_energy_dataset",
    "open_array",
    "read_array",
    "read_dataset",
    "read_json",
    "read_posterior",
    "remove_shard",
    "shard_file",
    "shard_rows",
    "sidecar_file",
    "verify",
    "write_dataset",
    "write_json",
    "write_posterior",
    "write_shard",
]
