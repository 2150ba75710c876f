"""Generate the samples of a study, or import those that are there, and embed them, one shard a job."""


rule create_samples:
    output:
        **layout.any_study.samples.created("image"),
    wildcard_constraints:
        study=layout.drawn,
    resources:
        mem_mb=1_000,
        runtime="10m",
    params:
        seed=setting("seed"),
        design=setting("sampling", "design"),
        shard=setting("sampling", "shard"),
        grid=of_study("design_grid"),
        size=of_study("count"),
        image_shape=of_study("image_shape"),
        sampling=of_study("sampling"),
    message:
        "Create the sample store of {wildcards.study} and its parameter points"
    script:
        "../scripts/create_samples.py"


rule import_points:
    output:
        **layout.any_study.samples.created("image"),
    wildcard_constraints:
        study=layout.imported,
    resources:
        mem_mb=1_000,
        runtime="10m",
    params:
        own=of_study("own"),
        shard=setting("sampling", "shard"),
        sampling=of_study("sampling"),
    message:
        "Create the sample store of {wildcards.study} for images that are there, with their points"
    script:
        "../scripts/import_points.py"


for block in layout.blocks["import_samples"]:

    rule:
        name:
            f"import_samples{block.suffix}"
        input:
            group=block.folder.samples.metadata(),
            metadata=block.folder.samples.metadata("image"),
            points=block.folder.samples.shard("t", 0),
            points_sidecar=block.folder.samples.sidecar("t", 0),
        output:
            shards=block.files("image"),
            sidecars=block.sidecars("image"),
        wildcard_constraints:
            study=block.studies,
        resources:
            mem_mb=block.of("import_memory_mb"),
        params:
            frame=layout.code("import_points.py"),
            own=block.of("own"),
            sampling=block.of("sampling"),
            store=block.of("samples"),
        message:
            f"Import {block.words}"
        script:
            "../scripts/import_samples.py"


rule create_anchors:
    input:
        model=of_study("awaited_inverter"),
    output:
        **{name: layout.any_study.anchor_file(name) for name in ANCHOR_FILES},
    resources:
        mem_mb=of_study("system_memory_mb"),
    params:
        sampling=of_study("sampling"),
        anchors=of_study("anchors"),
        system=of_study("system"),
        latent_shape=of_study("latent_shape"),
        image_shape=of_study("image_shape"),
    message:
        "Create the anchors of {wildcards.study}"
    script:
        "../scripts/create_anchors.py"


# One shard a job by a wildcard, or several of a study that asks for them, see ``Block``.
for block in layout.blocks["generate_samples"]:

    rule:
        name:
            f"generate_samples{block.suffix}"
        input:
            anchors=block.folder.anchor_file("anchors"),
            group=block.folder.samples.metadata(),
            metadata=block.folder.samples.metadata("image"),
            points=block.folder.samples.shard("t", 0),
            points_sidecar=block.folder.samples.sidecar("t", 0),
            model=block.of("system_model.awaited"),
        output:
            shards=block.files("image"),
            sidecars=block.sidecars("image"),
        wildcard_constraints:
            study=block.studies,
        # More shards at once beat more threads a shard, and one thread rounds the same way on every machine.
        threads: 1
        resources:
            mem_mb=block.of("system_memory_mb"),
            runtime="4h",
        params:
            frame=layout.code("create_samples.py"),
            seed=block.of("setting", "seed"),
            sampling=block.of("sampling"),
            plane=block.of("plane"),
            shard=block.of("setting", "sampling", "shard"),
            system=block.of("system"),
            store=block.of("samples"),
        message:
            f"Generate {block.words}"
        script:
            "../scripts/generate_samples.py"


rule check_samples:
    input:
        images=of_study("complete", "image"),
        classifier=of_study("classifier.files"),
    output:
        numbers=study("numbers", "samples.json"),
    resources:
        runtime="20m",
    params:
        store=of_study("samples"),
        classifier=of_study("classifier.path"),
    message:
        "Judge the samples of {wildcards.study} with the classifier"
    script:
        "../scripts/check_samples.py"


rule create_embedding:
    input:
        embeddings=rules.create_samples.output.embeddings,
        images_metadata=rules.create_samples.output.image_metadata,
        model=of_study("embedding_model.awaited"),
    output:
        metadata=layout.any_study.samples.metadata("embedding", "{key}"),
    resources:
        mem_mb=2_000,
        runtime="10m",
    params:
        embedding=of_study("embedding"),
        embedder=of_study("embedder"),
        shard=setting("sampling", "shard"),
        size=of_study("count"),
        image_shape=of_study("image_shape"),
        store=subpath(output.metadata, ancestor=3),
    message:
        "Create the embedding of the samples of {wildcards.study}"
    script:
        "../scripts/create_embedding.py"


for block in layout.blocks["embed_samples"]:

    rule:
        name:
            f"embed_samples{block.suffix}"
        input:
            group=block.folder.samples.metadata(),
            images_metadata=block.folder.samples.metadata("image"),
            metadata=block.folder.samples.metadata(block.folder.array("embedding")),
            shards=block.files("image"),
            sidecars=block.sidecars("image"),
            model=block.of("embedding_model.awaited"),
        output:
            shards=block.files("embedding"),
            sidecars=block.sidecars("embedding"),
        wildcard_constraints:
            study=block.studies,
        resources:
            mem_mb=block.of("embedding_memory_mb"),
        params:
            frame=layout.code("create_embedding.py"),
            embedding=block.of("embedding"),
            embedder=block.of("embedder"),
            image_shape=block.of("image_shape"),
            store=block.of("samples"),
            array=block.of("embedding_array"),
        message:
            f"Embed {block.words}"
        script:
            "../scripts/embed_samples.py"
