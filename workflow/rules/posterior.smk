"""From embedded samples to a posterior over parameters."""


rule train_posterior_network:
    input:
        points=of_study("complete", "t"),
        images=of_study("complete", "image"),
    output:
        **{name: study("posterior_network", file) for name, file in NETWORK_FILES.items()},
    # One thread, as in all training: sums in another order would end in other weights.
    threads: 1
    resources:
        mem_mb=8_000,
        runtime="24h",
    params:
        seed=setting("seed"),
        training=of_study("network_training"),
        grid=of_study("grid"),
        store=of_study("samples"),
    message:
        "Train the posterior network of {wildcards.study}"
    script:
        "../scripts/train_posterior_network.py"


rule estimate_posterior:
    input:
        points=of_study("complete", "t"),
        images=of_study("posterior_images"),
        embedding=of_study("complete", "embedding"),
        network=of_study("network_files"),
    output:
        posterior=directory(study("posterior.zarr")),
        numbers=study("numbers", "posterior.json"),
    wildcard_constraints:
        study=layout.whole,
    threads: 8
    resources:
        mem_mb=8_000,
        runtime="4h",
    params:
        seed=setting("seed"),
        posterior=of_study("posterior_settings"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
        scheduler=of_study("scheduler"),
    message:
        "Estimate the posterior of {wildcards.study} and its resolution"
    script:
        "../scripts/estimate_posterior.py"


# Of a study that asks for several parts: the same bytes, made by a job each and joined.
rule start_posterior:
    input:
        points=of_study("complete", "t"),
        embedding=of_study("complete", "embedding"),
    output:
        start=layout.any_study.posterior_start,
    wildcard_constraints:
        study=layout.parted,
    resources:
        mem_mb=8_000,
        runtime="4h",
    params:
        seed=setting("seed"),
        posterior=of_study("posterior_settings"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Choose the resolution of {wildcards.study}, before its posterior is shared among jobs"
    script:
        "../scripts/start_posterior.py"


rule estimate_posterior_rows:
    input:
        points=of_study("complete", "t"),
        embedding=of_study("complete", "embedding"),
        start=rules.start_posterior.output.start,
    output:
        rows=layout.any_study.posterior_part(),
    wildcard_constraints:
        study=layout.parted,
    threads: 8
    resources:
        mem_mb=8_000,
        runtime="4h",
    params:
        posterior=of_study("posterior_settings"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Estimate part {wildcards.part} of {wildcards.parts} of the posterior of {wildcards.study}"
    script:
        "../scripts/estimate_posterior_rows.py"


rule combine_posterior:
    input:
        points=of_study("complete", "t"),
        start=rules.start_posterior.output.start,
        rows=of_study("posterior_parts"),
    output:
        posterior=directory(study("posterior.zarr")),
        numbers=study("numbers", "posterior.json"),
    wildcard_constraints:
        study=layout.parted,
    resources:
        mem_mb=8_000,
    params:
        posterior=of_study("posterior_settings"),
        store=of_study("samples"),
    message:
        "Combine the posterior of {wildcards.study}"
    script:
        "../scripts/combine_posterior.py"
