"""Repeat a study at other resolutions: posterior, fit and phases at multiples of its N."""

import logging

import numpy as np
import pandas as pd

from hessgeo import store
from hessgeo.evaluation.gauge import remove_affine_part
from hessgeo.evaluation.posterior_rows import fitted_rows, measured_rows
from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.grids import Grid
from hessgeo.phases.scaling import boundary_growth
from hessgeo.pipeline import chain, phase_chain, pick_device, script_context
from hessgeo.posteriors import posterior, read_posterior


def scan_row(embedding, t, grid, resolution, params, threads):
    kind = {key: params.posterior[key] for key in ("kernel", "exclude_self", "memory_mb")}
    result = posterior(embedding, t, **kind, resolution=resolution, threads=threads)
    free_energy = chain.fit_free_energy(
        result, embedding, grid, params.fit, seed=params.seed, device=pick_device(), must_converge=False
    )
    about = {"fit": params.fit["fit"], "kernel": result.kernel}
    fields = free_energy_dataset(free_energy, grid, attributes=about)
    metric = chain.metric_fields(fields)
    value, gradient = fields["free_energy"].to_numpy(), fields["gradient"].to_numpy()
    largest = metric["largest_eigenvalue"].to_numpy()
    sources = np.unique(np.linspace(0, len(t) - 1, min(len(t), 256)).astype(int))
    rows = measured_rows(result, embedding, sources, grid), fitted_rows(fields, t, sources, grid)
    row = {
        "N": resolution,
        "range_free_energy": np.ptp(remove_affine_part(grid.points, value.ravel())),
        "rms_gradient": np.sqrt(((gradient - gradient.mean(axis=(0, 1))) ** 2).sum(axis=-1).mean()),
        "largest_eigenvalue_99": np.quantile(largest, 0.99),
        "largest_eigenvalue_median": np.median(largest),
        "effective_cells_median": np.median(result.effective_cells),
        "phases": phase_chain.phase_map(largest, grid, params.phases).count,
        "positive_definite_share": float(metric["positive_definite"].mean()),
        "total_variation": np.abs(rows[0] - rows[1]).sum(axis=1).mean() / 2,
        "converged": bool(free_energy.certificate["converged"]),
        "resolved": bool(free_energy.certificate["resolved"]),
    }
    return row, largest


def main(embedding, t, grid, resolution, params, threads, output):
    rows, fields = [], []
    for factor in sorted(params.factors):
        row, largest = scan_row(embedding, t, grid, factor * resolution, params, threads)
        rows.append({"factor": factor, "chosen": factor == 1, **row})
        fields.append(largest)
        logging.info("factor %g: N = %.6g, %d phases", factor, rows[-1]["N"], rows[-1]["phases"])
    store.write_table(output.table, pd.DataFrame(rows))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    # The boundaries of the study itself, followed over all N.
    phases = phase_chain.phase_map(
        fields[int(np.argmin(np.abs(np.log(columns["factor"]))))], grid, params.phases
    )
    heights = [phase_chain.phase_height(field, params.phases) for field in fields]
    boundaries = boundary_growth(phases, heights, columns["N"])
    store.write_json(output.numbers, {**columns, "boundaries": boundaries})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        embedding, t = (store.read_array(params.store, name) for name in (params.array, "t"))
        resolution = read_posterior(step.input.posterior).resolution
        main(embedding, t, grid, resolution, params, step.threads, step.output)
