"""Whole checkpoints in one file: every tensor is read, known to change nothing, or refused by its name."""

import json

import checkpoints
import pytest
import torch
from checkpoints import tensors_of
from safetensors.torch import load_file, save_file

from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.pipelines import load_pipeline
from hessgeo.systems.diffusion.sampler import Sampler

FAMILIES = ["small_stable_diffusion", "small_stable_diffusion_xl"]
NET = "model.diffusion_model."
LARGEST = 448.0  # of eight bits with four of exponent and three of fraction


@pytest.fixture(scope="module")
def files(small_checkpoint, tmp_path_factory):
    """Tensors of single files, and the folders of their configurations."""
    folder, made = tmp_path_factory.mktemp("single"), {}
    for builder in FAMILIES:
        source = small_checkpoint(builder)
        file = checkpoints.single_file(source, folder / f"{builder}.safetensors")
        made[builder] = load_file(file), checkpoints.configuration_only(source, folder / builder)
    return made


@pytest.fixture
def load(files, tmp_path):
    def make(tensors, builder="small_stable_diffusion", *, metadata=None, **settings):
        save_file(
            {k: v.contiguous() for k, v in tensors.items()}, tmp_path / "x.safetensors", metadata=metadata
        )
        found = describe_checkpoint(tmp_path / "x.safetensors", config=files[builder][1])
        return load_pipeline(found, Sampler(**settings))

    return make


def scaled(tensors, scale_name, marker):
    """The matrices of the network in eight bits with a scale each, as programs write them."""
    result = {}
    for name, value in tensors.items():
        result[name] = value
        if name.startswith(NET) and name.endswith("weight") and value.ndim == 2:
            scale = value.abs().max() / LARGEST
            result[name] = (value / scale).to(torch.float8_e4m3fn)
            result[name.removesuffix("weight") + scale_name] = scale.reshape(())
    return result | marker


