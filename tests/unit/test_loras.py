"""LoRA files in the layouts that people have: merged to the last number, or refused in one line before any job."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.loras import check_lora
from hessgeo.systems.diffusion.pipelines import load_pipeline
from hessgeo.systems.diffusion.sampler import Sampler


@pytest.fixture(scope="module")
def folder(small_checkpoint):
    return small_checkpoint("small_stable_diffusion")


@pytest.fixture(scope="module")
def plain(folder):
    pipeline = load_pipeline(describe_checkpoint(folder))
    return {part: getattr(pipeline, part).state_dict() for part in ("unet", "text_encoder")}


@pytest.fixture(scope="module")
def lora(folder, tmp_path_factory):
    """Changes of rank two of the attention of the network, in the layout of diffusers."""
    import checkpoints

    return load_file(checkpoints.small_lora(folder, tmp_path_factory.mktemp("lora") / "x.safetensors"))


@pytest.fixture(scope="module")
def text_lora(plain):
    """Changes of all layers of the text encoder, by their names in published files."""
    generator = torch.Generator().manual_seed(1)
    layers = {}
    for name, weight in plain["text_encoder"].items():
        if name.endswith("weight") and any(part in name for part in ("_proj", "fc1", "fc2")):
            layer = f"text_encoder.text_model.{name.removesuffix('.weight')}"
            layers[f"{layer}.lora_A.weight"] = torch.randn(2, weight.shape[1], generator=generator)
            layers[f"{layer}.lora_B.weight"] = torch.randn(weight.shape[0], 2, generator=generator)
    assert len(layers) == 2 * 12
    return layers


def norm(layers):
    """Norm of all changes of a LoRA in the layout of diffusers, without a scale."""
    ups = [name for name in layers if name.endswith("lora_B.weight")]
    return sum(float((layers[up] @ layers[up.replace("lora_B", "lora_A")]).norm() ** 2) for up in ups) ** 0.5


def kohya(layers):
    prefixes = {"unet.": "lora_unet_", "text_encoder.": "lora_te_"}
    result = {}
    for name, tensor in layers.items():
        prefix = next(begin for begin in prefixes if name.startswith(begin))
        layer, _, side = name.removeprefix(prefix).removesuffix(".weight").rpartition(".lora_")
        flat = prefixes[prefix] + layer.replace(".", "_")
        result[f"{flat}.lora_{'down' if side == 'A' else 'up'}.weight"] = tensor
        result[f"{flat}.alpha"] = torch.tensor(2.0)
    return result


def old_diffusers(layers):
    for new, old in ((".lora_A.", ".lora_linear_layer.down."), (".lora_B.", ".lora_linear_layer.up.")):
        layers = {name.replace(new, old): tensor for name, tensor in layers.items()}
    return layers


def processors(layers):
    result = {}
    for name, tensor in layers.items():
        layer, _, side = name.removesuffix(".weight").rpartition(".lora_")
        block, _, which = layer.removesuffix(".0").rpartition(".")
        result[f"{block}.processor.{which}_lora.{'down' if side == 'A' else 'up'}.weight"] = tensor
    return result


def changes(folder, plain, layers, tmp_path, *, weight=1.0, metadata=None):
    """Norms of what a file changes in the network and in the text encoder."""
    file = tmp_path / "x.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in layers.items()}, file, metadata=metadata)
    pipeline = load_pipeline(describe_checkpoint(folder), Sampler(lora=[{"file": file, "weight": weight}]))
    return [
        sum(float((value - plain[part][name]).norm() ** 2) for name, value in found.items()) ** 0.5
        for part in plain
        for found in (getattr(pipeline, part).state_dict(),)
    ]


@pytest.mark.parametrize("layout", [lambda layers: layers, kohya, old_diffusers])
def test_every_layout_changes_network_and_text_encoder_by_its_norm(
    folder, plain, lora, text_lora, tmp_path, layout
):
    found = changes(folder, plain, layout(lora | text_lora), tmp_path, weight=0.5)
    assert found == pytest.approx([0.5 * norm(lora), 0.5 * norm(text_lora)], rel=1e-5)
    assert norm(text_lora) > 100  # of numbers that are not small


def test_the_first_layout_of_processors_is_read(folder, plain, lora, tmp_path):
    assert changes(folder, plain, processors(lora), tmp_path) == pytest.approx([norm(lora), 0], rel=1e-5)


def test_alpha_scales_whatever_the_names_of_the_matrices(folder, plain, lora, tmp_path):
    alphas = {
        name.replace(".lora_A.weight", ".alpha"): torch.tensor(1.0) for name in lora if "lora_A" in name
    }
    found = changes(folder, plain, lora | alphas, tmp_path)
    assert found == pytest.approx([0.5 * norm(lora), 0], rel=1e-5)  # alpha 1 of rank 2
    # One alpha of its own, where the others have none, is that of its layer alone.
    name, alpha = next(iter(alphas.items()))
    matrices = {key: value for key, value in lora.items() if key.startswith(name.removesuffix("alpha"))}
    expected = (norm(lora) ** 2 - norm(matrices) ** 2 + (norm(matrices) / 2) ** 2) ** 0.5
    assert changes(folder, plain, lora | {name: alpha}, tmp_path) == pytest.approx([expected, 0], rel=1e-5)


def test_alpha_of_the_metadata_scales(folder, plain, lora, tmp_path):
    metadata = {
        "lora_adapter_metadata": json.dumps({"unet.r": 2, "unet.lora_alpha": 6, "unet.use_dora": False})
    }
    assert changes(folder, plain, lora, tmp_path, metadata=metadata) == pytest.approx(
        [3 * norm(lora), 0], rel=1e-5
    )


def test_ranks_and_precisions_may_differ(folder, plain, lora, tmp_path):
    layers = {name: value.half() if k % 4 < 2 else value for k, (name, value) in enumerate(lora.items())}
    names = sorted(name for name in layers if "lora_A" in name)[:3]
    for name in names:
        up = name.replace("lora_A", "lora_B")
        layers[name], layers[up] = layers[name][:1], layers[up][:, :1]
    expected = norm({name: value.float() for name, value in layers.items()})
    assert changes(folder, plain, layers, tmp_path) == pytest.approx([expected, 0], rel=1e-5)


def change(lora, **tensors):
    layer = next(iter(lora)).partition(".lora_")[0]
    return lora | {f"{layer}.{name}": tensor for name, tensor in tensors.items()}


ONE = torch.ones(1)
KINDS = {
    "dora_scale": ({"dora_scale": ONE}, "a DoRA"),
    "magnitude": ({"lora_magnitude_vector": ONE}, "a DoRA"),
    "peft magnitude": ({"lora_magnitude_vector.default.weight": ONE}, "a DoRA"),
    "loha": ({"hada_w1_a": ONE}, "a LoHa"),
    "lokr": ({"lokr_w1": ONE}, "a LoKr"),
    "locon": ({"lora_mid.weight": ONE}, "a LoCon with a core"),
    "oft": ({"oft_blocks": ONE}, "an OFT"),
    "boft": ({"boft_R": ONE}, "a BOFT"),
    "ia3": ({"on_input": ONE}, "an .IA.\\^3"),
    "full": ({"diff": ONE}, "a difference of weights"),
    "bias": ({"diff_b": ONE}, "a difference of biases"),
    "norm": ({"w_norm": ONE}, "a change of norms"),
    "lora_bias": ({"lora_B.bias": ONE}, "a LoRA of biases"),
    "quantised": ({"weight.absmax": ONE}, "weights of bitsandbytes"),
    "unknown": ({"gate": ONE}, "gate, which is not of a plain LoRA"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_more_than_a_plain_lora_is_refused_by_name(folder, lora, tmp_path, kind):
    more, message = KINDS[kind]
    save_file(change(lora, **more), tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=message) as error:
        check_lora(tmp_path / "x.safetensors", describe_checkpoint(folder))
    assert "\n" not in str(error.value)


def first(lora, side):
    return next(name for name in lora if f"lora_{side}" in name)


SHAPES = {
    "half": (lambda t: {k: v for k, v in t.items() if k != first(t, "B")}, "without its up matrix"),
    "alpha alone": (lambda t: t | {"unet.conv_in.alpha": ONE}, "unet.conv_in.alpha without its down matrix"),
    "ranks": (lambda t: t | {first(t, "B"): torch.zeros(16, 3)}, "which have no product"),
    "whole numbers": (lambda t: t | {first(t, "B"): torch.zeros(16, 2, dtype=torch.int8)}, "as I8, must be F64"),
    "two alphas": (lambda t: t | {first(t, "A").replace("lora_A.weight", "alpha"): torch.ones(2)}, "not one number"),
    "twice": (lambda t: t | {first(t, "A").replace("lora_A", "lora.down"): torch.ones(2, 4)}, " beside "),
    "elsewhere": (
        lambda t: t | {"unet.down_blocks.7.to_q.lora_A.weight": torch.ones(2, 4),
                       "unet.down_blocks.7.to_q.lora_B.weight": torch.ones(4, 2)},
        "has no layer unet.down_blocks.7.to_q",
    ),
    "wider": (lambda t: t | {first(t, "A"): torch.zeros(2, 99)}, "maps 99 to"),
    "another part": (
        lambda t: {k.replace("unet.", "text_encoder_2."): v for k, v in t.items()}, "begins with none of unet.,",
    ),
    "other names": (lambda t: {f"base_model.model.{k}": v for k, v in t.items()}, "begins with none of unet.,"),
    "inversion": (lambda t: {"emb_params": torch.zeros(1, 8)}, "is no LoRA but a textual inversion"),
    "adapter": (lambda t: {"image_proj.weight": ONE}, "is no LoRA but an IP-Adapter"),
    "whole": (
        lambda t: {"model.diffusion_model.out.2.weight": torch.zeros(1)}, "is no LoRA but a whole checkpoint",
    ),
    "whole and more": (
        lambda t: t | {"model.diffusion_model.out.weight": torch.zeros(1)}, "a whole checkpoint., which is not",
    ),
    "nothing": (lambda t: {}, "it holds no tensor"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SHAPES)
def test_what_does_not_fit_is_refused_from_the_header(folder, lora, tmp_path, kind):
    make, message = SHAPES[kind]
    save_file(make(lora), tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=message) as error:
        check_lora(tmp_path / "x.safetensors", describe_checkpoint(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "is for stable-diffusion-xl"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "is for stable-diffusion-xl .ss_base_model_version"),
        (
            {"modelspec.prediction_type": "v"},
            "says prediction_type v_prediction .modelspec.prediction_type., but",
        ),
        ({"ss_v_parameterization": "True"}, "ss_v_parameterization., but .* says epsilon"),
        ({"ss_zero_terminal_snr": "True"}, "says rescale_betas_zero_snr True"),
        ({"lora_adapter_metadata": '{"unet.use_dora": true}'}, "says unet.use_dora True, must be plain"),
        ({"lora_adapter_metadata": '{"unet.alpha_pattern": {"x": 3}}'}, "unet.alpha_pattern"),
        ({"lora_adapter_metadata": '{"unet.lora_alpha": "many"}'}, "must be a number"),
        ({"lora_adapter_metadata": "{"}, "cannot be read"),
    ],
)
def test_what_the_metadata_says_is_heard(folder, lora, tmp_path, metadata, message):
    save_file(lora, tmp_path / "x.safetensors", metadata=metadata)
    with pytest.raises(ValueError, match=message):
        check_lora(tmp_path / "x.safetensors", describe_checkpoint(folder))
    accepted = {"modelspec.architecture": "stable-diffusion-v1/lora", "ss_v_parameterization": "False"}
    save_file(lora, tmp_path / "x.safetensors", metadata=accepted)
    check_lora(tmp_path / "x.safetensors", describe_checkpoint(folder))


def test_two_text_encoders_are_told_apart(small_checkpoint, tmp_path):
    checkpoint = describe_checkpoint(small_checkpoint("small_stable_diffusion_xl"))
    layers, expected, generator = {}, {}, torch.Generator().manual_seed(2)
    for prefix, part, width in (("lora_te1", "text_encoder", 16), ("lora_te2", "text_encoder_2", 24)):
        layer = f"{prefix}_text_model_encoder_layers_1_self_attn_q_proj"
        layers[f"{layer}.lora_down.weight"] = torch.randn(3, width, generator=generator)
        layers[f"{layer}.lora_up.weight"] = torch.randn(width, 3, generator=generator)
        layers[f"{layer}.alpha"] = torch.tensor(1.5)
        expected[part] = 0.5 * layers[f"{layer}.lora_up.weight"] @ layers[f"{layer}.lora_down.weight"]
    save_file(layers, tmp_path / "x.safetensors")
    pipelines = (
        load_pipeline(checkpoint),
        load_pipeline(checkpoint, Sampler(lora=[{"file": tmp_path / "x.safetensors", "weight": 1}])),
    )
    for part, change in expected.items():
        before, after = (
            {k.removeprefix("text_model."): v for k, v in getattr(p, part).state_dict().items()}
            for p in pipelines
        )
        changed = {k: after[k] - before[k] for k in before if not torch.equal(before[k], after[k])}
        assert list(changed) == ["encoder.layers.1.self_attn.q_proj.weight"]
        torch.testing.assert_close(*changed.values(), change, rtol=0, atol=1e-5)


def test_joint_projections_of_flux_are_split(small_checkpoint, tmp_path):
    checkpoint = describe_checkpoint(small_checkpoint("small_flux"))
    generator, layer = torch.Generator().manual_seed(3), "lora_unet_double_blocks_0_img_attn_qkv"
    down, up = torch.randn(2, 32, generator=generator), torch.randn(3 * 32, 2, generator=generator)
    layers = {
        f"{layer}.lora_down.weight": down,
        f"{layer}.lora_up.weight": up,
        f"{layer}.alpha": torch.tensor(4.0),
    }
    save_file(layers, tmp_path / "x.safetensors")
    plain, merged = (
        load_pipeline(checkpoint),
        load_pipeline(checkpoint, Sampler(lora=[{"file": tmp_path / "x.safetensors", "weight": 1}])),
    )
    before, after = (p.transformer.transformer_blocks[0].attn for p in (plain, merged))
    change = torch.cat(
        [getattr(after, n).weight - getattr(before, n).weight for n in ("to_q", "to_k", "to_v")]
    )
    torch.testing.assert_close(change, 2 * up @ down, rtol=0, atol=1e-5)
    odd = layers | {name.replace("img_attn_qkv", "nowhere"): value.clone() for name, value in layers.items()}
    save_file(odd, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"x.safetensors cannot be translated|does not fit") as error:
        load_pipeline(checkpoint, Sampler(lora=[{"file": tmp_path / "x.safetensors", "weight": 1}]))
    assert "\n" not in str(error.value)
