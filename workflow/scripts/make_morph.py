"""Sample the frames of a study's morph, along its geodesics and along straight lines."""

import logging

import numpy as np

from hessgeo import store
from hessgeo.evaluation.morphs import Floors
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.morph import (
    by_the_mean,
    checked_points,
    make_morph,
    medoids_of_two,
    model_look,
    morph_numbers,
    nearest_look,
)
from hessgeo.pipeline.paths import rows_of, study_metrics
from hessgeo.pipeline.vouched import loaded_embedding, loaded_system

NEAREST = "Frames are the nearest samples: there is no model to ask for new ones."


def main(fisher, phases, t, features, look, grid, settings, solver, output, about):
    rows = {"embedding": rows_of(np.asarray, features.__getitem__, grid)}
    wanted = rows if settings["metric"] == "embedding" else {}
    metric = study_metrics(fisher, wanted, None, grid, solver)[settings["metric"]].metric
    points = settings["points"] or medoids_of_two(phases["phases"], t)
    stops = checked_points(points, grid, loop=settings["loop"])
    stops = by_the_mean(metric, stops) if settings["mean"] else stops
    morph = make_morph(stops, metric, Floors(features, grid), look, settings, solver).assign_attrs(about)
    numbers = morph_numbers(morph)
    for line in numbers["warnings"]:
        logging.warning("%s", line)
    store.write_dataset(output.morph, morph)
    store.write_json(output.numbers, store.finite(numbers))


def fresh(params, anchors):
    """Images and features at points, by the study's own model."""
    sampler = loaded_system(params.system, anchors, params.plane, most=params.most)
    return model_look(sampler, loaded_embedding(params.embedder, params.image_shape), seed=params.seed)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        free_energy, phases = store.read_dataset(step.input.free_energy), store.read_json(step.input.phases)
        t, features = (store.read_array(params.store, name) for name in ("t", params.array))
        about = {"verdict": free_energy.attrs["verdict"], "loop": int(params.morph["loop"])}
        if params.has_model:
            look = fresh(params, store.read_npy(*step.input.anchors))
        else:
            look = nearest_look(t, store.describe_array(params.store, "image"), features, grid)
            logging.warning("%s", NEAREST)
            about["drawn"] = NEAREST
        fisher = free_energy["fisher_metric"].to_numpy()
        main(fisher, phases, t, features, look, grid, params.morph, params.geodesics, step.output, about)
