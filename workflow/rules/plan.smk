"""Say what the studies take before any of it is done."""


rule plan:
    # As many as the jobs have that sample and embed.
    threads: 1
    params:
        studies=layout.studies,
        url=settings.storage["url"],
    message:
        "Probe the models of every study and say what it takes"
    script:
        "../scripts/plan.py"
