"""What differs between studies on the same latents, each against the first of its comparison."""


rule reseed_samples:
    input:
        anchors=of_study("anchor_file", "anchors"),
        points=of_study("complete", "t"),
        embedding=of_study("complete", "embedding"),
        system=of_study("system_model.awaited"),
        embedder=of_study("embedding_model.awaited"),
    output:
        reseeded=study("reseeded.nc"),
    resources:
        mem_mb=of_study("score_memory_mb"),
        runtime="4h",
    params:
        seed=setting("seed"),
        cells=layout.settings.differences["cells"],
        sampling=of_study("sampling"),
        embedding=of_study("embedding"),
        plane=of_study("plane"),
        system=of_study("system"),
        embedder=of_study("embedder"),
        image_shape=of_study("image_shape"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
        most=setting("sampling", "shard"),
    message:
        "Draw cells of {wildcards.study} again, to see how far their images move when nothing changes"
    script:
        "../scripts/reseed_samples.py"


rule measure_differences:
    input:
        phases=layout.of_comparison("phases.nc"),
        free_energy=layout.of_comparison("free_energy.nc"),
        samples=layout.cells_compared,
        reseeded=lambda wildcards: layout.compared(wildcards)[0].path("reseeded.nc"),
    output:
        differences=layout.path("comparisons", "{comparison}", "differences.nc"),
        table=layout.path("comparisons", "{comparison}", "differences.csv"),
        numbers=layout.path("comparisons", "{comparison}", "differences.json"),
    params:
        names=layout.of_comparison("name"),
        stores=layout.of_comparison("samples"),
        arrays=layout.of_comparison("embedding_array"),
        changed=layout.settings_changed,
        settings=layout.settings.differences,
        grid=lambda wildcards: layout.compared(wildcards)[0].grid,
    message:
        "Measure what differs between the studies of {wildcards.comparison}"
    script:
        "../scripts/measure_differences.py"


rule scan_noise:
    input:
        phases=layout.of_comparison("phases.nc"),
        free_energy=layout.of_comparison("free_energy.nc"),
        differences=layout.path("comparisons", "{comparison}", "differences.json"),
    output:
        maps=layout.path("comparisons", "{comparison}", "noise.nc"),
        table=layout.path("comparisons", "{comparison}", "noise.csv"),
        numbers=layout.path("comparisons", "{comparison}", "noise.json"),
    params:
        samplers=layout.noise_compared,
        settings=layout.settings.differences,
        grid=lambda wildcards: layout.compared(wildcards)[0].grid,
    message:
        "Measure what noise leaves of the phases and boundaries of {wildcards.comparison}"
    script:
        "../scripts/scan_noise.py"


rule compare:
    input:
        layout.compared_targets,
    message:
        "What differs between the studies of every comparison is measured"
