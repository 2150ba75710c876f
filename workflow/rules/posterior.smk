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
    threads: 8
    resources:
        mem_mb=8_000,
        runtime="4h",
    params:
        seed=setting("seed"),
        posterior=setting("posterior"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Estimate the posterior of {wildcards.study} and its resolution"
    script:
        "../scripts/estimate_posterior.py"
