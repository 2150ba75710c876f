"""Measure which phases of a study are found again: in replicates, by other extractors, at other resolutions."""

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.stability import study_stability
from hessgeo.posteriors import read_posterior


def main(fields, embedding, images, grid, resolution, settings, output, **options):
    label = fields["label"].to_numpy()
    table, found, numbers = study_stability(label, embedding, images, grid, resolution, settings, **options)
    store.write_table(output.table, table)
    store.write_json(output.stability, {**found, "verdict": fields.attrs["verdict"]})
    store.write_json(output.numbers, numbers)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        fields = store.read_dataset(step.input.fields)
        embedding, images = (store.read_array(params.store, name) for name in (params.array, "image"))
        resolution = read_posterior(step.input.posterior).resolution
        settings = {name: params[name] for name in ("stability", "phases", "kernel")}
        scan = next(map(store.read_json, step.input.scan), None)
        options = {
            "seed": params.seed,
            "classifier": params.classifier,
            "scan": scan,
            "threads": step.threads,
        }
        main(fields, embedding, images, grid, resolution, settings, step.output, **options)
