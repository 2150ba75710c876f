"""Put the rounds of a study's refinement together: the refined map, its samples, and the error that was reached."""

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.refine import describe_refinement, refined_so_far


def main(embedding, phases, rounds, grid, fine, settings, output):
    medoids = [phase["medoid"] for phase in phases["phases"]]
    found, left = refined_so_far(embedding, medoids, rounds, grid, fine, settings)
    maps, table, numbers = describe_refinement(found, left, embedding[medoids], grid.size)
    store.write_dataset(output.maps, maps)
    store.write_table(output.table, table)
    store.write_json(output.numbers, store.finite(numbers))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        embedding = store.read_array(params.store, params.array)
        about = (grid, Grid(grid.extent, tuple(params.shape)), params.refine, step.output)
        rounds = list(map(store.read_dataset, step.input.rounds))
        main(embedding, store.read_json(step.input.phases), rounds, *about)
