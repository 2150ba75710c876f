"""Compare everything under results with what vouches for it."""


rule verify:
    resources:
        mem_mb=1_000,
    params:
        results=settings.results,
        made=lambda wildcards: made_by(workflow.rules, settings.results, solvable.templates),
        targets=lambda wildcards: by_target(layout),
    message:
        "Compare everything under results with what vouches for it, and remove what does not match"
    script:
        "../scripts/verify.py"
