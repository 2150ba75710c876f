"""Which phases are real: replicates of a study, and its map by other extractors, resolutions and grids."""


rule measure_stability:
    input:
        fields=rules.segment_phases.output.fields,
        posterior=rules.estimate_posterior.output.posterior,
        scan=of_study("scan_numbers"),
        points=of_study("complete", "t"),
        images=of_study("complete", "image"),
        embedding=of_study("complete", "embedding"),
        classifier=of_study("label_model.awaited"),
    output:
        table=study("stability.csv"),
        stability=study("stability.json"),
        numbers=study("numbers", "stability.json"),
    threads: 8
    resources:
        mem_mb=8_000,
        runtime="4h",
    params:
        seed=setting("seed"),
        stability=setting("stability"),
        phases=setting("phases"),
        kernel=setting("posterior", "kernel"),
        classifier=of_study("label_model.path"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Measure which phases of {wildcards.study} are found again"
    script:
        "../scripts/measure_stability.py"


rule stability:
    input:
        layout.stability_targets,
    message:
        "The stability of every study's phases is measured"
