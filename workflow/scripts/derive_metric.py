"""Derive the Fisher metric from the free energy, and measure it beside from embeddings and posteriors."""

import numpy as np

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import codazzi_residual, relative_difference
from hessgeo.metrics.measured import embedding_metric, posterior_metric
from hessgeo.pipeline import script_context
from hessgeo.pipeline.chain import metric_fields, to_grid


def main(free_energy, posterior, on_nodes, grid, output):
    """Write the metric's fields; ``on_nodes`` are the nodes' embeddings, None for a scattered design."""
    fisher = free_energy["fisher_metric"].to_numpy()
    measured = {"posterior_metric": to_grid(posterior_metric(posterior), posterior.t, grid)}
    # Without a sample on every node there is no finite difference of embeddings to take.
    measured["measured_metric"] = np.full_like(fisher, np.nan)
    if on_nodes is not None:
        measured["measured_metric"] = embedding_metric(on_nodes.reshape(*grid.shape, -1), grid)
    fields = metric_fields(free_energy)
    fields = fields.assign({name: (("a", "b", "i", "j"), g) for name, g in measured.items()})
    store.write_dataset(output.metric, fields)
    numbers = {
        "positive_definite_share": float(fields["positive_definite"].mean()),
        "largest_eigenvalue_median": float(fields["largest_eigenvalue"].median()),
        "largest_eigenvalue_99": float(fields["largest_eigenvalue"].quantile(0.99)),
        "fisher_metric_codazzi_residual": codazzi_residual(fisher, grid),
    }
    for name, g in measured.items():
        if np.isfinite(g).any():
            numbers[f"{name}_codazzi_residual"] = codazzi_residual(g, grid)
            numbers[f"{name}_relative_difference_median"] = np.nanmedian(
                relative_difference(fisher, g, units=grid.square)
            )
    store.write_json(output.numbers, numbers)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, posterior = step.params, store.read_posterior(step.input.posterior)
        on_nodes = store.read_array(params.store, params.array) if params.design == "grid" else None
        free_energy = store.read_dataset(step.input.free_energy)
        main(free_energy, posterior, on_nodes, Grid(**params.grid), step.output)
