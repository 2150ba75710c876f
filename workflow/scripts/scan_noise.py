"""Measure what a sampler's noise leaves of phases and boundaries, over the studies of a comparison."""

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.noise_studies import Scanned, measure_scan


def main(studies, differences, grid, settings, steps, output):
    maps, table, numbers = measure_scan(studies, differences, grid, settings, steps=steps, seed=0)
    store.write_dataset(output.maps, maps)
    store.write_table(output.table, table)
    store.write_json(output.numbers, store.finite(numbers))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, studies = step.params, []
        for place, one in enumerate(params.samplers):
            label = store.read_dataset(step.input.phases[place])["label"].to_numpy()
            metric = store.read_dataset(step.input.free_energy[place])["fisher_metric"].to_numpy()
            studies.append(Scanned(one["name"], one["eta"], one["eta_rule"], label, metric))
        differences = store.read_json(step.input.differences)
        grid, steps = Grid(**params.grid), params.samplers[0]["steps"]
        main(studies, differences, grid, params.settings, steps, step.output)
