"""Train the embedded models and check them."""


rule train_diffusion:
    output:
        **{name: model("diffusion", file) for name, file in DIFFUSION_FILES.items()},
    # One thread whatever --cores says: the order of a sum, and so the weights, must not depend on it.
    threads: 1
    params:
        seed=model_setting("seed"),
        held_out=model_setting("held_out"),
        training=model_setting("diffusion"),
    message:
        "Train the diffusion model {wildcards.model} on handwritten digits"
    script:
        "../scripts/train_diffusion.py"


rule train_clip:
    output:
        **{name: model("clip", file) for name, file in CLIP_FILES.items()},
    params:
        seed=model_setting("seed"),
        held_out=model_setting("held_out"),
        training=model_setting("clip"),
    message:
        "Train the CLIP {wildcards.model} on captioned digits"
    script:
        "../scripts/train_clip.py"


rule train_classifier:
    output:
        **{name: model("classifier", file) for name, file in CLASSIFIER_FILES.items()},
    params:
        seed=model_setting("seed"),
        held_out=model_setting("held_out"),
        training=model_setting("classifier"),
    message:
        "Train the classifier {wildcards.model} on handwritten digits"
    script:
        "../scripts/train_classifier.py"


rule check_models:
    input:
        diffusion=rules.train_diffusion.output,
        clip=rules.train_clip.output,
        classifier=rules.train_classifier.output,
    output:
        numbers=model("numbers.json"),
    resources:
        runtime="20m",
    params:
        seed=model_setting("seed"),
        held_out=model_setting("held_out"),
    message:
        "Check the models {wildcards.model} on held-out digits and on images drawn at random"
    script:
        "../scripts/check_models.py"
