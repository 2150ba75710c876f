"""Morphs: films of fresh samples along geodesics, beside straight lines."""


rule make_morph:
    input:
        free_energy=rules.fit_free_energy.output.free_energy,
        phases=rules.segment_phases.output.phases,
        anchors=of_study("morph_anchors"),
        points=of_study("complete", "t"),
        images=of_study("complete", "image"),
        embedding=of_study("complete", "embedding"),
        system=of_study("system_model.awaited"),
        embedder=of_study("embedding_model.awaited"),
    output:
        morph=study("morph", "morph.nc"),
        numbers=study("numbers", "morph.json"),
    resources:
        mem_mb=of_study("score_memory_mb"),
        runtime="4h",
    params:
        morph=setting("morph"),
        geodesics=of_study("geodesics"),
        has_model=of_study("has_paths"),
        seed=setting("seed"),
        plane=of_study("plane"),
        sampling=of_study("sampling"),
        identity=of_study("embedding"),
        system=of_study("system"),
        embedder=of_study("embedder"),
        image_shape=of_study("image_shape"),
        grid=of_study("grid"),
        most=setting("sampling", "shard"),
        store=of_study("samples"),
        array=of_study("embedding_array"),
    message:
        "Morph images of {wildcards.study} along geodesics"
    script:
        "../scripts/make_morph.py"


rule film_morph:
    input:
        morph=rules.make_morph.output.morph,
        phases=rules.segment_phases.output.fields,
    output:
        **{kind: study("morph", name) for kind, name in FILMS.items()},
    message:
        "Film the morph of {wildcards.study}"
    script:
        "../scripts/film_morph.py"


rule morph:
    input:
        layout.morph_targets,
    message:
        "The morph of every study is complete"
