"""Score every estimate of solvable systems against the exact answers, and typeset the tables."""

from hessgeo import store
from hessgeo.evaluation.published import with_published
from hessgeo.evaluation.tables import metric_table, potential_table
from hessgeo.figures import score_tables as typeset
from hessgeo.figures.tables import save_table
from hessgeo.pipeline import script_context
from hessgeo.pipeline.solvable_systems import read_records, read_truths, system_title


def score(records, truths, systems):
    first, fisher, growing = (
        (
            records[name],
            [truths[system] for system in dict.fromkeys(record.system for record in records[name])],
        )
        for name in ("table1", "fisher", "convergence")
    )
    return {
        "table1": with_published(potential_table(*first, target="paper"), systems),
        "table1_potential": potential_table(*first, target="potential"),
        "fisher": metric_table(*fisher),
        "sample_convergence": metric_table(*growing),
    }


def main(tables, systems, output):
    titles = {name: system_title(settings) for name, settings in systems.items()}
    for name, table in tables.items():
        files = [output[f"{name}_{kind}"] for kind in ("csv", "tex", "html")]
        about = {"caption": typeset.CAPTIONS[name], "title": typeset.TITLES[name], "group": "title"}
        save_table(typeset.with_titles(table, titles), typeset.COLUMNS[name], *files, **about)
    rows = {name: table.astype(object).where(table.notna(), None) for name, table in tables.items()}
    store.write_json(output.numbers, {name: table.to_dict("records") for name, table in rows.items()})


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        records = {name: read_records(entries) for name, entries in params.records.items()}
        truths = read_truths(params.systems, dict(zip(params.scored, step.input.truths, strict=True)))
        main(score(records, truths, params.systems), params.systems, step.output)