MARKERS = {
    "scale_weight": {f"{NET}scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)},
    "weight_scale": {
        f"{NET}out.2.comfy_quant": torch.tensor(list(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8),
        f"{NET}out.2.input_scale": torch.ones(1),
    },
}


@pytest.mark.parametrize("builder", FAMILIES)
@pytest.mark.parametrize("scale_name", MARKERS)
def test_scaled_weights_in_eight_bits_are_multiplied_out(files, load, builder, scale_name):
    plain = tensors_of(load(files[builder][0], builder))
    found = tensors_of(load(scaled(files[builder][0], scale_name, MARKERS[scale_name]), builder))
    for name, value in plain.items():
        # Three bits of fraction: a half of 2^-3 of a number, and of the least step at the bottom.
        step = value.abs().max() / LARGEST * 2**-9 if value.numel() else 0
        assert torch.all((found[name] - value).abs() <= value.abs() / 16 + step + 1e-12), name
        norms = [float(tensor.float().norm()) for tensor in (found[name], value)]
        assert norms[0] == pytest.approx(norms[1], rel=0.02), name


def test_a_cast_to_eight_bits_is_read_as_it_is(files, load):
    tensors = dict(files["small_stable_diffusion"][0])
    name = f"{NET}time_embed.0.weight"
    tensors[name] = tensors[name].to(torch.float8_e5m2)
    found = load(tensors).unet.time_embedding.linear_1.weight
    assert torch.equal(found, tensors[name].float())


BYTE = torch.zeros(4, dtype=torch.uint8)
REFUSED = {
    f"{NET}out.2.scale_weight": (
        torch.ones(()),
        "a scale that is not one number beside a weight of eight bits",
    ),
    f"{NET}out.2.weight_scale_2": (torch.ones(()), "weights in four bits"),
    f"{NET}out.2.weight.absmax": (BYTE, "weights of bitsandbytes"),
    f"{NET}out.2.weight.quant_state.bitsandbytes__nf4": (BYTE, "weights of bitsandbytes"),
    f"{NET}out.2.SCB": (torch.ones(4), "weights of bitsandbytes"),
    f"{NET}out.2.qweight": (torch.ones(4, dtype=torch.int32), "weights of GPTQ or AWQ"),
    f"{NET}out.2.lora_A.weight": (torch.ones(4), "a LoRA"),
    f"{NET}out.2.dora_scale": (torch.ones(4), "a "),
    f"{NET}adapter.0.weight": (torch.ones(4), "an adapter"),
    f"{NET}input_blocks.9.0.in_layers.2.weight": (torch.ones(4), "has no place for"),
    f"{NET}input_blocks.0.0.extra.weight": (torch.ones(4), "has no place for"),
    f"{NET}label_emb.0.0.weight": (torch.ones(4), "has no place for"),
    "control_model.out.2.weight": (torch.ones(4), "a ControlNet"),
    "ip_adapter.1.to_k_ip.weight": (torch.ones(4), "an IP-Adapter"),
    "image_proj.proj.weight": (torch.ones(4), "an IP-Adapter"),
    "embedding_manager.embedder.x": (torch.ones(4), "a textual inversion"),
    "vae.decoder.conv_in.weight": (torch.ones(4), "which nothing here reads"),
    "first_stage_model.decoder.mid.attn_2.q.weight": (torch.ones(4), "has no place for"),
    "first_stage_model.quantize.embedding.weight": (torch.ones(4), "which nothing here reads"),
    "cond_stage_model.transformer.text_model.encoder.layers.2.mlp.fc1.weight": (
        torch.ones(4),
        "has no place for",
    ),
    "scale_factor": (torch.ones(()), "a scale of quantised weights|which nothing here reads"),
    "edm_mean": (torch.ones(4), "EDM"),
    "x\ny": (torch.ones(4), r"holds x.ny"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tensor_that_nothing_reads_is_refused_by_its_name(files, load, name):
    tensor, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as error:
        load(files["small_stable_diffusion"][0] | {name: tensor})
    assert "\n" not in str(error.value)
    assert name.split(".")[-1].replace("\n", "\\n") in str(error.value)


def test_formats_in_eight_bits_that_are_not_known_are_refused(files, load):
    tensors = files["small_stable_diffusion"][0]
    kind = torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"comfy_quant of format nvfp4, not float8"):
        load(tensors | {f"{NET}out.2.comfy_quant": kind})
    rows = scaled(tensors, "scale_weight", {})
    name = next(name for name in rows if name.endswith("scale_weight"))
    rows[name] = torch.ones(len(rows[name.replace("scale_weight", "weight")]), 1)
    with pytest.raises(ValueError, match=r"scale that is not one number"):
        load(rows)
    packed = tensors | {f"{NET}time_embed.0.weight": torch.zeros(8, dtype=torch.uint8)}
    with pytest.raises(ValueError, match=r"time_embed\.0\.weight as U8, must be one of F64"):
        load(packed)


def test_what_changes_nothing_may_lie_unread(files, load):
    tensors = files["small_stable_diffusion"][0]
    averaged = {
        f"model_ema.{k}": torch.ones(1) for k in ("decay", "num_updates", "diffusion_modelout2weight")
    }
    others = {
        **averaged,
        "first_stage_model.loss.discriminator.main.0.weight": torch.ones(4),
        "first_stage_model.model_ema.decay": torch.ones(()),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
        "cond_stage_model.logit_scale": torch.ones(()),
        "posterior_mean_coef1": torch.ones(1000),
        "sqrt_recipm1_alphas_cumprod": torch.ones(1000),
        "logvar": torch.ones(1000),
        "global_step": torch.ones((), dtype=torch.int64),
    }
    plain, found = tensors_of(load(tensors)), tensors_of(load(tensors | others))
    assert all(torch.equal(plain[name], found[name]) for name in plain)


@pytest.mark.parametrize(
    "part", ["model.diffusion_model.out.2", "first_stage_model.encoder", "cond_stage_model"]
)
def test_a_parameter_that_the_file_does_not_give_is_named(files, load, part):
    tensors = dict(files["small_stable_diffusion"][0])
    tensors.pop(next(name for name in reversed(tensors) if name.startswith(part) and name.endswith("bias")))
    with pytest.raises(ValueError, match=r"does not hold all weights: .*bias is missing") as error:
        load(tensors)
    assert "\n" not in str(error.value)


def test_the_condition_of_the_second_version_leaves_its_last_layer(small_checkpoint, tmp_path):
    folder = small_checkpoint("small_stable_diffusion", prediction="v_prediction")
    file = checkpoints.single_file(folder, tmp_path / "x.safetensors", text_encoder="open_clip")
    config, tensors = checkpoints.configuration_only(folder, tmp_path / "config"), load_file(file)
    block = "cond_stage_model.model.transformer.resblocks."
    more = {
        name.replace(f"{block}1.", f"{block}2."): value
        for name, value in tensors.items()
        if f"{block}1." in name
    }
    more["cond_stage_model.model.text_projection"] = torch.eye(32)
    assert len(more) > 10
    save_file({name: value.clone() for name, value in (tensors | more).items()}, file)
    load_pipeline(describe_checkpoint(file, config=config))
    deeper = {name.replace(f"{block}2.", f"{block}3."): value.clone() for name, value in more.items()}
    save_file(tensors | deeper, file)
    with pytest.raises(ValueError, match=r"resblocks\.3\.\S+, which the network has no place for"):
        load_pipeline(describe_checkpoint(file, config=config))


def test_an_autoencoder_beside_a_transformer_is_the_one_that_is_used(small_checkpoint, tmp_path):
    folder = small_checkpoint("small_stable_diffusion_3")
    file = checkpoints.single_transformer(folder, tmp_path / "x.safetensors")
    weights = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    inside = {
        f"first_stage_model.{name}": value + 0.5
        for name, value in checkpoints._original_autoencoder(weights).items()
    }
    clip = load_file(folder / "text_encoder" / "model.safetensors")
    texts = {f"text_encoders.clip_l.transformer.{name}": 2 * value for name, value in clip.items()}
    save_file(load_file(file) | inside | texts | {"text_encoders.clip_l.logit_scale": torch.ones(())}, file)
    found = describe_checkpoint(file, config=folder)
    assert folder / "vae" / "diffusion_pytorch_model.safetensors" not in found.files
    assert folder / "text_encoder_2" / "model.safetensors" in found.files
    pipeline = load_pipeline(found)
    assert torch.equal(pipeline.vae.decoder.conv_in.bias, weights["decoder.conv_in.bias"] + 0.5)
    name = "text_model.final_layer_norm.weight"
    assert torch.equal(pipeline.text_encoder.state_dict()[name], 2 * clip[name])


# --- folders ---


def change_part(folder, part, **tensors):
    (file,) = (folder / part).glob("*.safetensors")
    save_file(load_file(file) | tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_tensor_of_a_folder_that_nothing_reads_is_refused(copy, part):
    folder = copy()
    change_part(folder, part, **{"conv_in.scale_weight": torch.ones(())})
    with pytest.raises(ValueError, match=r"holds conv_in.scale_weight .a scale of quantised weights."):
        describe_checkpoint(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_layer_of_a_folder_that_no_network_has_is_refused(copy, part):
    folder = copy()
    change_part(folder, part, **{"extra_layer.weight": torch.ones(3)})
    with pytest.raises(ValueError, match=r"holds weights that nothing reads: extra_layer\.weight"):
        load_pipeline(describe_checkpoint(folder))


def test_quantised_folders_are_refused(copy):
    folder = copy()
    path = folder / "unet" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"quantization_config": {"quant_method": "bitsandbytes"}}))
    with pytest.raises(ValueError, match=r"unet has a quantization_config"):
        describe_checkpoint(folder)
    path.write_text(json.dumps(config | {"out_channels": 8}))
    with pytest.raises(ValueError, match=r"predicts 8 channels, must be those of its latents .4."):
        describe_checkpoint(folder)
    path.write_text(json.dumps(config))
    change_part(folder, "unet", **{"conv_in.weight": torch.zeros(16, dtype=torch.uint8)})
    with pytest.raises(ValueError, match=r"holds conv_in\.weight as U8, must be one of F64"):
        describe_checkpoint(folder)


def test_settings_of_a_network_that_nothing_knows_are_refused(copy):
    folder = copy()
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"gated_attention": True}))
    with pytest.raises(ValueError, match=r"loaded with a warning: .*gated_attention"):
        load_pipeline(describe_checkpoint(folder))
