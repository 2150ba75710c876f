"""The links from a posterior to a metric that a study and its resolution scan share, driven by settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from torch import from_numpy

from hessgeo.evaluation.posterior_rows import measured_rows
from hessgeo.free_energies.base import FitData, FreeEnergy
from hessgeo.free_energies.coordinates import coordinates_of_posterior
from hessgeo.free_energies.fits import FITS
from hessgeo.grids import Grid
from hessgeo.metrics.curvature import thermodynamic_curvature
from hessgeo.metrics.diagnostics import eigenvalues, in_units, positive_definite
from hessgeo.posteriors import Posterior


class NotConvergedError(ArithmeticError):
    """A fit stopped before its minimum: nothing that follows from it would mean anything."""


def fit_free_energy(
    posterior: Posterior,
    embedding: Float[np.ndarray, "n d"],
    grid: Grid,
    settings: Mapping[str, Any],
    *,
    seed: int,
    device: str = "cpu",
    must_converge: bool = True,
    progress: bool = True,
) -> FreeEnergy:
    """Fit ``F`` as the settings ``free_energy`` of a study say.

    Args:
        posterior: moments of every source.
        embedding: of every sample, from which a fit to whole rows takes them.
        grid: the nodes that carry the fitted posterior, unless the data posterior has its own.
        settings: ``fit``, a name in ``FITS``, and its options; with ``coordinates`` learned, a fit of its own.
        seed: of what is random in a fit.
        device: where to fit.
        must_converge: whether a fit that stopped above its tolerance is an error; else its certificate says so.
        progress: show a bar.

    Raises:
        NotConvergedError: if a fit that knows its decrement has not converged.
    """
    data = FitData(
        posterior,
        grid,
        lambda sources: measured_rows(posterior, embedding, sources, posterior.carrier(grid)),
        seed=seed,
        device=device,
        progress=progress,
    )
    learned = settings.get("coordinates") == "learned"
    fit = coordinates_of_posterior(data, settings) if learned else FITS[settings["fit"]](data, settings)
    # A fit that does not know its decrement never says that it has converged.
    if must_converge and "decrement" in fit.certificate and not fit.certificate["converged"]:
        raise NotConvergedError(
            f"free_energy: the fit stands at a decrement of {fit.certificate['decrement']:.2g} nats after "
            f"max_iterations {settings['max_iterations']}, above tolerance {settings['tolerance']:g}: raise "
            "free_energy.max_iterations, or lower posterior.resolution or, of the fit spline, free_energy.splines"
        )
    return fit


def metric_fields(free_energy: xr.Dataset) -> xr.Dataset:
    """Invariants of the Fisher metric ``grad^2 F`` on the grid of a free energy.

    Eigenvalues are those of the metric with the box made a square of the same area: else their ridges would depend on
    the units of the parameters.

    ``largest_eigenvalue``, ``smallest_eigenvalue``, ``positive_definite``, and where that holds (NaN where it
    does not) ``log_determinant`` and ``curvature``. A line has no curvature, and its two eigenvalues are one.
    """
    metric, third = free_energy["fisher_metric"].to_numpy(), free_energy["third"].to_numpy()
    dims = free_energy["free_energy"].dims
    axes = [free_energy[name].to_numpy() for name in dims]
    grid = Grid(tuple((float(axis[0]), float(axis[-1])) for axis in axes), tuple(map(len, axes)))
    values = eigenvalues(in_units(metric, grid.square))
    low, high = values[..., 0], values[..., -1]
    definite: Bool[np.ndarray, "*nodes"] = positive_definite(metric)
    log_determinant = np.full(low.shape, np.nan)
    log_determinant[definite] = np.log(values[definite]).sum(axis=-1)
    fields = {
        "largest_eigenvalue": high,
        "smallest_eigenvalue": low,
        "log_determinant": log_determinant,
        "positive_definite": definite,
    }
    if len(dims) == 2:
        fields["curvature"] = np.full(low.shape, np.nan)
        fields["curvature"][definite] = thermodynamic_curvature(
            from_numpy(metric[definite]), from_numpy(third[definite])
        )
    coordinates = {name: free_energy[name] for name in dims}
    kept = ("resolution", "kernel", "fit", "verdict")
    attributes = {key: free_energy.attrs[key] for key in kept if key in free_energy.attrs}
    return xr.Dataset({name: (dims, values) for name, values in fields.items()}, coordinates, attributes)
