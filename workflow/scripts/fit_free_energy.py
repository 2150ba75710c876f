"""Fit the free energy of a study to its posterior."""

import os
from pathlib import Path

from hessgeo import store
from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.grids import Grid
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.chain import fit_free_energy
from hessgeo.posteriors import read_posterior


def main(posterior, embedding, grid, settings, seed, samples, output):
    fit = fit_free_energy(posterior, embedding, grid, settings, seed=seed, device=pick_device())
    about = {"fit": settings["fit"], "kernel": posterior.kernel}
    marked = {**about, "verdict": fit.verdict, **samples}
    store.write_dataset(output.free_energy, free_energy_dataset(fit, grid, attributes=marked))
    store.write_json(output.numbers, {**about, **fit.certificate})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, posterior = step.params, read_posterior(step.input.posterior)
        embedding = store.read_array(params.store, params.array)
        # By these whoever opens the folder of the study finds what it was made from.
        samples = {"samples": os.path.relpath(params.store, Path(step.output.free_energy).parent)}
        samples["embedding"] = params.array
        main(posterior, embedding, Grid(**params.grid), params.fit, params.seed, samples, step.output)
