"""Draw a figure of systems with exact answers."""

from importlib import import_module

from hessgeo import store
from hessgeo.evaluation.tables import Case
from hessgeo.figures.saving import draw_and_save
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.solvable_systems import (
    gather_samples,
    grid_of,
    read_records,
    read_truths,
    solvable_system,
    system_title,
)

MOST = 20_000  # samples that a figure shows


def some_samples(settings, path):
    rows = slice(0, min(MOST, settings["samples"]))
    return gather_samples(settings, *(store.read_array(path, name, rows) for name in ("state", "t")))


def cases(params, files):
    """A case a system, with what the figure reads of it."""
    records = read_records(params.records)
    exact = zip(params.systems, files["truths"], strict=True) if "truths" in files else ()
    truths = read_truths(params.systems, dict(exact))
    for name, settings in params.systems.items():
        yield Case(
            title=system_title(settings),
            system=solvable_system(settings),
            grid=Grid(**grid_of(settings)),
            truth=truths.get(name),
            records=[record for record in records if record.system == name],
            samples=some_samples(settings, params.stores[name]) if name in params.stores else None,
            network=next(iter(files.get("network", [])), None),
        )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        module = import_module(f"hessgeo.figures.{step.params.figure}")
        shown = list(cases(step.params, dict(step.input.items())))
        draw_and_save(module, [shown], step.params.settings, step.output)
