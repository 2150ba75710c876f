"""Gather the numbers of every step of a study, and of the models it uses, in one file."""

from pathlib import Path

from hessgeo import store
from hessgeo.pipeline import script_context


def main(steps, models, numbers):
    by_step = {Path(path).stem: store.read_json(path) for path in steps}
    by_model = {Path(path).parent.name: store.read_json(path) for path in models}
    store.write_json(numbers, {"models": by_model, **by_step})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.input.steps, step.input.models, step.output.numbers)
