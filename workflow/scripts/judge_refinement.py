"""Put the rounds of a study's refinement together: the refined map, its samples, and the error that was reached."""

from hessgeo import store
from hessgeo.pipeline import script_context
from hessgeo.pipeline.refine import describe_refinement, read_rounds


def main(found, left, medoids, output):
    maps, table, numbers = describe_refinement(found, left, medoids)
    store.write_dataset(output.maps, maps)
    store.write_table(output.table, table)
    store.write_json(output.numbers, store.finite(numbers))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(*read_rounds(step.input, step.params), step.output)
