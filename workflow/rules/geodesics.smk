"""Paths between pairs of points by every metric, their scores, Table 2 and its figures."""


rule solve_geodesics:
    input:
        free_energy=rules.fit_free_energy.output.free_energy,
        posterior=rules.estimate_posterior.output.posterior,
        anchors=of_study("anchor_file", "anchors"),
        points=of_study("complete", "t"),
        images=of_study("complete", "image"),
        embedding=of_study("complete", "embedding"),
        perceptual=of_study("perceptual_model.awaited"),
    output:
        paths=study("geodesics.nc"),
        numbers=study("numbers", "geodesics.json"),
    resources:
        mem_mb=of_study("geodesics_memory_mb"),
    params:
        geodesics=of_study("geodesics"),
        seed=setting("seed"),
        plane=of_study("plane"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
        perceptual=of_study("perceptual_identity"),
        perceiver=of_study("perceiver"),
        has_density=of_study("has_density"),
        left_out=of_study("methods_left_out"),
    message:
        "Solve the geodesics of {wildcards.study} in every metric"
    script:
        "../scripts/solve_geodesics.py"


rule score_paths:
    input:
        paths=rules.solve_geodesics.output.paths,
        phases=rules.segment_phases.output.fields,
        anchors=of_study("anchor_file", "anchors"),
        system=of_study("system_model.awaited"),
        embedding=of_study("embedding_model.awaited"),
        perceptual=of_study("perceptual_model.awaited"),
    output:
        scores=study("path_scores.csv"),
        strips=study("path_strips.nc"),
        numbers=study("numbers", "path_scores.json"),
    resources:
        mem_mb=of_study("score_memory_mb"),
        runtime="4h",
    params:
        geodesics=of_study("geodesics"),
        seed=setting("seed"),
        sampling=of_study("sampling"),
        embedding=of_study("embedding"),
        perceptual=of_study("perceptual_identity"),
        plane=of_study("plane"),
        system=of_study("system"),
        embedder=of_study("embedder"),
        perceiver=of_study("perceiver"),
        image_shape=of_study("image_shape"),
        grid=of_study("grid"),
        most=setting("sampling", "shard"),
    message:
        "Sample and score the paths of {wildcards.study}"
    script:
        "../scripts/score_paths.py"


rule tabulate_paths:
    input:
        scores=[entry.path("path_scores.csv") for entry in layout.path_studies],
        paths=[entry.path("geodesics.nc") for entry in layout.path_studies],
    output:
        **{
            f"{name}_{kind}": layout.path("tables", f"{name}.{kind}")
            for name in PATH_TABLES
            for kind in ("csv", "tex")
        },
        **{
            f"{name}_html": report(
                layout.path("tables", f"{name}.html"),
                caption="../report/path_table.rst",
                category="paths",
                labels={"table": label},
            )
            for name, label in PATH_TABLES.items()
        },
        numbers=layout.path("tables", "table2.json"),
    resources:
        mem_mb=2_000,
        runtime="10m",
    params:
        geodesics={entry.name: entry.geodesics for entry in layout.path_studies},
        embeddings={
            entry.name: embedding_name(
                layout.settings.studies[entry.name]["embedding"], layout.settings.models
            )
            for entry in layout.path_studies
        },
    message:
        "Tabulate the path scores of every study"
    script:
        "../scripts/tabulate_paths.py"


rule table2:
    input:
        layout.path_targets,
    message:
        "Table 2 and its figures are complete"
