"""Measure what differs between the studies of a comparison, each against the first of them."""

import pandas as pd

from hessgeo import store
from hessgeo.evaluation.reseeding import Reseeded
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.differences import Compared, measure_differences


def main(studies, grid, null, settings, output):
    dataset, rows, numbers = measure_differences(studies, grid, null, settings, seed=0)
    store.write_dataset(output.differences, dataset)
    store.write_table(output.table, pd.DataFrame(rows))
    store.write_json(output.numbers, store.finite(numbers))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, studies = step.params, []
        for place, name in enumerate(params.names):
            label = store.read_dataset(step.input.phases[place])["label"].to_numpy()
            metric = store.read_dataset(step.input.free_energy[place])["fisher_metric"].to_numpy()
            path = params.stores[place]
            embedding, t = (store.read_array(path, array) for array in (params.arrays[place], "t"))
            studies.append(Compared(name, params.changed[place], label, metric, embedding, t))
        drawn = store.read_dataset(step.input.reseeded)
        null = Reseeded(drawn["distance"].to_numpy(), drawn["row"].to_numpy(), drawn.attrs["by"])
        main(studies, Grid(**params.grid), null, params.settings, step.output)
