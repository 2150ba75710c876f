"""Sample and embed what one job makes of a round of a study's refinement."""

import logging

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.refine import no_nodes, refined_so_far, sample_nodes
from hessgeo.pipeline.vouched import loaded_embedding, loaded_system


def main(index, fine, models, output, *, shape, dimension, first, seed):
    logging.info("%d nodes are due", len(index))
    if not len(index):  # no model is loaded for it
        store.write_dataset(output.samples, no_nodes(shape, dimension))
        return
    store.write_dataset(output.samples, sample_nodes(index, fine, *models(), first=first, seed=seed))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        fine = Grid(grid.extent, tuple(params.shape))
        embedding = store.read_array(params.store, params.array)
        medoids = [phase["medoid"] for phase in store.read_json(step.input.phases)["phases"]]
        rounds = list(map(store.read_dataset, step.input.rounds))
        _, due = refined_so_far(embedding, medoids, rounds, grid, fine, params.refine)

        def models():
            anchors = store.read_npy(step.input.anchors)
            system = loaded_system(params.system, anchors, params.plane, most=params.most)
            return system, loaded_embedding(params.embedder, params.image_shape)

        about = {"shape": params.image_shape, "dimension": embedding.shape[1], "first": grid.size}
        mine = due[int(step.wildcards.part) :: params.jobs]
        main(mine, fine, models, step.output, **about, seed=params.seed)
