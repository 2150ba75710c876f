"""Find the boundary point that a study is zoomed on, in one precision."""

import logging

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.phases.zoomed import nearest_reference
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.zoom import describe_boundary, starting_pairs, zoomed_model


def main(zoomed, embedding, medoids, grid, centre, margin, output):
    references = embedding[medoids]
    label = nearest_reference(references)(embedding.astype(float))
    pairs = starting_pairs(embedding, label, grid, centre, margin=margin)
    boundary = describe_boundary(zoomed, references, *pairs)
    about = {name: boundary.attrs[name] for name in ("point", "phases", "bracket")}
    logging.info("the boundary between phases %(phases)s at %(point)s, within %(bracket).1e", about)
    store.write_dataset(output.boundary, boundary)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        zoomed = zoomed_model(params, store.read_npy(step.input.anchors), device=pick_device())
        medoids = [phase["medoid"] for phase in store.read_json(step.input.phases)["phases"]]
        embedding = store.read_array(params.store, params.array)
        about = (Grid(**params.grid), params.centre, params.margin, step.output)
        main(zoomed, embedding, medoids, *about)
