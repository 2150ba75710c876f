"""Solve a system exactly at the nodes of its grid."""

from hessgeo import store
from hessgeo.evaluation.truth import exact_fields
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.solvable_systems import grid_of, solvable_system


def main(system, path):
    grid = Grid(**grid_of(system))
    truth = exact_fields(solvable_system(system), grid, metric_samples=system["truth_samples"])
    store.write_dataset(path, truth)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.params.system, step.output.truth)
