"""What checkpoints hold, and what is refused; from small random ones in published formats."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from hessgeo.systems.diffusion import checkpoints
from hessgeo.systems.diffusion.architectures import (
    ARCHITECTURES,
    clip_vocabulary,
    write_clip_tokenizer,
    write_configuration,
)
from hessgeo.systems.diffusion.architectures import main as write_main
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint, scheduler_names

FAMILIES = {
    "small_ddim": ("unconditional", (3, 8, 8), (8, 8, 3)),
    "small_stable_diffusion": ("stable-diffusion", (4, 8, 8), (16, 16, 3)),
    "small_stable_diffusion_xl": ("stable-diffusion-xl", (4, 8, 8), (16, 16, 3)),
    "small_stable_diffusion_3": ("stable-diffusion-3", (4, 8, 8), (16, 16, 3)),
    "small_flux": ("flux", (4, 8, 8), (16, 16, 3)),
}
TEXT_TO_IMAGE = list(FAMILIES)[1:]


@pytest.fixture(scope="module")
def files(small_checkpoint, tmp_path_factory):
    """Single files and the configurations that go with them."""
    import checkpoints as builders

    folder = tmp_path_factory.mktemp("files")
    for builder in ("small_stable_diffusion", "small_stable_diffusion_xl"):
        source = small_checkpoint(builder)
        builders.single_file(source, folder / f"{builder}.safetensors")
        builders.configuration_only(source, folder / builder)
    return folder


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def header_only(path, shapes):
    """A safetensors file of tensors of any size, which takes no space on disk."""
    offset, header = 0, {}
    for name, shape in shapes.items():
        size = 2 * int(torch.Size(shape).numel())
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)  # sparse
    return path


def original(width=768, *, text="clip", channels=4, first=320):
    """Names and shapes by which a single file of the full size is told."""
    names = {
        "model.diffusion_model.input_blocks.0.0.weight": (first, channels, 3, 3),
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, width),
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    }
    key = {
        "clip": "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
        "open_clip": "cond_stage_model.model.token_embedding.weight",
        "xl": "conditioner.embedders.1.model.positional_embedding",
    }[text]
    return names | {key: (77, width)}


@pytest.mark.parametrize("builder", FAMILIES)
def test_a_folder_is_described(small_checkpoint, builder):
    folder = small_checkpoint(builder)
    found = describe_checkpoint(folder)
    assert (found.family, found.latent_shape, found.image_shape) == FAMILIES[builder]
    assert found.flow == (builder in ("small_stable_diffusion_3", "small_flux"))
    assert set(found.files) == {path for path in folder.rglob("*") if path.is_file()}
    assert found.path == folder
    assert found.config is None


@pytest.mark.parametrize(
    ("builder", "step"), [("small_stable_diffusion", 2), ("small_flux", 4), ("small_ddim", 2)]
)
def test_size_must_fit_the_model(small_checkpoint, builder, step):
    folder = small_checkpoint(builder)
    scale = 1 if builder == "small_ddim" else 2
    found = describe_checkpoint(folder, size=(8 * step, 4 * step))
    assert found.latent_shape[1:] == (8 * step // scale, 4 * step // scale)
    assert found.image_shape == (8 * step, 4 * step, 3)
    for size in ((8 * step + 1, 8 * step), (8 * step, step // 2), (0, 8 * step)):
        with pytest.raises(
            ValueError, match=rf"size is \[{size[0]}, {size[1]}\], must be multiples of {step} "
        ):
            describe_checkpoint(folder, size=size)


def test_stable_diffusion_3_has_a_largest_size(small_checkpoint):
    folder = small_checkpoint("small_stable_diffusion_3")
    assert describe_checkpoint(folder, size=(64, 64)).latent_shape == (4, 32, 32)
    with pytest.raises(ValueError, match=r"must be at most 64"):
        describe_checkpoint(folder, size=(64, 68))


def test_a_missing_size_is_asked_for(copy):
    folder = copy("small_ddim")
    change_json(folder / "unet" / "config.json", sample_size=None)
    with pytest.raises(ValueError, match="give the size"):
        describe_checkpoint(folder)
    assert describe_checkpoint(folder, size=(16, 8)).latent_shape == (3, 16, 8)


def test_half_precision_variants_are_found(copy):
    folder = copy()
    for part, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        (folder / part / f"{stem}.safetensors").rename(folder / part / f"{stem}.fp16.safetensors")
    found = describe_checkpoint(folder)
    assert found.variant == "fp16"
    assert folder / "unet" / "diffusion_pytorch_model.fp16.safetensors" in found.files
    assert folder / "vae" / "diffusion_pytorch_model.safetensors" in found.files


def shard(folder, stem):
    tensors = load_file(folder / f"{stem}.safetensors")
    names = [f"{stem}-0000{k}-of-00002.safetensors" for k in (1, 2)]
    weight_map = {name: names[k % 2] for k, name in enumerate(tensors)}
    for file in names:
        save_file({k: v for k, v in tensors.items() if weight_map[k] == file}, folder / file)
    (folder / f"{stem}.safetensors").unlink()
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    return [folder / name for name in names]


def test_shards_are_found_and_missed(copy):
    folder = copy()
    shards = shard(folder / "unet", "diffusion_pytorch_model")
    found = describe_checkpoint(folder)
    assert {*shards, folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"} <= set(found.files)
    shards[1].unlink()
    with pytest.raises(ValueError, match=rf"{shards[1].name} is missing"):
        describe_checkpoint(folder)


def test_what_is_no_pipeline_is_refused_in_one_line(copy, tmp_path):
    cases = {
        "missing": "missing is missing, must be a pipeline folder",
        "empty": "empty has no model_index.json",
    }
    (tmp_path / "empty").mkdir()
    for name, message in cases.items():
        with pytest.raises(ValueError, match=message):
            describe_checkpoint(tmp_path / name)
    folder = copy()
    with pytest.raises(ValueError, match=r"config is .* must be null"):
        describe_checkpoint(folder, config=folder)
    change_json(folder / "model_index.json", _class_name="KandinskyPipeline")
    with pytest.raises(
        ValueError, match=r"copy is a KandinskyPipeline, must be one of DDIMPipeline,.*FluxPipeline"
    ):
        describe_checkpoint(folder)
    (folder / "model_index.json").write_text("{")
    with pytest.raises(ValueError, match=r"model_index\.json is not valid JSON"):
        describe_checkpoint(folder)
    (folder / "model_index.json").write_text("[]")
    with pytest.raises(ValueError, match=r"model_index\.json is not valid JSON"):
        describe_checkpoint(folder)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("unet", {"in_channels": 9}, "an inpainting model .9 input channels., must be text to image .4."),
        ("unet", {"in_channels": 8}, "conditional on an image .8 input channels."),
        (
            "unet",
            {"_class_name": "UNet3DConditionModel"},
            "unet is a UNet3DConditionModel, must be a UNet2DCond",
        ),
        ("vae", {"_class_name": "AutoencoderTiny"}, "vae is a AutoencoderTiny, must be a AutoencoderKL"),
        ("unet", {"in_channels": None}, "input channels"),
        ("unet", {"in_channels": "4"}, "in_channels 4, must be whole numbers"),
        ("unet", {"sample_size": [8, 8, 8]}, "sample_size .8, 8, 8., must be whole numbers"),
        ("unet", {"sample_size": 1.5}, "sample_size 1.5, must be"),
        ("vae", {"block_out_channels": 8.0}, "block_out_channels 8.0, must be"),
        ("vae", {"latent_channels": True}, "latent_channels True, must be"),
        ("vae", {"block_out_channels": None}, "configuration that lacks"),
        ("vae", {"out_channels": [3]}, "out_channels .3., must be whole numbers"),
        ("vae", {"scaling_factor": None}, "scaling_factor None, must be 1 finite number above 0"),
        ("vae", {"scaling_factor": -0.2}, "scaling_factor -0.2, must be 1 finite number above 0"),
        ("vae", {"shift_factor": float("nan")}, "shift_factor nan, must be 1 finite number"),
        ("vae", {"latents_std": [1, 1, 1]}, "latents_std .1, 1, 1., must be 4 finite numbers above 0"),
    ],
)
def test_models_that_need_more_than_a_prompt_are_refused(copy, part, changes, message):
    folder = copy()
    change_json(folder / part / "config.json", **changes)
    with pytest.raises(ValueError, match=message) as error:
        describe_checkpoint(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_class_embeds": 10}, "conditional on a class, must be unconditional"),
        ({"class_embed_type": "timestep"}, "conditional on a class"),
        ({"out_channels": 6}, "predicts a variance too"),
    ],
)
def test_conditional_and_learned_variance_models_are_refused(copy, changes, message):
    folder = copy("small_ddim")
    change_json(folder / "unet" / "config.json", **changes)
    with pytest.raises(ValueError, match=message):
        describe_checkpoint(folder)


@pytest.mark.parametrize("pickled", ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.bin"])
def test_pickled_weights_are_refused_with_the_way_out(copy, pickled):
    folder = copy()
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / pickled)
    with pytest.raises(ValueError, match=rf"{pickled} is a pickle.*python -m hessgeo\.weights"):
        describe_checkpoint(folder)


def test_missing_parts_are_named(copy):
    folder = copy()
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(
        ValueError, match=r"no weights of vae: there is no diffusion_pytorch_model.safetensors"
    ):
        describe_checkpoint(folder)
    (folder / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(ValueError, match=r"scheduler_config\.json is missing"):
        describe_checkpoint(folder)
    shutil.rmtree(folder / "tokenizer")
    (folder / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "DDIMScheduler"}')
    with pytest.raises(ValueError, match=r"has no folder tokenizer"):
        describe_checkpoint(folder)
    change_json(folder / "model_index.json", vae=[None, None])
    with pytest.raises(ValueError, match=r"has no vae in its model_index\.json"):
        describe_checkpoint(folder)


@pytest.mark.parametrize("builder", ["small_stable_diffusion", "small_stable_diffusion_xl"])
def test_a_single_file_is_described_by_its_configuration(files, builder):
    path, config = files / f"{builder}.safetensors", files / builder
    found = describe_checkpoint(path, config=config, size=(32, 16))
    assert (found.family, found.latent_shape) == (FAMILIES[builder][0], (4, 16, 8))
    assert found.config == config
    assert {path, *(file for file in config.rglob("*") if file.is_file())} == set(found.files)
    other = files / ("small_stable_diffusion" if builder.endswith("xl") else "small_stable_diffusion_xl")
    with pytest.raises(ValueError, match="is of the family"):
        describe_checkpoint(path, config=other)
    with pytest.raises(ValueError, match=r"cross-attention of width \d+.* config|not \d+ as"):
        describe_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "shapes", "architecture", "pixels"),
    [
        ("dream", original(768), "stable-diffusion-1", 512),
        ("v2-1_512-ema", original(1024, text="open_clip"), "stable-diffusion-2-base", 512),
        ("v2-1_768-ema", original(1024, text="open_clip"), "stable-diffusion-2", 768),
        ("xl", original(2048, text="xl"), "stable-diffusion-xl", 1024),
    ],
)
def test_single_files_of_full_size_are_told_apart(tmp_path, name, shapes, architecture, pixels):
    found = describe_checkpoint(header_only(tmp_path / f"{name}.safetensors", shapes))
    assert found.architecture == architecture
    assert found.image_shape == (pixels, pixels, 3)
    assert found.latent_shape == (4, pixels // 8, pixels // 8)
    assert found.files == (tmp_path / f"{name}.safetensors",)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (original(768, channels=9), "inpainting model"),
        (original(512), "cross-attention of width 512, not 768"),
        (original(1024, text="open_clip"), "predicts either noise .512 pixels. or velocity .768 pixels."),
        (original(2048, text="xl") | {"ztsnr": ()}, "zero signal at the last step, where only a velocity"),
        ({"joint_blocks.0.x": (1,)}, "stable-diffusion-3 transformer.*give the pipeline folder.* config"),
        (
            {"model.diffusion_model.double_blocks.0.x": (1,)},
            "flux transformer.*give the pipeline folder.* config",
        ),
        ({"blocks.0.lora_A.weight": (1,)}, "is a LoRA"),
        ({"conv1.weight": (1,)}, "tensors of another model, must be Stable Diffusion 1, 2, XL or 3 or Flux"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "without its text encoders"),
    ],
)
def test_single_files_that_cannot_be_used_are_refused(tmp_path, shapes, message):
    with pytest.raises(ValueError, match=message) as error:
        describe_checkpoint(header_only(tmp_path / "x.safetensors", shapes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "part", ["first_stage_model", "input_blocks.0.0", "cond_stage_model.transformer.text"]
)
def test_incomplete_single_files_are_refused(tmp_path, part):
    shapes = original(768) | {"cond_stage_model.x": (1,)}
    path = header_only(tmp_path / "x.safetensors", {k: v for k, v in shapes.items() if part not in k})
    with pytest.raises(ValueError, match=r"has no (network|autoencoder|text encoder).*complete checkpoint"):
        describe_checkpoint(path)


def test_pickled_and_other_single_files_are_refused(tmp_path):
    (tmp_path / "x.ckpt").touch()
    with pytest.raises(ValueError, match=r"is a pickle.*python -m hessgeo\.weights"):
        describe_checkpoint(tmp_path / "x.ckpt")
    (tmp_path / "x.gguf").touch()
    with pytest.raises(ValueError, match=r"must be a pipeline folder of diffusers or a \.safetensors file"):
        describe_checkpoint(tmp_path / "x.gguf")
    with pytest.raises(ValueError, match="is missing"):
        describe_checkpoint(tmp_path / "y.safetensors")


def test_schedulers_are_those_that_diffusers_holds_compatible():
    from diffusers import DDIMScheduler

    left_out = {
        "DDPMScheduler",  # noise in every step
        "EulerAncestralDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "DPMSolverSDEScheduler",
        "EDMEulerScheduler",  # noise of another scale
    }
    names = set(scheduler_names("stable-diffusion"))
    compatible = set(DDIMScheduler._compatibles)
    assert names == compatible - left_out
    assert left_out <= compatible
    assert scheduler_names("unconditional") == scheduler_names("stable-diffusion-xl")
    assert all(name.startswith("FlowMatch") for name in scheduler_names("flux"))
    with pytest.raises(ValueError, match="family is 'sd'"):
        scheduler_names("sd")


# Published sizes; the text encoder of Stable Diffusion 2 is OpenCLIP's ViT-H without its last layer and projection.
COUNTS = {
    "stable-diffusion-1": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "stable-diffusion-2": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840},
    "stable-diffusion-2-base": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840},
    "stable-diffusion-xl": {
        "unet": 2_567_463_684,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "text_encoder_2": 694_659_840,
    },
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_have_the_published_numbers_of_parameters(name):
    import diffusers
    import transformers

    for part, expected in COUNTS[name].items():
        settings = ARCHITECTURES[name][part]
        with torch.device("meta"):
            if part.startswith("text_encoder"):
                kind = getattr(transformers, settings["architectures"][0])
                model = kind(transformers.CLIPTextConfig(**settings))
            else:
                model = getattr(diffusers, settings["_class_name"]).from_config(settings)
        assert sum(parameter.numel() for parameter in model.parameters()) == expected, part


def test_the_tokenizer_is_that_of_open_clip(tmp_path):
    import open_clip
    from transformers import CLIPTokenizer

    write_clip_tokenizer(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert len(tokenizer) == 49408
    assert tokenizer.model_max_length == 77
    for text in (
        "A photo of an astronaut's horse",
        "naïve café, 3 dogs!! (4k) #art",
        "東京 \N{ROCKET} <tag>",
        "",
    ):
        expected = open_clip.tokenize(text)[0]
        ids = tokenizer(text).input_ids
        assert ids == expected[: len(ids)].tolist()
        assert not expected[len(ids) :].any()


def test_a_shorter_vocabulary_ends_in_the_two_marks():
    vocabulary, rules = clip_vocabulary(10)
    assert len(rules) == 10
    assert list(vocabulary.values()) == list(range(512 + 10 + 2))
    assert list(vocabulary)[-2:] == ["<|startoftext|>", "<|endoftext|>"]


def test_configurations_are_written_by_name(tmp_path):
    with pytest.raises(ValueError, match="architecture is 'sd', must be one of stable-diffusion-1"):
        write_configuration("sd", tmp_path)
    write_main(["stable-diffusion-2", str(tmp_path / "made")])
    index = json.loads((tmp_path / "made" / "model_index.json").read_text())
    assert index["_class_name"] in checkpoints.PIPELINES
    path = header_only(tmp_path / "x.safetensors", original(1024, text="open_clip"))
    assert describe_checkpoint(path, config=tmp_path / "made").image_shape == (768, 768, 3)


def test_odd_folders_are_refused_in_one_line(copy):
    folder = copy()
    index = json.loads((folder / "model_index.json").read_text())
    for changes, message in (
        ({"_class_name": ["StableDiffusionPipeline"]}, "is a ..StableDiffusionPipeline.., must be one of"),
        (
            {"controlnet": ["diffusers", "ControlNetModel"]},
            "has a part controlnet, which no StableDiffusionPipeline",
        ),
        (
            {"text_encoder": ["transformers", "BertModel"]},
            "has a BertModel as text_encoder, must be one of CLIPText",
        ),
        ({"tokenizer": ["transformers", "CLIPTokenizer"]}, "tokenizer has no words"),
    ):
        if "tokenizer" in changes:
            for name in ("vocab.json", "tokenizer.json"):
                (folder / "tokenizer" / name).unlink(missing_ok=True)
        (folder / "model_index.json").write_text(json.dumps(index | changes))
        with pytest.raises(ValueError, match=message) as error:
            describe_checkpoint(folder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", 3, ["x"]])
def test_shards_lie_beside_their_index(copy, name):
    folder = copy()
    shard(folder / "unet", "diffusion_pytorch_model")
    change_json(folder / "unet" / "diffusion_pytorch_model.safetensors.index.json", weight_map={"x": name})
    with pytest.raises(ValueError, match="names files elsewhere in its weight_map"):
        describe_checkpoint(folder)


@pytest.mark.parametrize(
    "name", ["model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight"]
)
def test_layers_of_other_shapes_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"of shape \(3,\), must be that of a convolution"):
        describe_checkpoint(header_only(tmp_path / "x.safetensors", original(768) | {name: (3,)}))


def test_two_sets_of_weights_or_an_adapter_beside_them_are_refused(copy):
    folder = copy()
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = file.read_bytes()
    shard(folder / "unet", "diffusion_pytorch_model")
    file.write_bytes(whole)
    with pytest.raises(ValueError, match=r"holds both .*model\.safetensors and .*index\.json, must hold one"):
        describe_checkpoint(folder)
    file.with_name("diffusion_pytorch_model.safetensors.index.json").unlink()
    describe_checkpoint(folder)
    (folder / "text_encoder" / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"adapter_config\.json belongs to an adapter, .* give it as a LoRA"):
        describe_checkpoint(folder)
