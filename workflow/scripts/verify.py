"""Compare every shard with its sidecar, remove what does not match, and say what to run next."""

import sys
from contextlib import suppress
from pathlib import Path

from hessgeo import store
from hessgeo.store import MissingArrayError, ShardState, StoreError
from hessgeo.workflow import script_context


def states(path, name, shards):
    try:
        return store.verify(path, name)
    except MissingArrayError:
        return dict.fromkeys(range(shards), ShardState.MISSING)


def main(stores, report):
    """Walk the arrays of each store, ``{path: {array: number of shards}}``, and report what is there."""
    bad = 0
    for path, arrays in stores.items():
        if not Path(path).is_dir():
            report.write(f"{path}: not made yet\n")
            continue
        for name, shards in arrays.items():
            found = states(path, name, shards)
            wrong = {shard: state for shard, state in found.items() if state != ShardState.OK}
            report.write(f"{path}/{name}: {shards - len(wrong)} of {shards} shards ok\n")
            for shard, state in wrong.items():
                report.write(f"{path}/{name}: shard {shard} is {state}\n")
                with suppress(MissingArrayError):  # then the array itself is due again
                    store.remove_shard(path, name, shard)
            bad += len(wrong)
    if bad:
        raise StoreError(
            f"{bad} shards are missing, truncated or flipped; to make them again: snakemake --cores all, "
            "and table1 for those of solvable systems"
        )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.params.stores, sys.stdout)
