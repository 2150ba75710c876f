"""Find what the jobs start from that share the rows of a posterior: its resolution and, by neighbours, its tiles."""

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.estimation import start_rows
from hessgeo.posteriors.row_files import write_start


def main(embedding, t, grid, settings, seed, output):
    write_start(output.start, start_rows(embedding, t, grid, settings, seed=seed))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, settings = step.params, step.params.posterior
        embedding = store.open_array(params.store, params.array)
        t = store.read_array(params.store, "t")
        main(embedding, t, Grid(**params.grid), settings, params.seed, step.output)
