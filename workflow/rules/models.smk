"""Train the embedded models and check them."""

for kind, files in MODELS.items():

    rule:
        name:
            f"train_{kind}"
        output:
            **{name: model(kind, file) for name, file in files.items()},
        # One thread whatever --cores says: the order of a sum, and so the weights, must not depend on it.
        threads: 1
        params:
            seed=model_setting("seed"),
            held_out=model_setting("held_out"),
            training=model_setting(kind),
            # Named by a param: what stands under script is found when a job runs, and the loop has ended then.
            trainer=f"train_{kind}.py",
            code=layout.code(f"train_{kind}.py"),
        message:
            f"Train the {kind} model {{wildcards.model}} on handwritten digits"
        script:
            "../scripts/{params.trainer}"


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
