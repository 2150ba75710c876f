"""Derive the Fisher metric from the free energy, and measure it beside from embeddings and posteriors."""

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.metric_chain import derive_metric
from hessgeo.posteriors import read_posterior


def main(free_energy, posterior, on_nodes, grid, output):
    fields, numbers = derive_metric(free_energy, posterior, on_nodes, grid)
    store.write_dataset(output.metric, fields)
    store.write_json(output.numbers, numbers)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, posterior = step.params, read_posterior(step.input.posterior)
        on_nodes = store.read_array(params.store, params.array) if params.design == "grid" else None
        free_energy = store.read_dataset(step.input.free_energy)
        main(free_energy, posterior, on_nodes, Grid(**params.grid), step.output)
