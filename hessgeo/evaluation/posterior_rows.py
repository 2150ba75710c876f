"""Whole rows of the posteriors, measured and fitted, of a few sources: what a fit is looked at by."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.interpolate import RectBivariateSpline
from scipy.special import softmax

from hessgeo.grids import Grid, bilinear_weights
from hessgeo.posteriors import Posterior, posterior_rows


def measured_rows(
    posterior: Posterior, embedding: Float[np.ndarray, "n d"], sources: Int[np.ndarray, "s"], grid: Grid
) -> Float[np.ndarray, "s node"]:
    """The data posterior of a few sources, spread over the nodes.

    Rows of a network's posterior are those it kept; others are computed from the embedding.

    Raises:
        ValueError: if a network's posterior kept no row of a source.
    """
    if posterior.support is not None:
        return posterior.kept_rows(sources) @ bilinear_weights(posterior.support, grid)
    rows = posterior_rows(
        embedding,
        sources,
        kernel=posterior.kernel,
        resolution=posterior.resolution,
        exclude_self=posterior.exclude_self,
    )
    return rows @ bilinear_weights(posterior.t, grid)


def fitted_rows(
    free_energy: xr.Dataset,
    t: Float[np.ndarray, "n axis"],
    sources: Int[np.ndarray, "s"],
    grid: Grid,
    *,
    carrier: Grid | None = None,
) -> Float[np.ndarray, "s node"]:
    """The model posterior ``q_F(t_g | t_i) ~ w_g exp N(<t_g, grad F(t_i)> - F(t_g))`` (Eq. 21).

    ``w_g`` is the number of samples at node ``g``, so that it compares with ``measured_rows``.

    Args:
        free_energy: ``free_energy`` and ``gradient`` on the nodes of ``grid``.
        t: parameters of all samples.
        sources: the samples whose rows are wanted.
        grid: the nodes of the free energy.
        carrier: the nodes of the rows where the data posterior has its own: ``w_g`` is then one, and ``F`` between
            nodes that of a cubic spline. The nodes of ``grid`` if None.
    """
    resolution = float(free_energy.attrs["resolution"])
    slope = bilinear_weights(t[sources], grid) @ free_energy["gradient"].to_numpy().reshape(grid.size, -1)
    # In box units: what an offset adds to a row is a constant, but for its rounding.
    value, slope = free_energy["free_energy"].to_numpy(), slope * np.array(grid.frame.half)
    if carrier is not None:
        on_nodes = RectBivariateSpline(*grid.unit.axes, value)(*carrier.unit.axes).ravel()
        return softmax(resolution * (slope @ carrier.unit.points.T - on_nodes), axis=1)
    samples = np.asarray(bilinear_weights(t, grid).sum(axis=0)).ravel()
    logit = resolution * (slope @ grid.unit.points.T - value.ravel())
    with np.errstate(divide="ignore"):  # a node without samples carries no probability
        return softmax(logit + np.log(samples), axis=1)
