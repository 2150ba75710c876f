"""Put the path scores of every study in Table 2."""

import pandas as pd

from hessgeo import store
from hessgeo.evaluation.path_table import table_2
from hessgeo.workflow import script_context

SCORES = ("fisher", "clip", "pixels", "perceptual", "curvature", "bend")


def main(scores, studies, confidence, output):
    parts = []
    for path, study, level in zip(scores, studies, confidence, strict=True):
        table = store.read_table(path)
        part = table_2(table, [name for name in SCORES if name in table], confidence=level)
        parts.append(part.assign(study=study))
    whole = pd.concat(parts, ignore_index=True)
    store.write_table(output.table, whole[["study", *whole.columns.drop("study")]])
    records = {study: part.drop(columns="study").to_dict("records") for study, part in whole.groupby("study")}
    store.write_json(output.numbers, store.finite(records))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.input.scores, step.params.studies, step.params.confidence, step.output)
