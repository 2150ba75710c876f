"""Which seeds are safe: distances from phase boundaries, and what a jitter of the parameters changes."""


rule measure_safety:
    input:
        fields=rules.segment_phases.output.fields,
        phases=rules.segment_phases.output.phases,
        free_energy=rules.fit_free_energy.output.free_energy,
        embedding=of_study("complete", "embedding"),
    output:
        fields=study("safety.nc"),
        table=study("safety.csv"),
        safety=study("safety.json"),
    resources:
        runtime="20m",
    params:
        safety=setting("safety"),
        smoothing=setting("geodesics", "smoothing"),
        floor=setting("geodesics", "floor"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Measure which seeds of {wildcards.study} are safe"
    script:
        "../scripts/measure_safety.py"


rule safety:
    input:
        layout.safety_targets,
    message:
        "It is known which seeds of every study are safe"
