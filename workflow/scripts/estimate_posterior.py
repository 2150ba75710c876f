"""Estimate the posterior of a study: from embedding distances, or with the network trained for it."""

from pathlib import Path

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.cluster import cluster_posterior
from hessgeo.pipeline.estimation import distance_posterior, posterior_numbers, trained_posterior
from hessgeo.posteriors import write_posterior


def main(result, numbers, output):
    write_posterior(output.posterior, result)
    store.write_json(output.numbers, posterior_numbers(result, numbers))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, settings = step.params, step.params.posterior
        t = store.read_array(params.store, "t")
        if settings.get("kind", "distance") == "network":
            images, folder = store.open_array(params.store, "image"), Path(step.input.network[0]).parent
            result, numbers = trained_posterior(
                folder, images, t, settings["network"], seed=params.seed, device=pick_device()
            )
        else:
            near = settings["method"] == "neighbours"
            embedding = store.open_array(params.store, params.array)
            given = (embedding, t, Grid(**params.grid), settings)
            if params.scheduler.is_cluster:
                place = {
                    "store": str(Path(params.store).resolve()),
                    "array": params.array,
                    "grid": params.grid,
                }
                result, numbers = cluster_posterior(params.scheduler, place, *given, seed=params.seed)
            else:
                options = {"threads": step.threads, "device": pick_device() if near else "cpu"}
                result, numbers = distance_posterior(*given, seed=params.seed, **options)
        main(result, numbers, step.output)
