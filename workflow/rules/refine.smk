"""New images of a study where a boundary or its embedding is least known, round by round."""


wildcard_constraints:
    round="[0-9]+",


refined = {
    "refine": of_study("refine.settings"),
    "shape": of_study("refine.shape"),
    "grid": of_study("grid"),
    "store": of_study("samples"),
    "array": of_study("embedding_array"),
}


rule sample_round:
    input:
        phases=rules.segment_phases.output.phases,
        embedding=of_study("complete", "embedding"),
        rounds=layout.rounds_before,
        anchors=of_study("anchor_file", "anchors"),
        system=of_study("system_model.awaited"),
        embedder=of_study("embedding_model.awaited"),
    output:
        samples=study("refined", "round-{round}", "{part}-of-{parts}.nc"),
    resources:
        mem_mb=of_study("score_memory_mb"),
        runtime="4h",
    params:
        **refined,
        jobs=of_study("refine.jobs"),
        seed=setting("seed"),
        plane=of_study("plane"),
        sampling=of_study("sampling"),
        identity=of_study("embedding"),
        system=of_study("system"),
        embedder=of_study("embedder"),
        image_shape=of_study("image_shape"),
        most=setting("sampling", "shard"),
    message:
        "Sample round {wildcards.round} of the refinement of {wildcards.study}, part {wildcards.part}"
    script:
        "../scripts/sample_round.py"


rule judge_refinement:
    input:
        phases=rules.segment_phases.output.phases,
        embedding=of_study("complete", "embedding"),
        rounds=of_study("refine.rounds"),
    output:
        maps=study("refined", "refined.nc"),
        table=study("refined", "refined.csv"),
        numbers=study("refined", "refined.json"),
    params:
        **refined,
    message:
        "Judge the refinement of {wildcards.study}"
    script:
        "../scripts/judge_refinement.py"


rule refine:
    input:
        layout.refine_targets,
    message:
        layout.refine_words
