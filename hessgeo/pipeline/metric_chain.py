"""The link from a free energy to its metric, with what is measured beside it; no resolution scan needs it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from hessgeo.free_energies.response import FEWEST, antisymmetric_share, response
from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import codazzi_residual, relative_difference
from hessgeo.metrics.measured import embedding_metric, posterior_metric
from hessgeo.pipeline.chain import metric_fields
from hessgeo.pipeline.node_means import to_grid
from hessgeo.posteriors.base import Posterior


def response_fields(
    free_energy: xr.Dataset, grid: Grid
) -> tuple[dict[str, Float[np.ndarray, "..."]], dict[str, float]]:
    """The response metric, and how far it is from a Fisher metric: of a fit's own slopes, or of its gradient.

    Returns:
        ``response_metric (a, b, i, j)`` with ``antisymmetric_share (a, b)`` and ``response_difference (a, b)``, its
        difference from the Fisher metric relative to that; NaN of fewer than five nodes along an axis. Of learned
        coordinates they are those of the slopes in them. And what is reported:
        ``antisymmetric_share`` with ``antisymmetric_share_error``, what the grid hides of it; and ``slope_mismatch``,
        the root mean square of ``eta - grad F`` over that of ``eta`` about its mean, with ``slope_mismatch_error``.
    """
    fisher = free_energy["fisher_metric"].to_numpy()
    if "response" in free_energy:
        return _known_response(free_energy["response"].to_numpy(), fisher, grid)
    if min(grid.shape) < FEWEST:
        missing = np.full(grid.shape, np.nan)
        names = ("antisymmetric_share", "response_difference")
        return {"response_metric": np.full_like(fisher, np.nan), **dict.fromkeys(names, missing)}, {}
    slopes = free_energy["slope" if "slope" in free_energy else "gradient"].to_numpy()
    flat = slopes.reshape(grid.size, -1)
    found = response(grid, grid.points, flat, values=free_energy["free_energy"].to_numpy())
    fields = {
        "response_metric": found.metric,
        "antisymmetric_share": found.antisymmetric,
        "response_difference": relative_difference(found.metric, fisher, units=grid.square),
    }
    units = np.array(grid.frame.half)
    spread = np.sqrt((((flat - flat.mean(axis=0)) * units) ** 2).sum(axis=1).mean())
    sizes = [
        np.sqrt(((miss * units) ** 2).sum(axis=-1).mean()) for miss in (found.mismatch, found.mismatch_error)
    ]
    mismatch, hidden = (float(size / spread) if spread > 0 else 0.0 for size in sizes)
    return fields, {
        "antisymmetric_share": found.share,
        "antisymmetric_share_error": found.share_error,
        "slope_mismatch": mismatch,
        "slope_mismatch_error": hidden,
    }


def _known_response(
    jacobian: Float[np.ndarray, "*nodes axis axis"], fisher: Float[np.ndarray, "*nodes axis axis"], grid: Grid
) -> tuple[dict[str, Float[np.ndarray, "..."]], dict[str, float]]:
    """The fields of a response that a fit says itself."""
    half = np.array(grid.frame.half)
    share, field = antisymmetric_share(jacobian * np.outer(half, half))
    symmetric = (jacobian + np.swapaxes(jacobian, -1, -2)) / 2
    difference = relative_difference(symmetric, fisher, units=grid.square)
    fields = {"response_metric": symmetric, "antisymmetric_share": field, "response_difference": difference}
    return fields, {"antisymmetric_share": share}


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
        ``metric_fields`` with ``measured_metric``, ``posterior_metric`` and ``response_metric (a, b, i, j)``, how far
        the last is from the Fisher metric (``response_fields``), and what is reported of them.
    """
    fisher = free_energy["fisher_metric"].to_numpy()
    responded, reported = response_fields(free_energy, grid)
    measured = {"posterior_metric": to_grid(posterior_metric(posterior), posterior.t, grid)}
    # Without a sample on every node there is no finite difference of embeddings to take.
    measured["measured_metric"] = np.full_like(fisher, np.nan)
    if on_nodes is not None:
        measured["measured_metric"] = embedding_metric(on_nodes.reshape(*grid.shape, -1), grid)
    measured["response_metric"] = responded.pop("response_metric")
    fields = metric_fields(free_energy).assign(
        {name: (grid.dims, field) for name, field in responded.items()}
    )
    fields = fields.assign({name: ((*grid.dims, "i", "j"), g) for name, g in measured.items()})
    numbers = {
        "positive_definite_share": float(fields["positive_definite"].mean()),
        "largest_eigenvalue_median": float(fields["largest_eigenvalue"].median()),
        "largest_eigenvalue_99": float(fields["largest_eigenvalue"].quantile(0.99)),
    }
    numbers |= reported
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
