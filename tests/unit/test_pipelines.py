"""Loading of diffusion checkpoints: single files against folders, schedulers, LoRA; on small random ones."""

import json
import logging
import os
import shutil

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import TEXT_TO_IMAGE, tensors_of
from diffusers import DDIMPipeline, PNDMScheduler
from safetensors.torch import load_file, save_file

from hessgeo.systems.diffusion import pipelines
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint, scheduler_names
from hessgeo.systems.diffusion.loras import check_lora
from hessgeo.systems.diffusion.pipelines import load_pipeline
from hessgeo.systems.diffusion.sampler import Sampler

# Images in [0, 1]: float32 rounding, which differs with where tensors lie in memory, through some steps.
ROUNDING = 1e-4


def load(path, *, config=None, **settings):
    return load_pipeline(describe_checkpoint(path, config=config), Sampler(**settings))


def draw(pipeline, prompt="a red cat", seed=0, steps=2):
    generator = torch.Generator().manual_seed(seed)
    call = {"height": 16, "width": 16, "guidance_scale": 3.0, "output_type": "np"}
    return pipeline(prompt, num_inference_steps=steps, generator=generator, **call).images[0]


def same(one, other):
    one, other = tensors_of(one), tensors_of(other)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(scope="module")
def lora(small_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    return {
        builder: checkpoints.small_lora(small_checkpoint(builder), folder / f"{builder}.safetensors")
        for builder in TEXT_TO_IMAGE
    }


@pytest.mark.parametrize("builder", TEXT_TO_IMAGE)
def test_a_folder_gives_a_pipeline_ready_to_draw(small_checkpoint, builder, capfd, caplog, recwarn):
    folder = small_checkpoint(builder)
    capfd.readouterr()  # what building it printed
    recwarn.clear()
    with caplog.at_level(logging.WARNING):
        pipeline = load(folder)
        image = draw(pipeline)
    assert image.shape == (16, 16, 3)
    assert image.std() > 0.1, "what follows compares images, which must not be flat"
    # A prompt and a latent must both move the image by more than rounding.
    assert np.abs(draw(pipeline, "the blue sea") - image).mean() > 100 * ROUNDING
    assert np.abs(draw(pipeline, seed=1) - image).mean() > 100 * ROUNDING
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert len(parts) >= 3
    assert not any(part.training or any(p.requires_grad for p in part.parameters()) for part in parts)
    assert not caplog.records
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_the_same_seed_makes_the_same_checkpoint(small_checkpoint, tmp_path):
    first = load(small_checkpoint("small_stable_diffusion"))
    assert same(load(checkpoints.small_stable_diffusion(tmp_path / "again")), first)
    assert not same(load(checkpoints.small_stable_diffusion(tmp_path / "other", seed=1)), first)


@pytest.mark.parametrize("builder", ["small_stable_diffusion", "small_stable_diffusion_xl"])
def test_a_single_file_is_the_folder(small_checkpoint, tmp_path, builder):
    folder = small_checkpoint(builder)
    file = checkpoints.single_file(folder, tmp_path / "all.safetensors")
    config = checkpoints.configuration_only(folder, tmp_path / "config")
    assert not list(config.rglob("*.safetensors"))
    one, many = load(file, config=config), load(folder)
    assert same(one, many)
    assert one.scheduler.config == many.scheduler.config
    np.testing.assert_allclose(draw(one), draw(many), rtol=0, atol=ROUNDING)


def test_a_single_file_with_the_text_encoder_of_the_second_version(small_checkpoint, tmp_path):
    folder = small_checkpoint("small_stable_diffusion", prediction="v_prediction")
    file = checkpoints.single_file(folder, tmp_path / "all.safetensors", text_encoder="open_clip")
    one = load(file, config=checkpoints.configuration_only(folder, tmp_path / "config"))
    assert one.scheduler.config.prediction_type == "v_prediction"
    assert same(one, load(folder))


def test_a_single_transformer_replaces_that_of_its_pipeline(small_checkpoint, copy, tmp_path):
    folder = small_checkpoint("small_stable_diffusion_3")
    file = checkpoints.single_transformer(folder, tmp_path / "transformer.safetensors")
    config = copy("small_stable_diffusion_3")
    shutil.rmtree(config / "transformer")
    (config / "transformer").mkdir()
    shutil.copy(folder / "transformer" / "config.json", config / "transformer")
    found = describe_checkpoint(file, config=config)
    assert file in found.files
    assert config / "text_encoder_3" / "model.safetensors" in found.files
    one, many = load_pipeline(found), load(folder)
    assert same(one, many)
    np.testing.assert_allclose(draw(one), draw(many), rtol=0, atol=ROUNDING)


def test_variants_and_shards_are_read(small_checkpoint, copy):
    folder = copy()
    for part, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        (folder / part / f"{stem}.safetensors").rename(folder / part / f"{stem}.fp16.safetensors")
    expected = load(small_checkpoint("small_stable_diffusion"))
    assert same(load(folder), expected)
    part = folder / "unet"
    (part / "diffusion_pytorch_model.fp16.safetensors").rename(part / "whole.safetensors")
    whole, weight_map = load_file(part / "whole.safetensors"), {}
    for k in range(2):
        name = f"diffusion_pytorch_model-0000{k + 1}-of-00002.safetensors"
        piece = {key: whole[key] for key in list(whole)[k::2]}
        weight_map |= dict.fromkeys(piece, name)
        save_file(piece, part / name, metadata={"format": "pt"})
    (part / "whole.safetensors").unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (part / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert same(load(folder), expected)


def test_names_of_the_first_published_folders_are_read(small_checkpoint, copy):
    folder = copy()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for file in folder.glob("vae/*.safetensors"):
        weights = load_file(file)
        for new, name in old.items():
            weights = {
                key.replace(f"attentions.0.{new}.", f"attentions.0.{name}."): weights[key] for key in weights
            }
        assert any("proj_attn" in key for key in weights)
        save_file(weights, file, metadata={"format": "pt"})
    file = folder / "text_encoder" / "model.safetensors"
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    save_file(load_file(file) | positions, file, metadata={"format": "pt"})
    assert same(load(folder), load(small_checkpoint("small_stable_diffusion")))


@pytest.mark.parametrize(
    ("builder", "scheduler"),
    [
        (builder, name)
        for builder in TEXT_TO_IMAGE[1:]
        for name in scheduler_names(builder[6:].replace("_", "-"))
    ],
)
def test_every_scheduler_that_is_named_draws(small_checkpoint, builder, scheduler):
    pipeline = load(small_checkpoint(builder), scheduler=scheduler)
    assert type(pipeline.scheduler).__name__ == scheduler
    image = draw(pipeline, steps=3)
    assert np.isfinite(image).all()
    assert image.std() > 0.1


@pytest.mark.parametrize(
    ("builder", "scheduler"), [("small_flux", "DDIMScheduler"), ("small_ddim", "DDPMScheduler")]
)
def test_other_schedulers_are_refused(small_checkpoint, builder, scheduler):
    allowed = scheduler_names("flux" if builder == "small_flux" else "unconditional")
    with pytest.raises(
        ValueError, match=rf"scheduler is '{scheduler}', must be auto or one of {', '.join(allowed)}"
    ):
        load(small_checkpoint(builder), scheduler=scheduler)


def test_ddim_follows_a_schedule_that_says_nothing_of_clipping(copy, recwarn):
    folder = copy()
    PNDMScheduler(beta_schedule="scaled_linear", beta_end=0.012, steps_offset=1).save_pretrained(
        folder / "scheduler"
    )
    config = load(folder).scheduler.config
    assert (config.clip_sample, config.set_alpha_to_one, config.steps_offset) == (False, False, 1)
    assert (config.beta_schedule, config.beta_end) == ("scaled_linear", 0.012)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("builder", "name"),
    [
        ("small_stable_diffusion", "FlowMatchEulerDiscreteScheduler"),
        ("small_stable_diffusion", "EDMEulerScheduler"),
        ("small_stable_diffusion_3", "DDIMScheduler"),
        ("small_ddim", "ScoreSdeVeScheduler"),
    ],
)
def test_noise_of_another_kind_is_refused(copy, builder, name):
    import diffusers

    folder = copy(builder)
    getattr(diffusers, name)().save_pretrained(folder / "scheduler")
    if builder != "small_ddim":
        index = json.loads((folder / "model_index.json").read_text())
        change_json(
            folder / "model_index.json",
            scheduler=["diffusers", name],
            **{"_class_name": index["_class_name"]},
        )
    with pytest.raises(ValueError, match=rf"scheduler is a {name}, must be one of ") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_an_unconditional_folder_gives_a_network_and_a_schedule(small_checkpoint):
    folder = small_checkpoint("small_ddim")
    found, stock = load(folder), DDIMPipeline.from_pretrained(folder, local_files_only=True)
    assert type(found.scheduler).__name__ == "DDIMScheduler"
    assert found.scheduler.config.clip_sample == stock.scheduler.config.clip_sample
    assert same(found, stock)
    assert type(load(folder, scheduler="HeunDiscreteScheduler").scheduler).__name__ == "HeunDiscreteScheduler"


@pytest.mark.parametrize("builder", TEXT_TO_IMAGE)
def test_a_lora_changes_images_by_its_weight(small_checkpoint, lora, builder):
    folder, file = small_checkpoint(builder), lora[builder]
    plain = load(folder)
    none, whole = (load(folder, lora=[{"file": file, "weight": weight}]) for weight in (0, 1))
    assert same(none, plain)
    assert np.abs(draw(whole) - draw(plain)).mean() > 100 * ROUNDING
    halves = tensors_of(load(folder, lora=[{"file": str(file), "weight": 0.5}] * 2))
    for key, value in tensors_of(whole).items():
        # Two roundings of float32 in place of one, of weights below ten.
        torch.testing.assert_close(halves[key], value, rtol=0, atol=2e-6)


def kohya(pipeline, suffixes):
    """Low-rank changes of a network and its text encoder with the flat names that trainers write."""
    layers = {}
    parts = {
        "lora_unet_": pipeline.unet.state_dict(),
        "lora_te_text_model.": pipeline.text_encoder.state_dict(),
    }
    for prefix, weights in parts.items():
        for name, weight in weights.items():
            if name.endswith(suffixes):
                layer = (prefix + name.removesuffix(".weight")).replace(".", "_")
                generator = torch.Generator().manual_seed(len(layers))
                layers[f"{layer}.lora_down.weight"] = torch.randn(2, weight.shape[1], generator=generator)
                layers[f"{layer}.lora_up.weight"] = torch.randn(weight.shape[0], 2, generator=generator)
                layers[f"{layer}.alpha"] = torch.tensor(1.0)
    return layers


def test_a_lora_of_a_trainer_is_merged_as_a_whole(small_checkpoint, tmp_path):
    folder, file = small_checkpoint("small_stable_diffusion"), tmp_path / "x.safetensors"
    plain = load(folder)
    attention = ("to_q.weight", "to_out.0.weight", "_proj.weight", "fc1.weight")
    layers = kohya(plain, attention)
    save_file(layers, file)
    before, after = tensors_of(plain), tensors_of(load(folder, lora=[{"file": file, "weight": 0.5}]))
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert len(changed) == len(layers) // 3
    key = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_q.weight"
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_q"
    # Half the weight, and half again since alpha is half the rank.
    change = 0.25 * layers[f"{layer}.lora_up.weight"] @ layers[f"{layer}.lora_down.weight"]
    torch.testing.assert_close(after[key] - before[key], change, rtol=0, atol=2e-6)  # float32 rounding
    # So is one of some layers, whichever they are.
    layers = kohya(plain, ("to_q.weight", "q_proj.weight", "fc1.weight"))
    save_file(layers, file)
    after = tensors_of(load(folder, lora=[{"file": file, "weight": 1.0}]))
    assert sum(not torch.equal(before[key], after[key]) for key in before) == len(layers) // 3


def test_loras_that_cannot_be_used_are_refused(small_checkpoint, lora, tmp_path):
    folder = small_checkpoint("small_stable_diffusion")

    def refused(file, message, model=folder):
        with pytest.raises(ValueError, match=message) as error:
            check_lora(file, describe_checkpoint(model))  # before any job
        assert "\n" not in str(error.value)

    refused(tmp_path / "x.safetensors", "is missing")
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.pt")
    refused(tmp_path / "x.pt", r"is a pickle.*python -m hessgeo\.weights")
    save_file({"a.weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    refused(tmp_path / "x.safetensors", r"is no LoRA: it holds a\.weight")
    refused(lora["small_stable_diffusion_xl"], r"does not fit")
    refused(lora["small_flux"], r"does not fit")
    refused(lora["small_flux"], "is for a text-to-image model", small_checkpoint("small_ddim"))


@pytest.mark.parametrize("builder", TEXT_TO_IMAGE)
def test_precision_is_that_asked_for(small_checkpoint, builder):
    pipeline = load(small_checkpoint(builder), dtype="bfloat16")
    networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert {next(part.parameters()).dtype for part in networks} == {torch.bfloat16}
    with pytest.raises(ValueError, match="dtype is 'float8', must be one of float32, float16, bfloat16"):
        load(small_checkpoint(builder), dtype="float8")


@pytest.mark.parametrize("builder", ["small_ddim", "small_flux"])
def test_the_network_alone_is_compiled(small_checkpoint, monkeypatch, tmp_path, builder):
    compiled = []
    monkeypatch.setattr(pipelines, "own_folder", lambda: tmp_path)
    monkeypatch.setattr(os, "environ", {"TORCHINDUCTOR_CACHE_DIR": "", **os.environ})
    del os.environ["TORCHINDUCTOR_CACHE_DIR"]
    # In its place: compiling takes a minute.
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(module))
    load(small_checkpoint(builder))
    assert not compiled
    pipeline = load(small_checkpoint(builder), compile=True)
    assert compiled == [pipeline.unet if builder == "small_ddim" else pipeline.transformer]
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "torchinductor"), (
        "code that is run lies in no /tmp"
    )


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_incomplete_weights_are_refused(copy, part):
    folder = copy()
    (file,) = (folder / part).glob("*.safetensors")
    weights = load_file(file)
    weights.pop(max(weights, key=lambda name: weights[name].numel()))
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"does not hold all weights of its|do not fit") as error:
        load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_weights_of_another_shape_are_refused(copy, part):
    folder = copy()
    change = {"unet": {"cross_attention_dim": 24}, "text_encoder": {"intermediate_size": 32}}[part]
    change_json(folder / part / "config.json", **change)
    with pytest.raises(ValueError, match=r"do not fit") as error:
        load(folder)
    assert "\n" not in str(error.value)
