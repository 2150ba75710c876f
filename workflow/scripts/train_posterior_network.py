"""Train the network that names the parameters of a bundle of images."""

from pathlib import Path

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.estimation import resized_images
from hessgeo.posteriors.network import save_network
from hessgeo.posteriors.network_training import train_posterior_network


def main(images, t, grid, options, seed, output):
    with resized_images(images, grid.shape) as small:
        network = train_posterior_network(
            small, t, grid, **options, seed=seed, device=pick_device(), progress=True
        )
    save_network(Path(output.weights).parent, network)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, options = step.params, dict(step.params.training)
        extent, shape = params.grid["extent"], options.pop("grid") or params.grid["shape"]
        images, t = store.open_array(params.store, "image"), store.read_array(params.store, "t")
        main(images, t, Grid(extent, tuple(shape)), options, params.seed, step.output)
