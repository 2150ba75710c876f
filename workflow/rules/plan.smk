"""Say what the studies take before any of it is done."""


rule plan:
    log:
        logs("plan.log"),
    conda:
        "../../envs/hessgeo.yaml"
    # As many as the jobs have that sample and embed.
    threads: 1
    resources:
        mem_mb=4_000,
        runtime="60m",
    params:
        studies=layout.studies,
    message:
        "Probe the models of every study and say what it takes"
    script:
        "../scripts/plan.py"
