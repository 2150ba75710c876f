"""Gather what texts quote."""


rule collect_numbers:
    input:
        steps=of_study("numbers"),
        models=of_study("model_numbers"),
    output:
        numbers=study("numbers.json"),
    resources:
        mem_mb=1_000,
        runtime="10m",
    message:
        "Collect the numbers of {wildcards.study}"
    script:
        "../scripts/collect_numbers.py"
