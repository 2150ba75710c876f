"""Small random checkpoints in the formats in which real ones are published; for tests.

Images are 16 x 16 and latents 4 x 8 x 8; the same seed gives the same weights. Random weights are scaled up where
the usual initialisation would leave images flat or prompts without effect.
"""

import json
import re
import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from hessgeo.systems.diffusion.architectures import write_clip_tokenizer

MERGES = 200
VOCABULARY = 2 * 256 + MERGES + 2
LATENT_SHAPE = (4, 8, 8)
IMAGE_SHAPE = (16, 16, 3)
NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
OPEN_CLIP_MODEL = "hessgeo-small-clip"
TIMM_MODEL = "test_vit"
TEXT_TO_IMAGE = [
    "small_stable_diffusion",
    "small_stable_diffusion_xl",
    "small_stable_diffusion_3",
    "small_flux",
]


def tensors_of(pipeline):
    """All tensors of a pipeline's networks, by name."""
    return {
        f"{name}.{key}": value
        for name, part in pipeline.components.items()
        if isinstance(part, torch.nn.Module)
        for key, value in part.state_dict().items()
    }


# --- pipelines ---


def small_ddim(folder, *, seed=0):
    """An unconditional pipeline of three-channel images of 8 x 8."""
    torch.manual_seed(seed)
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
    )
    DDIMPipeline(unet, DDIMScheduler(clip_sample=False)).save_pretrained(folder, safe_serialization=True)
    return Path(folder)


