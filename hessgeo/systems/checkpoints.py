"""What a diffusion checkpoint in local files holds, from its configurations and headers alone.

Neither torch nor diffusers is imported: this runs whenever settings are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hessgeo.files import check_file, read_json
from hessgeo.systems.architectures import ARCHITECTURES
from hessgeo.weights import PICKLES, refuse_pickle, tensor_shapes

PIPELINES = {
    "DDIMPipeline": "unconditional",
    "DDPMPipeline": "unconditional",
    "PNDMPipeline": "unconditional",
    "StableDiffusionPipeline": "stable-diffusion",
    "StableDiffusionXLPipeline": "stable-diffusion-xl",
    "StableDiffusion3Pipeline": "stable-diffusion-3",
    "FluxPipeline": "flux",
}
"""Family of each supported class of ``diffusers``."""

# What denoises, its class, and how many latent pixels each of its patches is wide.
NETWORKS = {
    "unconditional": ("unet", "UNet2DModel", 1),
    "stable-diffusion": ("unet", "UNet2DConditionModel", 1),
    "stable-diffusion-xl": ("unet", "UNet2DConditionModel", 1),
    "stable-diffusion-3": ("transformer", "SD3Transformer2DModel", 2),
    "flux": ("transformer", "FluxTransformer2DModel", 2),
}
REQUIRED = {
    "unconditional": ("scheduler",),
    "stable-diffusion": ("scheduler", "vae", "text_encoder", "tokenizer"),
    "stable-diffusion-xl": ("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    "stable-diffusion-3": ("scheduler", "vae"),
    "flux": ("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
}
# Parts that a pipeline may name and that have no influence on an image made from a latent and a prompt.
IGNORED = ("safety_checker", "feature_extractor", "image_encoder")

# Schedulers that draw noise in every step are left out: an image must be a function of its latent, or of the noise
# that is drawn for this sample alone, as DDIM's is.
NOISE_SCHEDULERS = (
    "DDIMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
# With which a checkpoint may come besides: their schedules are read, whichever scheduler then follows them.
NOISE_SCHEDULES = (
    *NOISE_SCHEDULERS,
    "DDIMParallelScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DPMSolverSDEScheduler",
    "EulerAncestralDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LCMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
)
FLOW_SCHEDULERS = {
    "stable-diffusion-3": ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"),
    "flux": (
        "FlowMatchEulerDiscreteScheduler",
    ),  # whose time shift the pipeline sets, which Heun's cannot take
}


@dataclass(frozen=True)
class Checkpoint:
    """A diffusion model in local files.

    Attributes:
        path: its folder or file.
        family: ``unconditional``, ``stable-diffusion`` (1.x and 2.x), ``stable-diffusion-xl``,
            ``stable-diffusion-3`` or ``flux``.
        latent_shape: (channels, height, width) of a latent; of Flux before packing.
        image_shape: (height, width, channels) of an image.
        files: every file that is read to load it.
        config: folder of the configurations that a single file lacks, if one is given.
        flow: whether it is trained by flow matching, not to predict noise.
        architecture: one of ``ARCHITECTURES`` for a single file without ``config``.
        variant: the variant of the weights in a folder, such as ``fp16``, where there are no others.
    """

    path: Path
    family: str
    latent_shape: tuple[int, int, int]
    image_shape: tuple[int, int, int]
    files: tuple[Path, ...]
    config: Path | None = None
    flow: bool = False
    architecture: str | None = None
    variant: str | None = None

    @property
    def network(self) -> str:
        """Name of the part that denoises, ``unet`` or ``transformer``."""
        return NETWORKS[self.family][0]


def scheduler_names(family: str) -> tuple[str, ...]:
    """Names of the scheduler classes of ``diffusers`` that a family can follow.

    Raises:
        ValueError: on an unknown family.
    """
    if family not in NETWORKS:
        raise ValueError(f"family is {family!r}, must be one of {', '.join(NETWORKS)}")
    return FLOW_SCHEDULERS.get(family, NOISE_SCHEDULERS)


def describe_checkpoint(
    path: str | Path, *, config: str | Path | None = None, size: tuple[int, int] | None = None
) -> Checkpoint:
    """Describe a diffusion model in local files, without reading its weights.

    Args:
        path: a pipeline folder of ``diffusers``, or a checkpoint in one safetensors file in the original layout.
        config: for a single file, the folder of configurations and tokenizers; a single Stable Diffusion 3 or
            Flux file replaces the transformer of the whole pipeline in that folder.
        size: (height, width) of the images in pixels; the size that the model was trained at if None.

    Raises:
        ValueError: one line that names the path and says what is wrong with it and what would be allowed.
    """
    path = Path(path)
    if path.is_dir():
        if config is not None:
            raise ValueError(
                f"config is {config}, must be null: {path} is a folder with its own configuration"
            )
        return _describe_folder(path, size)
    check_file(path, "a pipeline folder of diffusers or a .safetensors file")
    return _describe_file(path, None if config is None else Path(config), size)


# --- a pipeline folder ---


def _describe_folder(folder: Path, size: tuple[int, int] | None) -> Checkpoint:
    family, index = _read_index(folder)
    configs = _read_configs(folder, family, index)
    latent, image = _shapes(folder, family, configs, size)
    texts = _text_files(folder, index)
    variant, weights = _find_weights(folder, _parts_with_weights(index))
    files = (*texts, *weights)
    return Checkpoint(folder, family, latent, image, files, flow=family in FLOW_SCHEDULERS, variant=variant)


def _read_index(folder: Path) -> tuple[str, dict[str, str]]:
    if not (folder / "model_index.json").is_file():
        raise ValueError(f"{folder} has no model_index.json, must be a pipeline folder of diffusers")
    index = read_json(folder / "model_index.json")
    kind = index.get("_class_name")
    if kind not in PIPELINES:
        raise ValueError(f"{folder} is a {kind}, must be one of {', '.join(PIPELINES)}")
    family = PIPELINES[kind]
    parts = {
        name: entry[1]
        for name, entry in index.items()
        if isinstance(entry, list) and len(entry) == 2 and entry[1] and name not in IGNORED
    }
    missing = [name for name in (NETWORKS[family][0], *REQUIRED[family]) if name not in parts]
    if missing:
        raise ValueError(
            f"{folder} has no {', '.join(missing)} in its model_index.json, which a {kind} needs"
        )
    if family == "unconditional" and set(parts) != {"unet", "scheduler"}:
        raise ValueError(f"{folder} has the parts {', '.join(sorted(parts))}, must be a scheduler and a unet")
    return family, parts


def _read_configs(folder: Path, family: str, index: Mapping[str, str]) -> dict[str, dict]:
    part, kind, _ = NETWORKS[family]
    kinds = {part: kind, "vae": "AutoencoderKL"} if "vae" in index else {part: kind}
    configs = {name: read_json(folder / name / "config.json") for name in kinds}
    for name, expected in kinds.items():
        found = configs[name].get("_class_name")
        if found != expected:
            raise ValueError(f"{folder / name} is a {found}, must be a {expected}")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json").get("_class_name")
    allowed = FLOW_SCHEDULERS.get(family, NOISE_SCHEDULES)
    if scheduler not in allowed:
        raise ValueError(f"{folder / 'scheduler'} is a {scheduler}, must be one of {', '.join(allowed)}")
    return configs


def _text_files(folder: Path, index: Mapping[str, str]) -> list[Path]:
    kept = (".json", ".txt", ".model")
    files = [folder / "model_index.json"]
    for name in index:
        if not (folder / name).is_dir():
            raise ValueError(f"{folder} has no folder {name}, which its model_index.json names")
        found = sorted(path for path in (folder / name).iterdir() if path.suffix in kept)
        if not found:
            raise ValueError(f"{folder / name} has no configuration")
        files += [path for path in found if ".index." not in path.name]
    return files


def _parts_with_weights(index: Mapping[str, str]) -> dict[str, str]:
    # diffusers and transformers name their files of weights differently.
    return {
        name: "model" if name.startswith("text_encoder") else "diffusion_pytorch_model"
        for name in index
        if not name.startswith(("scheduler", "tokenizer"))
    }


def _find_weights(folder: Path, parts: Mapping[str, str]) -> tuple[str | None, list[Path]]:
    """The variant to ask for, and the files of weights of each part."""
    plain = {name: _weight_files(folder / name, stem, None) for name, stem in parts.items()}
    lacking = [name for name, files in plain.items() if not files]
    if not lacking:
        return None, [file for files in plain.values() for file in files]
    # Half precision first: where a folder has only variants, that is the one that others are made from.
    for variant in sorted(_variants(folder / lacking[0], parts[lacking[0]]), key=lambda name: name != "fp16"):
        chosen = {
            name: _weight_files(folder / name, stem, variant) or plain[name] for name, stem in parts.items()
        }
        if all(chosen.values()):
            return variant, [file for files in chosen.values() for file in files]
    for name in lacking:
        for file in sorted((folder / name).iterdir()):
            if file.suffix in PICKLES:
                refuse_pickle(file)
    expected = " or ".join(f"{parts[name]}.safetensors in {folder / name}" for name in lacking[:1])
    raise ValueError(f"{folder} has no weights of {', '.join(lacking)}: there is no {expected}")


def _weight_files(folder: Path, stem: str, variant: str | None) -> list[Path]:
    """The files of weights of a part: one file, or an index and its shards; empty if there are none."""
    single = folder / f"{stem}{f'.{variant}' if variant else ''}.safetensors"
    if single.is_file():
        return [single]
    index = folder / f"{stem}.safetensors.index{f'.{variant}' if variant else ''}.json"
    if not index.is_file():
        return []
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise ValueError(f"{index} has no weight_map, must be the index of sharded safetensors")
    shards = [folder / name for name in sorted(set(weight_map.values()))]
    for shard in shards:
        if not shard.is_file():
            raise ValueError(f"{shard} is missing, which {index.name} names")
    return [index, *shards]


def _variants(folder: Path, stem: str) -> set[str]:
    patterns = (rf"{stem}\.([^.-]+)\.safetensors", rf"{stem}\.safetensors\.index\.([^.]+)\.json")
    names = [path.name for path in folder.iterdir()]
    return {match[1] for name in names for pattern in patterns if (match := re.fullmatch(pattern, name))}


# --- shapes ---


def _shapes(
    path: Path, family: str, configs: Mapping[str, dict], size: tuple[int, int] | None
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    part, _, patch = NETWORKS[family]
    network, vae = configs[part], configs.get("vae")
    try:
        if vae is None:
            _check_unconditional(path, network)
            channels, scale, step = network["in_channels"], 1, 2 ** (len(network["block_out_channels"]) - 1)
        else:
            channels, scale = vae["latent_channels"], 2 ** (len(vae["block_out_channels"]) - 1)
            step = patch * scale
            _check_channels(path, family, network, channels)
        default = network.get("sample_size") if family != "flux" else None
        if default is None and vae is not None:
            default = _scaled(vae.get("sample_size"), 1 / scale)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} has a configuration that lacks {error}") from error
    if size is None and default is None:
        raise ValueError(f"{path} has no sample_size in its configuration; give the size of the images")
    height, width = _scaled(default, scale) if size is None else size
    if height < step or width < step or height % step or width % step:
        raise ValueError(f"size is [{height}, {width}], must be multiples of {step} for {path}")
    largest = network.get("pos_embed_max_size") if family == "stable-diffusion-3" else None
    if largest and max(height, width) > largest * step:
        raise ValueError(f"size is [{height}, {width}], must be at most {largest * step} for {path}")
    latent = (channels, height // scale, width // scale)
    return latent, (height, width, channels if vae is None else vae.get("out_channels", 3))


def _scaled(size: int | list[int] | None, factor: float) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return int(height * factor), int(width * factor)


def _check_unconditional(path: Path, network: Mapping[str, Any]) -> None:
    if network.get("num_class_embeds") or network.get("class_embed_type"):
        raise ValueError(f"{path} is conditional on a class, must be unconditional")
    if network["in_channels"] != network["out_channels"]:
        raise ValueError(f"{path} predicts a variance too, which no sampler here uses")


def _check_channels(path: Path, family: str, network: Mapping[str, Any], latent: int) -> None:
    # Flux packs patches of 2 x 2 latent pixels into channels.
    found, expected = network["in_channels"], 4 * latent if family == "flux" else latent
    if found != expected:
        kind = "an inpainting model" if found == 2 * latent + 1 else "a model conditional on an image"
        raise ValueError(f"{path} is {kind} ({found} input channels), must be text to image ({expected})")


# --- a single file in the original layout ---

UNET_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
TEXT_ENCODERS = {
    "stable-diffusion": (
        "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
        "cond_stage_model.model.token_embedding.weight",
    ),
    "stable-diffusion-xl": ("conditioner.embedders.1.model.positional_embedding",),
}


def _describe_file(path: Path, config: Path | None, size: tuple[int, int] | None) -> Checkpoint:
    refuse_pickle(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} must be a pipeline folder of diffusers or a .safetensors file")
    shapes = tensor_shapes(path)
    family = _family_of(path, shapes)
    flow = family in FLOW_SCHEDULERS
    if flow and config is None:
        raise ValueError(
            f"{path} is a {family} transformer, whose tokenizers and text encoders are in no single file: give the "
            f"pipeline folder as checkpoint, or as config beside this file"
        )
    if not flow:
        _check_parts(path, family, shapes)
    if config is None:
        architecture = _architecture_of(path, family, shapes)
        if (
            "v_pred" in shapes
            and ARCHITECTURES[architecture]["scheduler"]["prediction_type"] != "v_prediction"
        ):
            raise ValueError(
                f"{path} predicts velocity, not noise as {architecture}: give a folder as config whose scheduler has "
                f"prediction_type v_prediction (`python -m hessgeo.systems.architectures {architecture} FOLDER`)"
            )
        latent, image = _shapes(path, family, ARCHITECTURES[architecture], size)
        return Checkpoint(path, family, latent, image, (path,), architecture=architecture)
    found, index = _read_index(config)
    if found != family:
        raise ValueError(f"config {config} is of the family {found}, must be {family} as {path}")
    latent, image = _shapes(config, family, _read_configs(config, family, index), size)
    files, variant = [path, *_text_files(config, index)], None
    if flow:
        others = {name: stem for name, stem in _parts_with_weights(index).items() if name != "transformer"}
        variant, weights = _find_weights(config, others)
        files += weights
    return Checkpoint(path, family, latent, image, tuple(files), config, flow, variant=variant)


def _family_of(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    marks = {
        "joint_blocks.": "stable-diffusion-3",
        "double_blocks.": "flux",
        "conditioner.embedders.1.": "stable-diffusion-xl",
        "cond_stage_model.": "stable-diffusion",
    }
    if any("lora" in name.lower() for name in shapes):
        raise ValueError(f"{path} is a LoRA, which goes with a checkpoint and not in its place")
    for mark, family in marks.items():
        if any(name.removeprefix("model.diffusion_model.").startswith(mark) for name in shapes):
            return family
    known = "Stable Diffusion 1, 2, XL or 3 or Flux in the original layout"
    if UNET_INPUT in shapes:
        raise ValueError(f"{path} has a network without its text encoders, must be {known}")
    raise ValueError(f"{path} has tensors of another model, must be {known}")


def _check_parts(path: Path, family: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    parts = {
        "network (model.diffusion_model)": (UNET_INPUT,),
        "autoencoder (first_stage_model)": ("first_stage_model.decoder.conv_in.weight",),
        "text encoder that diffusers can read": TEXT_ENCODERS[family],
    }
    for part, names in parts.items():
        if not any(name in shapes for name in names):
            raise ValueError(f"{path} has no {part}, must be a complete checkpoint")
    latent = shapes["first_stage_model.decoder.conv_in.weight"][1]
    _check_channels(path, family, {"in_channels": shapes[UNET_INPUT][1]}, latent)


def _architecture_of(path: Path, family: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    if family == "stable-diffusion-xl":
        found = "stable-diffusion-xl"
    elif TEXT_ENCODERS[family][0] in shapes:
        found = "stable-diffusion-1"
    else:
        found = _second_version(path)
    unet = ARCHITECTURES[found]["unet"]
    name = next((name for name in shapes if name.endswith("attn2.to_k.weight")), None)
    width = shapes[name][1] if name else None
    if width != unet["cross_attention_dim"] or shapes[UNET_INPUT][0] != unet["block_out_channels"][0]:
        raise ValueError(
            f"{path} has cross-attention of width {width}, not {unet['cross_attention_dim']} as {found}: give the "
            f"folder of its configuration as config"
        )
    return found


def _second_version(path: Path) -> str:
    # Both kinds of Stable Diffusion 2 have the same tensors; which quantity they predict stands nowhere in the file.
    name = path.stem.lower()
    is_base, is_large = "base" in name or "512" in name, "768" in name
    if is_base == is_large:
        raise ValueError(
            f"{path} is a Stable Diffusion 2 that predicts either noise (512 pixels) or velocity (768 pixels), which "
            f"its name must say (512, base or 768), or config: `python -m hessgeo.systems.architectures "
            f"stable-diffusion-2 FOLDER` (or stable-diffusion-2-base) writes one"
        )
    return "stable-diffusion-2-base" if is_base else "stable-diffusion-2"
