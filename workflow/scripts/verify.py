"""Compare every shard with its sidecar, remove what does not match, and say what to run next."""

import logging

from hessgeo import store
from hessgeo.store import MissingArrayError, ShardState, StoreError
from hessgeo.workflow import script_context


def states(path, name, shards):
    try:
        return store.verify(path, name)
    except MissingArrayError:
        return dict.fromkeys(range(shards), ShardState.MISSING)


def main(stores):
    """Walk the arrays of each store, given as ``{path: {array: number of shards}}``."""
    bad = []
    for path, arrays in stores.items():
        for name, shards in arrays.items():
            found = states(path, name, shards)
            for shard, state in found.items():
                if state != ShardState.OK:
                    logging.warning("%s/%s shard %d is %s", path, name, shard, state)
                    bad.append(f"{name} {shard} {state}")
                if state in (ShardState.TRUNCATED, ShardState.FLIPPED):
                    store.remove_shard(path, name, shard)
            logging.info("%s/%s: %d of %d ok", path, name, list(found.values()).count(ShardState.OK), shards)
    if bad:
        raise StoreError(f"{len(bad)} shards to make again ({', '.join(bad)}): run snakemake --cores all")


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(dict(zip(step.params.stores, step.params.arrays, strict=True)))
