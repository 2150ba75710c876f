"""Solve the paths between the pairs of a study by every method, and certify them."""

import logging
from functools import partial

import numpy as np

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.loading import latent_plane
from hessgeo.pipeline.paths import certificates, feature_maps, rows_of, solve_paths, study_metrics
from hessgeo.posteriors import read_posterior


def main(free_energy, images, embedding, log_density, maps, left_out, plane, grid, settings, seed, output):
    """Write the paths; ``images`` and ``embedding`` read a slice of the nodes, ``log_density`` may be None."""
    fisher, verdict = free_energy["fisher_metric"].to_numpy(), free_energy.attrs["verdict"]
    for name, need in left_out.items():
        logging.warning("without the method %s, which needs %s", name, need)
    rows = {name: rows_of(features, images, grid) for name, features in maps.items()}
    rows["embedding"] = rows_of(np.asarray, embedding, grid)
    listed = {name: make for name, make in rows.items() if name in settings["methods"]}
    metrics = study_metrics(fisher, listed, log_density, grid, settings)
    paths = solve_paths(metrics, plane, grid, settings, seed=seed, progress=True)
    store.write_dataset(output.paths, paths.assign_attrs(verdict=verdict))
    about = {"left_out": left_out, "verdict": verdict}
    store.write_json(output.numbers, {**certificates(paths, metrics), **about})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        free_energy = store.read_dataset(step.input.free_energy)
        images, embedding = (
            partial(store.read_array, params.store, name) for name in ("image", params.array)
        )
        posterior = read_posterior(step.input.posterior)
        # The sum of the kernel over all samples: a kernel density at N. A network has no such sum.
        log_density = posterior.log_normaliser.reshape(grid.shape) if params.has_density else None
        plane = latent_plane(store.read_npy(step.input.anchors), params.plane)
        # A network of LPIPS is worth a GPU, the rest is not.
        lpips = params.perceptual is not None and params.perceptual["kind"] == "lpips"
        with params.perceiver.reading():
            maps = feature_maps(params.perceiver.settings or None, device=pick_device() if lpips else "cpu")
        about = (maps, params.left_out, plane, grid, params.geodesics, params.seed, step.output)
        main(free_energy, images, embedding, log_density, *about)
