"""Phases through the sampler's time: predictions of the clean image at its steps, their phases, the tree of phases."""

history = layout.any_study


rule create_predictions:
    input:
        group=rules.create_samples.output.group,
    output:
        **{array: history.samples.metadata(history.array(array)) for array in ("prediction", "trajectory")},
    wildcard_constraints:
        study=layout.drawn,
    resources:
        mem_mb=1_000,
        runtime="10m",
    params:
        size=of_study("count"),
        shard=setting("sampling", "shard"),
        steps=of_study("history_steps"),
        image_shape=of_study("image_shape"),
        latent_shape=of_study("latent_shape"),
        store=of_study("samples"),
    message:
        "Create the arrays of predictions in the sample store of {wildcards.study}"
    script:
        "../scripts/create_predictions.py"


rule generate_predictions:
    input:
        anchors=history.anchor_file("anchors"),
        group=history.samples.metadata(),
        metadata=history.samples.metadata("image"),
        points=history.samples.shard("t", 0),
        points_sidecar=history.samples.sidecar("t", 0),
        image=history.samples.shard("image"),
        image_sidecar=history.samples.sidecar("image"),
        arrays=rules.create_predictions.output,
        model=of_study("system_model.awaited"),
    output:
        prediction=history.samples.shard(history.array("prediction")),
        trajectory=history.samples.shard(history.array("trajectory")),
        prediction_sidecar=history.samples.sidecar(history.array("prediction")),
        trajectory_sidecar=history.samples.sidecar(history.array("trajectory")),
    wildcard_constraints:
        study=layout.drawn,
    # As of the samples: on one thread everything rounds the same way.
    threads: 1
    resources:
        mem_mb=of_study("system_memory_mb"),
        runtime="4h",
    params:
        frame=layout.code("create_predictions.py"),
        seed=setting("seed"),
        sampling=of_study("sampling"),
        plane=of_study("plane"),
        shard=setting("sampling", "shard"),
        system=of_study("system"),
        steps=of_study("history_steps"),
        arrays=[history.array(array) for array in ("prediction", "trajectory")],
        store=of_study("samples"),
    message:
        "Sample shard {wildcards.shard} of {wildcards.study} again, and keep what is predicted on the way"
    script:
        "../scripts/generate_predictions.py"


rule create_features:
    input:
        group=rules.create_samples.output.group,
        model=of_study("embedding_model.awaited"),
    output:
        metadata=history.samples.metadata(history.array("features")),
    resources:
        mem_mb=2_000,
        runtime="10m",
    params:
        embedder=of_study("embedder"),
        size=of_study("count"),
        shard=setting("sampling", "shard"),
        steps=of_study("history_steps"),
        image_shape=of_study("image_shape"),
        store=of_study("samples"),
    message:
        "Create the array of the predictions' embedding in the sample store of {wildcards.study}"
    script:
        "../scripts/create_features.py"


rule embed_predictions:
    input:
        group=history.samples.metadata(),
        metadata=[history.samples.metadata(history.array(array)) for array in ("prediction", "features")],
        shard=history.samples.shard(history.array("prediction")),
        sidecar=history.samples.sidecar(history.array("prediction")),
        model=of_study("embedding_model.awaited"),
    output:
        shard=history.samples.shard(history.array("features")),
        sidecar=history.samples.sidecar(history.array("features")),
    resources:
        mem_mb=of_study("embedding_memory_mb"),
    params:
        frame=layout.code("create_features.py"),
        embedding=of_study("embedding"),
        embedder=of_study("embedder"),
        image_shape=of_study("image_shape"),
        store=of_study("samples"),
    message:
        "Embed the predictions of shard {wildcards.shard} of {wildcards.study}"
    script:
        "../scripts/embed_predictions.py"


rule trace_history:
    input:
        phases=rules.segment_phases.output.fields,
        points=of_study("complete", "t"),
        embedding=of_study("complete", "embedding"),
        trajectory=of_study("complete", "trajectory"),
        features=of_study("complete", "features"),
    output:
        fields=study("history.nc"),
        history=study("history.json"),
        boundaries=study("history.csv"),
    resources:
        mem_mb=of_study("history_memory_mb"),
    params:
        history=setting("history"),
        phases=setting("phases"),
        seed=setting("seed"),
        steps=of_study("history_steps"),
        grid=of_study("grid"),
        store=of_study("samples"),
        arrays=of_study("history_arrays"),
    message:
        "Trace the phases of {wildcards.study} through the sampler's time"
    script:
        "../scripts/trace_history.py"


rule history:
    input:
        layout.history_targets,
    message:
        layout.history_words
