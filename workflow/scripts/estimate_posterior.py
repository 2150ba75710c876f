"""Estimate the posterior of a study, at the resolution of its settings or one chosen from the data."""

import logging

import numpy as np

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.posteriors import choose_resolution, posterior
from hessgeo.workflow import script_context


def resolve(embedding, t, settings, seed):
    """The resolution number: as set, or the largest whose posteriors still spread over enough samples."""
    if settings["resolution"] != "auto":
        return float(settings["resolution"])
    rule = {key: settings[key] for key in ("kernel", "cells", "quantile", "sources")}
    return choose_resolution(embedding, t, **rule, seed=seed)


def main(embedding, t, extent, settings, seed, threads, output):
    resolution = resolve(embedding, t, settings, seed)
    logging.info("resolution N = %.6g", resolution)
    options = {key: settings[key] for key in ("kernel", "exclude_self", "neighbours", "memory_mb")}
    options["coarse"] = (
        Grid(tuple(map(tuple, extent)), tuple(settings["coarse"])) if settings["coarse"] else None
    )
    result = posterior(embedding, t, **options, resolution=resolution, threads=threads, progress=True)
    store.write_posterior(output.posterior, result)
    low, median, high = np.quantile(result.effective_cells, [0.05, 0.5, 0.95])
    cells = {"effective_cells_05": low, "effective_cells_median": median, "effective_cells_95": high}
    about = {"resolution": resolution, "kernel": result.kernel, "chosen": settings["resolution"] == "auto"}
    store.write_json(output.numbers, {**about, "samples": len(t), **cells})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        embedding, t = (store.read_array(params.store, name) for name in (params.array, "t"))
        main(embedding, t, params.extent, params.posterior, params.seed, step.threads, step.output)
