"""Segment the phases of a study: labels, boundaries, triple points, typical samples, Lipschitz field."""

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.phase_chain import describe_phases


def main(metric, free_energy, embedding, t, grid, on_grid, settings, output):
    fields, found, numbers = describe_phases(
        metric, free_energy, embedding, t, grid, settings, on_grid=on_grid
    )
    store.write_dataset(output.fields, fields)
    store.write_json(output.phases, found)
    store.write_json(output.numbers, numbers)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        metric, free_energy = map(store.read_dataset, (step.input.metric, step.input.free_energy))
        embedding, t = (store.read_array(params.store, name) for name in (params.array, "t"))
        on_grid = params.design == "grid"
        main(metric, free_energy, embedding, t, grid, on_grid, params.phases, step.output)
