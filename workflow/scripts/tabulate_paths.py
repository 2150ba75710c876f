"""Put the path scores of every study in Table 2 and those beside it, and typeset them."""

from hessgeo import store
from hessgeo.evaluation.path_table import path_tables as tables_of
from hessgeo.figures import path_tables
from hessgeo.figures.saving import verdict_of
from hessgeo.figures.tables import save_table
from hessgeo.pipeline import script_context


def main(scores, settings, embeddings, verdicts, output):
    tables = tables_of(scores, settings)
    for name, table in tables.items():
        files = [output[f"{name}_{kind}"] for kind in ("csv", "tex", "html")]
        about = {
            "caption": path_tables.caption(name, settings, embeddings, verdicts),
            "title": path_tables.TITLES[name],
        }
        columns = path_tables.columns(name, table, embeddings)
        save_table(path_tables.typeset(name, table, embeddings), columns, *files, **about, group="group")
    records = {name: table.to_dict("records") for name, table in tables.items()}
    store.write_json(output.numbers, store.finite(records))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        settings = step.params.geodesics
        scores = {
            name: store.read_table(path) for name, path in zip(settings, step.input.scores, strict=True)
        }
        paths = zip(settings, step.input.paths, strict=True)
        verdicts = {name: verdict_of(store.read_dataset(path)) for name, path in paths}
        main(scores, settings, step.params.embeddings, verdicts, step.output)
