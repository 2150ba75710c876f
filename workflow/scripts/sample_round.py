"""Sample and embed what one job makes of a round of a study's refinement."""

import logging

from hessgeo import store
from hessgeo.pipeline import script_context
from hessgeo.pipeline.refine import no_nodes, read_rounds, sample_nodes
from hessgeo.pipeline.vouched import loaded_embedding, loaded_system


def main(index, fine, models, output, *, shape, dimension, first, seed):
    logging.info("%d nodes are due", len(index))
    if not len(index):  # no model is loaded for it
        store.write_dataset(output.samples, no_nodes(shape, dimension))
        return
    store.write_dataset(output.samples, sample_nodes(index, fine, *models(), first=first, seed=seed))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        found, due, medoids = read_rounds(step.input, params)

        def models():
            anchors = store.read_npy(step.input.anchors)
            system = loaded_system(params.system, anchors, params.plane, most=params.most)
            return system, loaded_embedding(params.embedder, params.image_shape)

        about = {"shape": params.image_shape, "dimension": medoids.shape[1], "first": found.rounds[0]}
        mine = due[int(step.wildcards.part) :: params.jobs]
        main(mine, found.grid, models, step.output, **about, seed=params.seed)
