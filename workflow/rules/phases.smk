"""From the metric to phases."""


rule segment_phases:
    input:
        metric=rules.derive_metric.output.metric,
        free_energy=rules.fit_free_energy.output.free_energy,
        points=of_study("complete", "t"),
        embedding=of_study("embedding_of_no_posterior"),
    output:
        fields=study("phases.nc"),
        phases=study("phases.json"),
        numbers=study("numbers", "phases.json"),
    resources:
        runtime="20m",
    params:
        phases=setting("phases"),
        design=setting("sampling", "design"),
        grid=of_study("grid"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Segment the phases of {wildcards.study}"
    script:
        "../scripts/segment_phases.py"
