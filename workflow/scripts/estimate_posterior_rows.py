"""Reduce some rows of the posterior of a study, one part of them a job."""

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.estimation import about_rows, row_problem
from hessgeo.posteriors.row_files import read_start, write_strips
from hessgeo.posteriors.strips import reduced_strips, share, strip_count


def main(problem, part, parts, about, output, *, threads=1):
    strips = share(part, parts, strip_count(problem.blocks))
    write_strips(output.rows, list(reduced_strips(problem, strips, threads=threads, progress=True)), about)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, settings, place = step.params, step.params.posterior, step.wildcards
        near, t = settings["method"] == "neighbours", store.read_array(step.params.store, "t")
        embedding = store.open_array(params.store, params.array)
        device, start = pick_device() if near else "cpu", read_start(step.input.start)
        threads = step.threads if device == "cpu" else 1
        options = {"threads": threads, "device": device}
        with row_problem(embedding, t, Grid(**params.grid), settings, start, **options) as problem:
            part = int(place.part), int(place.parts)
            main(problem, *part, about_rows(settings, start), step.output, threads=threads)
