"""Every figure and table of the papers, by number, and the page that sets them beside what the papers report."""

paper = layout.paper


rule assemble_figure:
    input:
        sources=paper.sources,
    output:
        figure=paper.path("{entry}.svg"),
    wildcard_constraints:
        entry="(kim-)?figure-[0-9]+",
    resources:
        mem_mb=1_000,
        runtime="10m",
    message:
        "Put together {wildcards.entry} of the papers"
    script:
        "../scripts/assemble_figure.py"


rule assemble_table:
    input:
        sources=paper.sources,
    output:
        table=paper.path("{entry}.tex"),
    wildcard_constraints:
        entry="table-[0-9]+",
    resources:
        mem_mb=1_000,
        runtime="10m",
    message:
        "Put together {wildcards.entry} of the paper"
    script:
        "../scripts/assemble_table.py"


rule index_papers:
    input:
        files=paper.files,
        read=paper.read,
    output:
        index=paper.path("index.html"),
        numbers=paper.path("numbers.json"),
    resources:
        mem_mb=2_000,
        runtime="10m",
    params:
        rows=paper.told,
    message:
        "Set every figure and table of the papers beside what they report"
    script:
        "../scripts/index_papers.py"


rule paper:
    input:
        paper.targets,
    message:
        "The figures and tables of the papers are complete"
