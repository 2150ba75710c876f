"""The link from a free energy to its metric, with what is measured beside it; no resolution scan needs it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import codazzi_residual, relative_difference
from hessgeo.metrics.measured import embedding_metric, posterior_metric
from hessgeo.pipeline.chain import metric_fields, to_grid
from hessgeo.posteriors.base import Posterior


def derive_metric(
    free_energy: xr.Dataset, posterior: Posterior, on_nodes: Float[np.ndarray, "node d"] | None, grid: Grid
) -> tuple[xr.Dataset, dict[str, float]]:
    """The Fisher metric's fields, and the metrics that embeddings and posteriors show without a fit.

    Args:
        free_energy: on the nodes.
        posterior: that it was fitted to.
        on_nodes: the nodes' embeddings, None for a scattered design.
        grid: the nodes.

    Returns:
        ``metric_fields`` with ``measured_metric`` and ``posterior_metric (a, b, i, j)``, and what is reported of them.
    """
    fisher = free_energy["fisher_metric"].to_numpy()
    measured = {"posterior_metric": to_grid(posterior_metric(posterior), posterior.t, grid)}
    # Without a sample on every node there is no finite difference of embeddings to take.
    measured["measured_metric"] = np.full_like(fisher, np.nan)
    if on_nodes is not None:
        measured["measured_metric"] = embedding_metric(on_nodes.reshape(*grid.shape, -1), grid)
    fields = metric_fields(free_energy)
    fields = fields.assign({name: ((*grid.dims, "i", "j"), g) for name, g in measured.items()})
    numbers = {
        "positive_definite_share": float(fields["positive_definite"].mean()),
        "largest_eigenvalue_median": float(fields["largest_eigenvalue"].median()),
        "largest_eigenvalue_99": float(fields["largest_eigenvalue"].quantile(0.99)),
    }
    if len(grid.shape) == 2:  # every metric of a line is the Hessian of something
        numbers["fisher_metric_codazzi_residual"] = codazzi_residual(fisher, grid)
    # Of learned coordinates, in which what is no Hessian in the parameters may be one.
    connection = free_energy["connection"].to_numpy() if "connection" in free_energy else None
    for name, g in measured.items():
        if np.isfinite(g).any():
            if len(grid.shape) == 2:
                numbers[f"{name}_codazzi_residual"] = codazzi_residual(g, grid)
            if connection is not None:
                within = codazzi_residual(g, grid, connection=connection)
                numbers[f"{name}_codazzi_residual_in_coordinates"] = within
            difference = relative_difference(fisher, g, units=grid.square)
            numbers[f"{name}_relative_difference_median"] = float(np.nanmedian(difference))
    return fields, numbers
