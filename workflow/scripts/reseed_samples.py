"""Draw cells of a study again by the same model, and measure how far their embeddings move."""

import dask.array as da
import xarray as xr

from hessgeo import store
from hessgeo.evaluation.reseeding import reseeded
from hessgeo.features import embed
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.vouched import loaded_embedding, loaded_system
from hessgeo.systems.batches import even_batch


def main(system, embedded, t, embedding, grid, cells, seed, output):
    null = reseeded(system, embedded, t, embedding, grid, cells=cells, seed=seed)
    fields = {"distance": ("cell", null.distance), "row": ("cell", null.row)}
    store.write_dataset(output.reseeded, xr.Dataset(fields, attrs={"by": null.by}))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        anchors = store.read_npy(step.input.anchors)
        system = loaded_system(params.system, anchors, params.plane, most=params.most)
        network = loaded_embedding(params.embedder, params.image_shape)

        def embedded(images):
            batch = even_batch(len(images), params.embedder.settings["batch_size"])
            return embed(da.from_array(images, chunks=(batch, -1, -1, -1)), network, threads=step.threads)

        embedding, t = (store.read_array(params.store, name) for name in (params.array, "t"))
        main(system, embedded, t, embedding, Grid(**params.grid), params.cells, params.seed, step.output)
