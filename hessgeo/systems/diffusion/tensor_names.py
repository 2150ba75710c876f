"""Tensors that files of diffusion models hold by their names: what is read, what may lie unread, and what is refused.

A tensor that nothing reads may change every image: scales beside eight-bit weights, an adapter, a second network. So
every name is accounted for before anything runs.
"""

from __future__ import annotations

import json
import re
from math import prod

from hessgeo.weights.files import open_file
from hessgeo.weights.headers import Header, shown_name
from hessgeo.weights.tensor_kinds import ADAPTERS, EIGHT_BIT, EIGHT_BIT_ONLY, FLOATS, SCALE, check_tensor

NETWORK = "model.diffusion_model."
PREFIXES: dict[str, dict[str, tuple[str, ...]]] = {
    "stable-diffusion": {
        "unet": (NETWORK,),
        "vae": ("first_stage_model.",),
        "text_encoder": ("cond_stage_model.transformer.", "cond_stage_model.model."),
    },
    "stable-diffusion-xl": {
        "unet": (NETWORK,),
        "vae": ("first_stage_model.",),
        "text_encoder": ("conditioner.embedders.0.transformer.",),
        "text_encoder_2": ("conditioner.embedders.1.model.",),
    },
    "stable-diffusion-3": {
        "transformer": (NETWORK, ""),
        "vae": ("first_stage_model.",),
        "text_encoder": ("text_encoders.clip_l.transformer.",),
        "text_encoder_2": ("text_encoders.clip_g.transformer.",),
        "text_encoder_3": ("text_encoders.t5xxl.transformer.",),
    },
    "flux": {
        "transformer": (NETWORK, ""),
        "vae": ("first_stage_model.", "vae."),
        "text_encoder": ("text_encoders.clip_l.transformer.",),
        "text_encoder_2": ("text_encoders.t5xxl.transformer.",),
    },
}
"""Beginnings of the names of each part in a single file; the last of a transformer is none at all."""
LAYERS = {
    "unet": r"(time_embed|label_emb|input_blocks|middle_block|output_blocks|out)\..+\.(weight|bias)",
    "transformer": (
        r"((x_embedder|t_embedder|y_embedder|context_embedder|joint_blocks|img_in|txt_in|time_in|vector_in|guidance_in"
        r"|double_blocks|single_blocks|final_layer)\..+\.(weight|bias|scale)|(img_in|txt_in|context_embedder)\.(weight|bias)"
        r"|pos_embed)"
    ),
    "vae": r"((encoder|decoder)\..+\.|quant_conv\.|post_quant_conv\.)(weight|bias)",
    "text_encoder": (  # as transformers names them, as open_clip does, and T5
        r"text_model\..+\.(weight|bias)|text_projection(\.weight)?|positional_embedding|token_embedding\.weight"
        r"|ln_final\.(weight|bias)|transformer\.resblocks\..+[._](weight|bias)|(shared|encoder\..+)\.weight"
    ),
}
"""Patterns of the names within each part."""

# What lies in published files and changes no image.
HARMLESS = {
    r"model_ema\..+": "a running average of the network, which other programs leave unread too",
    r"(sqrt_|log_)?(one_minus_)?alphas_cumprod(_prev)?|betas|sqrt_recip(m1)?_alphas_cumprod|posterior_\w+"
    r"|denoiser\.sigmas": "the noise schedule, which a configuration says too (see check_agreement)",
    r"logvar|lvlb_weights|global_step": "weights of the loss and counters of the training",
    r"first_stage_model\.(loss|model_ema)\..+": "what the autoencoder was trained against, and its running average",
    r"(cond_stage_model|conditioner)\..*position_ids": "the numbers from 0 on",
    r"(cond_stage_model|conditioner)\.(.*\.)?(logit_scale|attn_mask)": "of the comparison with images; a causal mask",
    r"text_encoders\..*(logit_scale|position_ids)": "of the comparison with images, and the numbers from 0 on",
    r"text_encoders\.t5xxl\.spiece_model": "the tokenizer, which a folder of configurations has too",
    r"v_pred|ztsnr": "marks, which said_by_file reads",
}
"""Names that may lie unread in a single file, and why."""


def check_single_file(header: Header, family: str) -> None:
    """Refuse a single file that holds a tensor that would not be read, though it may matter, or cannot be.

    Raises:
        ValueError: one line that names the first of them.
    """
    scaled = scales(header)
    for name in header.tensors:
        if name in scaled or EIGHT_BIT_ONLY.fullmatch(name) or is_harmless(name):
            continue
        known = part_of(name, family) is not None and not ADAPTERS.search(name)
        check_tensor(header, name, known=known, types=FLOATS)


def is_harmless(name: str) -> bool:
    """Whether a tensor of a single file may lie unread, see ``HARMLESS``."""
    return any(re.fullmatch(pattern, name) for pattern in HARMLESS)


def scales(header: Header) -> dict[str, str]:
    """The scales beside eight-bit weights in a single file, with the weight that each belongs to.

    Raises:
        ValueError: one line, on one that is no single number beside weights in eight bits, and on eight bits of another
            format than a cast and a scale.
    """
    found = {}
    for name, entry in header.tensors.items():
        if not (match := SCALE.fullmatch(name)):
            continue
        weight = header.tensors.get(f"{match['layer']}.weight")
        if (
            weight is None
            or weight.dtype not in EIGHT_BIT
            or entry.dtype not in FLOATS[:4]
            or prod(entry.shape) != 1
        ):
            raise ValueError(
                f"{header.path} holds {shown_name(name)}, a scale that is not one number beside a weight of "
                f"eight bits, which nothing here reads"
            )
        found[name] = f"{match['layer']}.weight"
    _check_formats(header)
    return found


def _check_formats(header: Header) -> None:
    for name, entry in header.tensors.items():
        if name.endswith(".comfy_quant"):
            with open_file(header.path) as file:
                file.seek(entry.start)
                text = file.read(min(entry.stop - entry.start, 10_000))
            try:
                kind = json.loads(text).get("format")
            except (ValueError, AttributeError) as error:
                raise ValueError(f"{header.path} has a {shown_name(name)} that cannot be read") from error
            if kind not in ("float8_e4m3fn", "float8_e5m2"):
                raise ValueError(
                    f"{header.path} has {shown_name(name)} of format {shown_name(str(kind))}, not float8"
                )


def part_of(name: str, family: str) -> str | None:
    """The part of a model that a tensor of a single file belongs to; None if to none."""
    for part, prefixes in PREFIXES[family].items():
        pattern = LAYERS[part.rstrip("_23")]
        if any(name.startswith(begin) and re.fullmatch(pattern, name[len(begin) :]) for begin in prefixes):
            return part
    return None


# --- the files of a pipeline folder ---

PARAMETERS = re.compile(r"(.+\.)?(weight|bias|pos_embed|position_ids|logit_scale|scale)")


def check_part(header: Header) -> None:
    """Refuse a file of weights of a pipeline folder that holds what no network of diffusers or transformers reads.

    Raises:
        ValueError: one line that names the first such tensor.
    """
    for name, entry in header.tensors.items():
        # Places are whole numbers, of whatever type.
        types = (entry.dtype,) if name.endswith("position_ids") else FLOATS
        check_tensor(header, name, known=bool(PARAMETERS.fullmatch(name)), types=types)
