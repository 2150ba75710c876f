"""Compare every shard with its sidecar."""


rule verify:
    log:
        logs("verify.log"),
    conda:
        "../../envs/hessgeo.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime="60m",
    params:
        stores=lambda wildcards: {
            **{
                entry.samples: {array: entry.shard_count(array) for array in entry.arrays}
                for entry in layout.studies
            },
            **solvable.built_stores(),
        },
    message:
        "Compare every shard with its sidecar and remove what does not match"
    script:
        "../scripts/verify.py"
