"""Trace the phases of a study through the sampler's time: maps, times of decision, the tree, the entropy clock."""

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.history_chain import Steps, trace_history


def main(phases, steps, grid, settings, seed, output):
    fields, history, boundaries = trace_history(phases, steps, grid, settings, seed=seed)
    store.write_dataset(output.fields, fields)
    store.write_json(output.history, history)
    store.write_table(output.boundaries, boundaries)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        phases, path, arrays = store.read_dataset(step.input.phases), params.store, params.arrays
        about = store.read_record(store.sidecar_file(path, arrays["trajectory"], 0))
        read = {name: store.read_array(path, array) for name, array in arrays.items()}
        kept = Steps(params.steps, about["signal"], about["noise"], **read)
        main(phases, kept, grid, {**params.phases, **params.history}, params.seed, step.output)
