"""Write the explorer of one study: a page that needs nothing else."""

from pathlib import Path

from hessgeo import store
from hessgeo.pipeline import script_context
from hessgeo.study.explorer import explorer_page
from hessgeo.study.folder import Stored

SMOOTHED = ("smoothing", "floor", "density_quantile")  # what the metrics depend on


def main(folder, geodesics, output):
    sections = {"geodesics": {name: geodesics[name] for name in SMOOTHED}}
    store.write_text(output.page, explorer_page(Stored(folder, sections)))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(Path(step.output.page).parent, step.params.geodesics, step.output)
