"""Import shards of images that are there into a study's sample store."""

import time
from pathlib import Path

from hessgeo import store
from hessgeo.pipeline import script_context
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.own import own_samples


def main(path, shard, own, about):
    start = time.perf_counter()
    images = own.read(store.shard_rows(path, "image", shard))
    store.write_shard(path, "image", shard, images, about={"seconds": time.perf_counter() - start, **about})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, source = step.params, step.params.own
        with source.reading(step.output.shards[0]) as files:
            own = own_samples(source.settings)
            about = {"device": "cpu", "settings": digest(params.sampling), "model": files}
            for sidecar in step.output.sidecars:
                main(params.store, int(Path(sidecar).stem), own, about)
