"""From embedded samples to a posterior over parameters."""


rule estimate_posterior:
    input:
        points=of_study("complete", "t"),
        embedding=of_study("complete", "embedding"),
    output:
        posterior=directory(study("posterior.zarr")),
        numbers=study("numbers", "posterior.json"),
    log:
        logs("{study}", "estimate_posterior.log"),
    benchmark:
        benchmarks("{study}", "estimate_posterior.tsv")
    conda:
        "../../envs/hessgeo.yaml"
    threads: 8
    resources:
        mem_mb=8_000,
        runtime="4h",
    params:
        seed=setting("seed"),
        posterior=setting("posterior"),
        extent=setting("slice", "extent"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
        algorithm_version=ALGORITHM_VERSIONS["estimate_posterior"],
    message:
        "Estimate the posterior of {wildcards.study} and its resolution"
    script:
        "../scripts/estimate_posterior.py"
