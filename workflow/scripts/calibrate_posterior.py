"""Rank the truth in the posteriors of a study, measured and fitted."""

from pathlib import Path

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.calibration import calibrate_study
from hessgeo.pipeline.estimation import resized_images
from hessgeo.posteriors import read_posterior


def main(posterior, embedding, free_energy, grid, seed, output, *, network=None, images=None):
    about = (posterior, embedding, free_energy, grid)
    if network is None:
        dataset, numbers = calibrate_study(*about, seed=seed)
    else:
        with resized_images(images, network.config.shape) as small:
            dataset, numbers = calibrate_study(*about, seed=seed, network=network, images=small)
    store.write_dataset(output.calibration, dataset)
    store.write_json(output.numbers, numbers)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, files = step.params, list(step.input.network)
        about = (read_posterior(step.input.posterior), store.read_array(params.store, params.array))
        about = (
            *about,
            store.read_dataset(step.input.free_energy),
            Grid(**params.grid),
            params.seed,
            step.output,
        )
        if files:
            from hessgeo.posteriors.network import load_network  # distances do without torch

            network = load_network(Path(files[0]).parent, device=pick_device())
            main(*about, network=network, images=store.open_array(params.store, "image"))
        else:
            main(*about)
