"""Put the figures that make one of a paper below each other."""

from pathlib import Path

from hessgeo import store
from hessgeo.figures.stacking import stack_figures
from hessgeo.pipeline import script_context


def main(sources, output):
    store.write_text(
        output.figure, stack_figures([Path(path).read_text(encoding="utf-8") for path in sources])
    )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.input.sources, step.output)