def small_stable_diffusion(folder, *, prediction="epsilon", in_channels=4, seed=0):
    """A Stable Diffusion 1.x pipeline without a safety checker."""
    torch.manual_seed(seed)
    scheduler = DDIMScheduler(
        **NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type=prediction
    )
    pipeline = StableDiffusionPipeline(
        vae=_autoencoder(scaling_factor=0.18215),
        text_encoder=_text_encoder(CLIPTextModel, width=32),
        tokenizer=_tokenizer(Path(folder) / "tokenizer"),
        unet=_unet(cross_attention_dim=32, in_channels=in_channels),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _save(pipeline, folder)


def small_stable_diffusion_xl(folder, *, seed=0):
    """A Stable Diffusion XL pipeline: two text encoders, and the size of the image as a condition."""
    torch.manual_seed(seed)
    pipeline = StableDiffusionXLPipeline(
        vae=_autoencoder(scaling_factor=0.13025),
        text_encoder=_text_encoder(CLIPTextModel, width=16),
        text_encoder_2=_text_encoder(CLIPTextModelWithProjection, width=24, activation="gelu"),
        tokenizer=_tokenizer(Path(folder) / "tokenizer"),
        tokenizer_2=_tokenizer(Path(folder) / "tokenizer_2", padding="!"),
        unet=_unet(
            cross_attention_dim=16 + 24,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=[1, 2],
            attention_head_dim=[2, 4],
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 24,
        ),
        scheduler=EulerDiscreteScheduler(**NOISE, steps_offset=1, timestep_spacing="leading"),
        add_watermarker=False,
    )
    return _save(pipeline, folder)


def small_stable_diffusion_3(folder, *, seed=0):
    """A Stable Diffusion 3 pipeline: three text encoders, a transformer, flow matching."""
    torch.manual_seed(seed)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=48,
        caption_projection_dim=32,
        pooled_projection_dim=16 + 24,
        pos_embed_max_size=16,
    )
    pipeline = StableDiffusion3Pipeline(
        transformer=_louder(transformer, "transformer_blocks|proj_out|context_embedder", 2.0),
        vae=_autoencoder(
            scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=_text_encoder(CLIPTextModelWithProjection, width=16),
        text_encoder_2=_text_encoder(CLIPTextModelWithProjection, width=24, activation="gelu"),
        text_encoder_3=_t5_encoder(width=48),
        tokenizer=_tokenizer(Path(folder) / "tokenizer"),
        tokenizer_2=_tokenizer(Path(folder) / "tokenizer_2", padding="!"),
        tokenizer_3=_t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    return _save(pipeline, folder)


def small_flux(folder, *, guidance_embeds=True, seed=0):
    """A Flux pipeline: a CLIP and a T5 text encoder, a transformer on packed latents, flow matching."""
    torch.manual_seed(seed)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,  # four latent channels, in patches of 2 x 2
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        pooled_projection_dim=32,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )
    pipeline = FluxPipeline(
        transformer=_louder(transformer, "transformer_blocks|proj_out|context_embedder", 2.0),
        vae=_autoencoder(
            scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=_text_encoder(CLIPTextModel, width=32),
        text_encoder_2=_t5_encoder(width=48),
        tokenizer=_tokenizer(Path(folder) / "tokenizer"),
        tokenizer_2=_t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )
    return _save(pipeline, folder)


def configuration_only(pipeline_folder, folder):
    """A copy of a pipeline folder without any weights: configurations and tokenizers."""
    ignore = shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json", "*.bin")
    return Path(shutil.copytree(pipeline_folder, folder, ignore=ignore))


def _save(pipeline, folder):
    pipeline.save_pretrained(folder, safe_serialization=True)
    for file in Path(folder).glob("text_encoder*/model.safetensors"):
        if "T5" not in (file.parent / "config.json").read_text(encoding="utf-8"):
            save_file(_wrapped(load_file(file)), file, metadata={"format": "pt"})
    return Path(folder)


def _unet(*, cross_attention_dim, in_channels=4, **changes):
    settings = {
        "sample_size": 8,
        "in_channels": in_channels,
        "out_channels": 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": cross_attention_dim,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    }
    return _louder(UNet2DConditionModel(**settings | changes), "attn2|conv_out", 2.0)


def _autoencoder(**changes):
    model = AutoencoderKL(
        sample_size=16,
        latent_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        **changes,
    )
    return _louder(model, r"decoder\.conv_out", 2.0)


def _text_encoder(kind, *, width, activation="quick_gelu"):
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=width,
        hidden_act=activation,
        # The marker is the largest number in the vocabulary, as in CLIP; 2 makes transformers look for that.
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )
    return _louder(kind(config), "embedding|q_proj|k_proj", 10.0).eval()


def _tokenizer(folder, *, padding="<|endoftext|>"):
    write_clip_tokenizer(folder, padding=padding, merges=MERGES)
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _t5_encoder(*, width):
    config = T5Config(
        vocab_size=64,
        d_model=width,
        d_kv=8,
        d_ff=2 * width,
        num_layers=1,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    return T5EncoderModel(config).eval()


def _t5_tokenizer():
    letters = [f"▁{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"] + list("abcdefghijklmnopqrstuvwxyz")
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        *((piece, -3.0) for piece in letters),
    ]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def _louder(model, pattern, factor):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if re.search(pattern, name) and parameter.ndim > 1:
                parameter.mul_(factor)
    return model


# --- one file in the original layout ---


def single_file(pipeline_folder, file, *, text_encoder="clip"):
    """The original one-file layout of a Stable Diffusion 1.x, 2.x (``text_encoder="open_clip"``) or XL folder."""
    folder = Path(pipeline_folder)
    config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    tensors = _prefixed("model.diffusion_model.", _original_unet(_weights(folder / "unet"), config))
    tensors |= _prefixed("first_stage_model.", _original_autoencoder(_weights(folder / "vae")))
    text = _weights(folder / "text_encoder")
    if (folder / "text_encoder_2").is_dir():
        tensors |= _prefixed("conditioner.embedders.0.transformer.", _wrapped(text))
        tensors |= _prefixed(
            "conditioner.embedders.1.model.", _original_open_clip(_weights(folder / "text_encoder_2"))
        )
    elif text_encoder == "clip":
        tensors |= _prefixed("cond_stage_model.transformer.", _wrapped(text))
    else:
        tensors |= _prefixed("cond_stage_model.model.", _original_open_clip(text))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return Path(file)


RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
AUTOENCODER = {
    "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
    "mid_block.attentions.0.to_q": "mid.attn_1.q",
    "mid_block.attentions.0.to_k": "mid.attn_1.k",
    "mid_block.attentions.0.to_v": "mid.attn_1.v",
    "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "downsamplers.0.conv": "downsample.conv",
    "upsamplers.0.conv": "upsample.conv",
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
    "resnets.": "block.",
}


def _original_unet(weights, config):
    stride = config["layers_per_block"] + 1
    with_attention = [kind.startswith("CrossAttn") for kind in config["up_block_types"]]
    renamed = {}
    for name, tensor in weights.items():
        down = re.match(
            r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name
        )
        mid = re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name)
        if down:
            side, block, part, layer, rest = down[1], int(down[2]), down[3], int(down[4]), down[5]
            first = int(side == "down") + block * stride
            blocks = "input_blocks" if side == "down" else "output_blocks"
            if part == "downsamplers":
                new = f"{blocks}.{first + stride - 1}.0.{rest.replace('conv', 'op')}"
            elif part == "upsamplers":
                new = f"{blocks}.{first + stride - 1}.{2 if with_attention[block] else 1}.{rest}"
            elif part == "attentions":
                new = f"{blocks}.{first + layer}.1.{rest}"
            else:
                new = f"{blocks}.{first + layer}.0.{_renamed(rest, RESNET)}"
        elif mid:
            place = 1 if mid[1] == "attentions" else 2 * int(mid[2])
            new = f"middle_block.{place}.{mid[3] if place == 1 else _renamed(mid[3], RESNET)}"
        else:
            new = _renamed(name, UNET)
        renamed[new] = tensor
    return renamed


SD3 = {
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "context_embedder": "context_embedder",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
SD3_BLOCK = {
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
}
SD3_ATTENTION = {
    "attn.to_q": ("x_block", ("to_q", "to_k", "to_v")),
    "attn.add_q_proj": ("context_block", ("add_q_proj", "add_k_proj", "add_v_proj")),
}


def single_transformer(pipeline_folder, file):
    """The original one-file layout of the transformer of a Stable Diffusion 3 folder."""
    weights = _weights(Path(pipeline_folder) / "transformer")
    last = max(int(match[1]) for name in weights if (match := re.match(r"transformer_blocks\.(\d+)", name)))
    renamed = {"pos_embed": weights.pop("pos_embed.pos_embed")}
    for name, tensor in weights.items():
        block = re.match(r"transformer_blocks\.(\d+)\.(.+)\.(weight|bias)$", name)
        if not block:
            new = _renamed(name, SD3)
        elif block[2] in SD3_BLOCK:
            new = f"joint_blocks.{block[1]}.{SD3_BLOCK[block[2]]}.{block[3]}"
        elif block[2] in SD3_ATTENTION:
            side, parts = SD3_ATTENTION[block[2]]
            new = f"joint_blocks.{block[1]}.{side}.attn.qkv.{block[3]}"
            tensor = torch.cat([weights[name.replace(parts[0], part)] for part in parts])
        else:
            continue
        if name.startswith(("norm_out", f"transformer_blocks.{last}.norm1_context")):
            tensor = torch.cat(tensor.chunk(2)[::-1])  # shift before scale
        renamed[new] = tensor.contiguous()
    save_file(_prefixed("model.diffusion_model.", renamed), file)
    return Path(file)


def _original_autoencoder(weights):
    levels = 1 + max(
        int(match[1]) for name in weights if (match := re.match(r"encoder\.down_blocks\.(\d)", name))
    )
    renamed = {}
    for name, tensor in weights.items():
        new = name
        for here, there in AUTOENCODER.items():
            new = new.replace(here, there)
        new = new.replace("down_blocks.", "down.")
        new = re.sub(r"up_blocks\.(\d)", lambda match: f"up.{levels - 1 - int(match[1])}", new)
        is_projection = ".mid.attn_1." in new and tensor.ndim == 2
        renamed[new] = tensor[:, :, None, None] if is_projection else tensor
    return renamed


def _original_open_clip(weights):
    weights = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    renamed = {new: weights[name] for name, new in OPEN_CLIP.items()}
    if "text_projection.weight" in weights:
        renamed["text_projection"] = weights["text_projection.weight"].T
    for name, tensor in weights.items():
        match = re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$", name)
        if match and match[2] in OPEN_CLIP_LAYER:
            renamed[f"transformer.resblocks.{match[1]}.{OPEN_CLIP_LAYER[match[2]]}.{match[3]}"] = tensor
        elif match and match[2] == "self_attn.q_proj":
            parts = [weights[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            renamed[f"transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}"] = torch.cat(parts)
    return renamed | {"logit_scale": torch.tensor(4.6)}


def _wrapped(weights):
    # transformers 5 names the parts of CLIPTextModel without the prefix that all published files have.
    bare = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    return {name if name == "text_projection.weight" else f"text_model.{name}": bare[name] for name in bare}


def _renamed(name, names):
    for here, there in names.items():
        if name.startswith(f"{here}."):
            return there + name[len(here) :]
    raise KeyError(name)


def _prefixed(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _weights(folder):
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


# --- LoRA, embedding models ---


def small_lora(pipeline_folder, file, *, rank=2, seed=0):
    """Low-rank changes of the attention layers of a pipeline's network, in the format of diffusers and peft."""
    from diffusers import DiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(seed)
    file = Path(file)
    pipeline = DiffusionPipeline.from_pretrained(pipeline_folder, local_files_only=True)
    part = "unet" if hasattr(pipeline, "unet") else "transformer"
    network = getattr(pipeline, part)
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    network.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights=False, target_modules=targets))
    layers = {name: 1.5 * tensor for name, tensor in get_peft_model_state_dict(network).items()}
    pipeline.save_lora_weights(
        file.parent, **{f"{part}_lora_layers": layers}, weight_name=file.name, safe_serialization=True
    )
    return file


def small_open_clip_weights(file, *, seed=0):
    """Weights of a small CLIP as one file; returns the model's name, which ``open_clip`` knows from here on."""
    import open_clip

    settings = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 4, "heads": 2, "layers": 1},
    }
    config = Path(file).with_name(f"{OPEN_CLIP_MODEL}.json")
    config.write_text(json.dumps(settings), encoding="utf-8")
    open_clip.add_model_config(config)
    torch.manual_seed(seed)
    save_file(open_clip.create_model(OPEN_CLIP_MODEL).state_dict(), file)
    return OPEN_CLIP_MODEL


def small_timm_weights(file, *, seed=0):
    """Weights of the smallest vision transformer that ``timm`` has, as one file; returns the model's name."""
    import timm

    torch.manual_seed(seed)
    save_file(timm.create_model(TIMM_MODEL).state_dict(), file)
    return TIMM_MODEL
