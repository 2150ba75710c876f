"""Measure which nodes of a study are safe: distances from phase boundaries, and what a jitter changes."""

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.safety import study_safety


def main(fields, free_energy, phases, embedding, grid, settings, output, **options):
    fisher = free_energy["fisher_metric"].to_numpy()
    safety, table, found = study_safety(fields["label"], fisher, phases, embedding, grid, settings, **options)
    verdict = {"verdict": fields.attrs["verdict"]}
    store.write_dataset(output.fields, safety.assign_attrs(verdict))
    store.write_table(output.table, table)
    store.write_json(output.safety, store.finite({**found, **verdict}))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        fields, free_energy = map(store.read_dataset, (step.input.fields, step.input.free_energy))
        embedding = store.read_array(params.store, params.array)
        options = {"smoothing": params.smoothing, "floor": params.floor}
        about = (store.read_json(step.input.phases), embedding, Grid(**params.grid), params.safety)
        main(fields, free_energy, *about, step.output, **options)
