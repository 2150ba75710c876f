"""Windows that shrink about a point of a boundary, in several precisions, and what becomes of the boundary."""

zoomed = {
    "seed": setting("seed"),
    "plane": of_study("plane"),
    "sampling": of_study("sampling"),
    "embedding": of_study("embedding"),
    "system": of_study("system"),
    "embedder": of_study("embedder"),
    "image_shape": of_study("image_shape"),
    "precision": layout.of_series("precision"),
    "steps": layout.of_series("steps"),
}


wildcard_constraints:
    series="(float64|float32|float16|bfloat16)-([0-9]+|adaptive)",
    level="[0-9]+",


rule locate_boundary:
    input:
        anchors=of_study("anchor_file", "anchors"),
        phases=rules.segment_phases.output.phases,
        points=of_study("complete", "t"),
        embedding=of_study("complete", "embedding"),
        system=of_study("system_model.awaited"),
        embedder=of_study("embedding_model.awaited"),
    output:
        boundary=study("zoom", "{series}", "boundary.nc"),
    resources:
        mem_mb=of_study("zoom.memory_mb"),
    params:
        **zoomed,
        centre=setting("zoom", "centre"),
        margin=of_study("zoom.margin"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Find the boundary of {wildcards.study} to zoom on in {wildcards.series}"
    script:
        "../scripts/locate_boundary.py"


rule sample_window:
    input:
        boundary=rules.locate_boundary.output.boundary,
        anchors=of_study("anchor_file", "anchors"),
        system=of_study("system_model.awaited"),
        embedder=of_study("embedding_model.awaited"),
    output:
        window=study("zoom", "{series}", "level-{level}.nc"),
    resources:
        mem_mb=of_study("zoom.memory_mb"),
        runtime="4h",
    params:
        **zoomed,
        width=layout.of_series("width"),
        zoom=of_study("zoom.windowed"),
        phases=of_study("zoom.phases"),
        box=setting("slice", "extent"),
    message:
        "Sample window {wildcards.level} of {wildcards.study} in {wildcards.series}"
    script:
        "../scripts/sample_window.py"


rule judge_windows:
    input:
        windows=of_study("zoom.windows"),
        boundaries=of_study("zoom.boundaries"),
    output:
        table=study("zoom", "zoom.csv"),
        verdicts=study("zoom", "zoom.json"),
        windows=study("zoom", "windows.nc"),
    message:
        "Judge the boundary of {wildcards.study} over all windows"
    script:
        "../scripts/judge_windows.py"


rule film_zoom:
    input:
        windows=rules.judge_windows.output.windows,
    output:
        **{kind: study("zoom", name) for kind, name in FILMS.items()},
    message:
        "Film the zoom of {wildcards.study}"
    script:
        "../scripts/film_zoom.py"


rule zoom:
    input:
        layout.zoom_targets,
    message:
        layout.zoom_words
