"""Put the path scores of every study in Table 2."""

import pandas as pd

from hessgeo import store
from hessgeo.evaluation.path_table import table_2
from hessgeo.plotting.tables import save_table
from hessgeo.workflow import path_tables as typeset
from hessgeo.workflow import script_context


def main(scores, settings, output):
    parts = []
    for study, table in scores.items():
        names = [name for name in typeset.SCORES if name in table]
        part = table_2(table, names, confidence=settings[study]["confidence"])
        part.insert(0, "study", study)
        parts.append(part)
    whole = pd.concat(parts, ignore_index=True)
    files = [output[f"table_{kind}"] for kind in ("csv", "tex", "html")]
    about = {"caption": typeset.caption(settings), "title": typeset.TITLE, "group": "group"}
    save_table(typeset.with_labels(whole), typeset.score_columns(whole), *files, **about)
    records = {study: part.drop(columns="study").to_dict("records") for study, part in whole.groupby("study")}
    store.write_json(output.numbers, store.finite(records))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        tables = [store.read_table(path) for path in step.input.scores]
        settings = step.params.geodesics
        main(dict(zip(settings, tables, strict=True)), settings, step.output)
