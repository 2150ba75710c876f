"""The explorer: one page a study, to look at its maps, images and geodesics in a browser."""


rule write_explorer:
    input:
        results=of_study("explorer_results"),
        points=of_study("complete", "t"),
        images=of_study("complete", "image"),
        embedding=of_study("complete", "embedding"),
    output:
        page=study(PAGE),
    resources:
        mem_mb=6_000,
        runtime="30m",
    params:
        geodesics=setting("geodesics"),
        # Read where they are there: nothing is made for the page alone.
        beside=of_study("explorer_beside"),
        source=source_digest(),
    message:
        "Write the explorer of {wildcards.study}"
    script:
        "../scripts/write_explorer.py"


rule explore:
    input:
        layout.explorer_targets,
    message:
        "The explorer of every study is written"
