"""Join the rows of a posterior that several jobs have reduced: the same bytes as those of one job."""

from hessgeo import store
from hessgeo.pipeline import script_context
from hessgeo.pipeline.estimation import about_rows, left_out, posterior_numbers
from hessgeo.posteriors import write_posterior
from hessgeo.posteriors.row_files import read_start, read_strips
from hessgeo.posteriors.strips import joined_posterior


def main(t, start, rows, settings, output):
    about = about_rows(settings, start)
    result = joined_posterior(read_strips(rows, about), t, **about)
    write_posterior(output.posterior, result)
    numbers = {"chosen": start.chosen, **left_out(result)}
    store.write_json(output.numbers, posterior_numbers(result, numbers))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        start, t = read_start(step.input.start), store.read_array(step.params.store, "t")
        main(t, start, step.input.rows, step.params.posterior, step.output)
