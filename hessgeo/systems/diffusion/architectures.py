"""Architectures of the Stable Diffusion checkpoints that come as one file without their configuration.

``python -m hessgeo.systems.diffusion.architectures NAME FOLDER`` writes one as a folder that can be edited and given as
``config``. The numbers are those of the published models (Rombach et al. 2022, Podell et al. 2024).
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"

UNET = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
UNET_1 = UNET | {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
UNET_2 = UNET | {
    "sample_size": 64,
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
}
UNET_XL = UNET | {
    "sample_size": 128,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
AUTOENCODER = {
    "_class_name": "AutoencoderKL",
    "sample_size": 512,
    "latent_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "scaling_factor": 0.18215,
}
TEXT_L = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    # The published files say 2 for the end, which makes transformers look for the largest number instead.
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
TEXT_H = TEXT_L | {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "projection_dim": 512,
    "num_hidden_layers": 23,  # the last but one of 24 is the condition
    "num_attention_heads": 16,
    "hidden_act": "gelu",
}
TEXT_G = TEXT_L | {
    "architectures": ["CLIPTextModelWithProjection"],
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "projection_dim": 1280,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
}
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "prediction_type": "epsilon",
}
CLIP_L: dict[str, dict] = {"text_encoder": TEXT_L, "tokenizer": {"padding": END}}
CLIP_H: dict[str, dict] = {"text_encoder": TEXT_H, "tokenizer": {"padding": "!"}}
CLIP_G: dict[str, dict] = {"text_encoder_2": TEXT_G, "tokenizer_2": {"padding": "!"}}

ARCHITECTURES: dict[str, dict[str, dict]] = {
    "stable-diffusion-1": {"unet": UNET_1, "vae": AUTOENCODER, "scheduler": SCHEDULER, **CLIP_L},
    "stable-diffusion-2-base": {"unet": UNET_2, "vae": AUTOENCODER, "scheduler": SCHEDULER, **CLIP_H},
    "stable-diffusion-2": {
        "unet": UNET_2 | {"sample_size": 96, "upcast_attention": True},
        "vae": AUTOENCODER | {"sample_size": 768},
        "scheduler": SCHEDULER | {"prediction_type": "v_prediction"},
        **CLIP_H,
    },
    "stable-diffusion-xl": {
        "unet": UNET_XL,
        "vae": AUTOENCODER | {"sample_size": 1024, "scaling_factor": 0.13025},
        "scheduler": SCHEDULER,
        **CLIP_L,
        **CLIP_G,
    },
}
"""Parts of each architecture by name, as ``diffusers`` and ``transformers`` configure them."""


def write_configuration(name: str, folder: str | Path) -> Path:
    """Write configurations and tokenizers of an architecture as a ``diffusers`` folder without weights.

    Args:
        name: one of ``ARCHITECTURES``.
        folder: where; made if it does not exist.

    Returns:
        The folder.

    Raises:
        ValueError: on an unknown name.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture is {name!r}, must be one of {', '.join(ARCHITECTURES)}")
    folder, parts = Path(folder), ARCHITECTURES[name]
    pipeline = "StableDiffusionXLPipeline" if "text_encoder_2" in parts else "StableDiffusionPipeline"
    index: dict = {"_class_name": pipeline}
    if "text_encoder_2" not in parts:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        index |= {"requires_safety_checker": False}
    for part, settings in parts.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        if part.startswith("tokenizer"):
            write_clip_tokenizer(folder / part, **settings)
            index[part] = ["transformers", "CLIPTokenizer"]
        elif part.startswith("text_encoder"):
            _write_json(folder / part / "config.json", settings)
            index[part] = ["transformers", settings["architectures"][0]]
        else:
            file = "scheduler_config.json" if part == "scheduler" else "config.json"
            _write_json(folder / part / file, settings)
            index[part] = ["diffusers", settings["_class_name"]]
    _write_json(folder / "model_index.json", index)
    return folder


def clip_vocabulary(merges: int | None = None) -> tuple[dict[str, int], list[str]]:
    """Tokens with their numbers, and merges, of CLIP's byte-pair encoding as ``open_clip`` ships it.

    Args:
        merges: how many of the 48894 merges to keep, from the most frequent on; all if None.

    Raises:
        ValueError: if ``open_clip`` is not installed.
    """
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise ValueError("open_clip is not installed, which holds the vocabulary of CLIP's tokenizer")
    with gzip.open(Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        # The first line is a title; CLIP uses as many merges as make 49152 tokens with 512 bytes and 256 spare.
        rules = file.read().splitlines()[1 : 49152 - 256 - 2 + 1][:merges]
    symbols = _byte_symbols()
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *(rule.replace(" ", "") for rule in rules)]
    return {token: number for number, token in enumerate([*tokens, START, END])}, rules


def write_clip_tokenizer(folder: Path, *, padding: str = END, merges: int | None = None) -> None:
    """Write CLIP's tokenizer to a folder, as ``transformers`` reads it.

    Args:
        folder: where; made if it does not exist.
        padding: the token that fills a prompt up to 77 tokens.
        merges: see ``clip_vocabulary``.
    """
    vocabulary, rules = clip_vocabulary(merges)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *rules, ""]), encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": padding}
    _write_json(folder / "special_tokens_map.json", special)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    _write_json(folder / "tokenizer_config.json", settings | special)


def _byte_symbols() -> list[str]:
    # A printable character for each byte: itself where it is printable in Latin-1, else one from U+0100 on.
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + k) for k in range(others)]


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m hessgeo.systems.diffusion.architectures NAME FOLDER``."""
    parser = argparse.ArgumentParser(
        prog="python -m hessgeo.systems.diffusion.architectures", description=write_configuration.__doc__
    )
    parser.add_argument("name", choices=ARCHITECTURES, metavar="NAME", help=", ".join(ARCHITECTURES))
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    write_configuration(options.name, options.folder)


if __name__ == "__main__":
    main()
