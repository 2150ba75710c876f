"""Sample the way-points of a study's paths and score them in every feature space."""

import logging

from hessgeo import store
from hessgeo.evaluation.path_images import (
    path_features,
    perceptual_path_lengths,
    score_paths,
    shown_paths,
    strips_of,
)
from hessgeo.evaluation.path_table import turning_at_boundaries
from hessgeo.grids import Grid
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.paths import feature_maps
from hessgeo.pipeline.vouched import loaded_embedding, loaded_system


def main(paths, label, system, embedding, maps, grid, settings, seed, output):
    shown = shown_paths(paths, label, grid, settings["shown"])
    waypoints, maps = paths["waypoints"].to_numpy(), {**maps, "embedding": embedding}
    features, images = path_features(waypoints, system, maps, shown, seed=seed)
    if "perceptual" in maps:
        options = {name: settings[f"path_length_{name}"] for name in ("epsilon", "clip")}
        lengths = perceptual_path_lengths(paths, system, maps["perceptual"], **options, seed=seed)
        paths = paths.assign(perceptual_path_length=(("method", "pair"), lengths))
    scores = score_paths(paths, features, label, grid)
    store.write_table(output.scores, scores)
    store.write_dataset(output.strips, strips_of(paths, images, features["embedding"]))
    found = turning_at_boundaries(scores, "fisher", confidence=settings["confidence"])
    numbers = {"turning_at_boundaries_difference": found.mean, "low": found.low, "high": found.high}
    store.write_json(
        output.numbers, {"paths": found.count, **numbers} if found.count > 1 else {"paths": found.count}
    )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, perceiver = step.params, step.params.perceiver
        anchors = store.read_npy(step.input.anchors)
        sampler = loaded_system(params.system, anchors, params.plane, most=params.most)
        embedding = loaded_embedding(params.embedder, params.image_shape)
        with perceiver.reading():
            maps = feature_maps(perceiver.settings or None, device=pick_device())
        label = store.read_dataset(step.input.phases)["label"].to_numpy()
        paths = store.read_dataset(step.input.paths)
        if "perceptual" not in maps:
            logging.warning("no scores of perceptual length: geodesics.perceptual.checkpoint is null")
        about = (maps, Grid(**params.grid), params.geodesics, params.seed, step.output)
        main(paths, label, sampler, embedding, *about)
