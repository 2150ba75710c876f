"""Judge the boundary of a study over all windows of its zoom: the table, the verdicts, the images that are drawn."""

from pathlib import Path

from hessgeo import store
from hessgeo.pipeline import script_context
from hessgeo.pipeline.zoom_verdicts import judge_series, windows_shown, zoom_table


def main(windows, boundaries, output):
    table = zoom_table(windows, boundaries)
    store.write_table(output.table, table)
    store.write_json(output.verdicts, store.finite(judge_series(table, boundaries)))
    store.write_dataset(output.windows, windows_shown(windows, table))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        read = {
            name: [(Path(path).parent.name, store.read_dataset(path)) for path in step.input[name]]
            for name in ("windows", "boundaries")
        }
        main(read["windows"], dict(read["boundaries"]), step.output)
