"""Draw a figure from the results that it shows."""

from importlib import import_module

from hessgeo import store
from hessgeo.figures.saving import draw_and_save
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context

READ = {"nc": store.read_dataset, "csv": store.read_table, "json": store.read_json, "npy": store.read_npy}


def opened(files):
    """A result, one a study where several are compared, or the path of one that is read in part."""
    if not isinstance(files, str):
        return [opened(file) for file in files]
    return READ.get(files.rpartition(".")[2], str)(files)


def main(figure, files, arrays, settings, output):
    rows = {name: store.describe_array(*place) for name, place in arrays.items()}
    shown = [rows[name] if name in rows else opened(paths) for name, paths in files.items()]
    if "grid" in settings:
        settings = settings | {"grid": Grid(**settings["grid"])}
    draw_and_save(import_module(f"hessgeo.figures.{figure}"), shown, settings, output)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        main(params.figure, dict(step.input.items()), params.arrays, params.settings, step.output)
