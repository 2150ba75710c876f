"""A study at other resolutions: posterior, fit and phases at multiples of its ``N``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from hessgeo.evaluation.gauge import remove_affine_part
from hessgeo.evaluation.posterior_rows import fitted_rows, measured_rows
from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.grids import Grid
from hessgeo.phases.scaling import boundary_growth
from hessgeo.pipeline.chain import fit_free_energy, metric_fields
from hessgeo.pipeline.phase_chain import phase_height, phase_map
from hessgeo.posteriors import posterior

COMPARED = 256  # sources whose rows are compared with those of the fit


def scan_resolution(
    embedding: Float[np.ndarray, "n d"],
    t: Float[np.ndarray, "n axis"],
    grid: Grid,
    resolution: float,
    settings: Mapping[str, Any],
    *,
    seed: int,
    threads: int = 1,
    device: str = "cpu",
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Repeat a study at multiples of its resolution, smallest first.

    Args:
        embedding: of every sample.
        t: their parameters.
        grid: the nodes.
        resolution: ``N`` of the study.
        settings: ``factors`` of the scan; ``posterior``, ``fit`` and ``phases`` of the study.
        seed: of a fit that draws sources.
        threads: threads that work at once.
        device: where to fit.

    Returns:
        One row for each ``N``; and its columns, with ``boundaries``, how those of the study grow with ``N``.
    """
    rows, fields = [], []
    for factor in sorted(settings["factors"]):
        row, largest = _scan_row(
            embedding, t, grid, factor * resolution, settings, seed=seed, threads=threads, device=device
        )
        rows.append({"factor": factor, "chosen": factor == 1, **row})
        fields.append(largest)
        logging.getLogger(__name__).info("factor %g: N = %.6g, %d phases", factor, row["N"], row["phases"])
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    # The boundaries of the study itself, followed over all N.
    own = int(np.argmin(np.abs(np.log(columns["factor"]))))
    phases = phase_map(fields[own], grid, settings["phases"])
    heights = [phase_height(field, settings["phases"]) for field in fields]
    return pd.DataFrame(rows), {**columns, "boundaries": boundary_growth(phases, heights, columns["N"])}


def _scan_row(
    embedding: Float[np.ndarray, "n d"],
    t: Float[np.ndarray, "n axis"],
    grid: Grid,
    resolution: float,
    settings: Mapping[str, Any],
    *,
    seed: int,
    threads: int,
    device: str,
) -> tuple[dict[str, Any], Float[np.ndarray, "*nodes"]]:
    """What is told of one resolution, and the largest eigenvalue of its metric."""
    kind = {key: settings["posterior"][key] for key in ("kernel", "exclude_self", "memory_mb")}
    data = posterior(embedding, t, **kind, resolution=resolution, threads=threads)
    fit = fit_free_energy(
        data, embedding, grid, settings["fit"], seed=seed, device=device, must_converge=False
    )
    fields = free_energy_dataset(fit, grid, attributes={"fit": settings["fit"]["fit"], "kernel": data.kernel})
    metric = metric_fields(fields)
    value, gradient = fields["free_energy"].to_numpy(), fields["gradient"].to_numpy()
    largest = metric["largest_eigenvalue"].to_numpy()
    sources = np.unique(np.linspace(0, len(t) - 1, min(len(t), COMPARED)).astype(int))
    off = measured_rows(data, embedding, sources, grid) - fitted_rows(fields, t, sources, grid)
    row = {
        "N": resolution,
        "range_free_energy": np.ptp(remove_affine_part(grid.points, value.ravel())),
        "rms_gradient": np.sqrt(
            ((gradient - gradient.reshape(grid.size, -1).mean(axis=0)) ** 2).sum(axis=-1).mean()
        ),
        "largest_eigenvalue_99": np.quantile(largest, 0.99),
        "largest_eigenvalue_median": np.median(largest),
        "effective_cells_median": np.median(data.effective_cells),
        "phases": phase_map(largest, grid, settings["phases"]).count,
        "positive_definite_share": float(metric["positive_definite"].mean()),
        "total_variation": np.abs(off).sum(axis=1).mean() / 2,
        "converged": bool(fit.certificate["converged"]),
        "resolved": bool(fit.certificate["resolved"]),
    }
    return row, largest
