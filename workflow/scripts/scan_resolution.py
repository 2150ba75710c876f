"""Repeat a study at other resolutions: posterior, fit and phases at multiples of its N."""

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.resolution_scan import scan_resolution
from hessgeo.posteriors import read_posterior


def main(embedding, t, grid, resolution, settings, output, **options):
    table, numbers = scan_resolution(embedding, t, grid, resolution, settings, **options)
    store.write_table(output.table, table)
    store.write_json(output.numbers, numbers)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        embedding, t = (store.read_array(params.store, name) for name in (params.array, "t"))
        resolution = read_posterior(step.input.posterior).resolution
        settings = {name: params[name] for name in ("factors", "posterior", "fit", "phases")}
        options = {"seed": params.seed, "threads": step.threads, "device": pick_device()}
        main(embedding, t, grid, resolution, settings, step.output, **options)
