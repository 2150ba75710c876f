"""A diffusion checkpoint as a pipeline folder of ``diffusers``: its parts, their files and the shapes of its images."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hessgeo.systems.diffusion.families import (
    FLOW_SCHEDULERS,
    IGNORED,
    NETWORKS,
    NOISE_SCHEDULES,
    OPTIONAL,
    PIPELINES,
    REQUIRED,
    TEXT_ENCODERS,
    Checkpoint,
    part_folder,
)
from hessgeo.systems.diffusion.tensor_names import check_part
from hessgeo.weights.files import read_json_object
from hessgeo.weights.headers import shown_name
from hessgeo.weights.read import PICKLES, refuse_pickle, tensor_header

LENGTHS = {
    "sample_size": (2,),
    "block_out_channels": range(1, 16),
}  # of lists of sizes; others are one number


def describe_folder(folder: Path, size: tuple[int, int] | None) -> Checkpoint:
    """Describe a pipeline folder, see ``describe_checkpoint``."""
    family, index = read_index(folder)
    configs = read_configs(folder, family, index)
    latent, image = image_shapes(folder, family, configs, size)
    texts = text_files(folder, index)
    variant, weights = find_weights(folder, parts_with_weights(index))
    for file in weights:
        if file.suffix == ".safetensors":
            check_part(tensor_header(file))
    files = (*texts, *weights)
    return Checkpoint(folder, family, latent, image, files, flow=family in FLOW_SCHEDULERS, variant=variant)


def read_index(folder: Path) -> tuple[str, dict[str, str]]:
    """Family of a pipeline folder, and the class of each part that its ``model_index.json`` names."""
    if is_bare(folder):
        return "unconditional", {"unet": "UNet2DModel", "scheduler": "DDPMScheduler"}
    if not (folder / "model_index.json").is_file():
        raise ValueError(f"{folder} has no model_index.json, must be a pipeline folder of diffusers")
    index = read_json_object(folder / "model_index.json")
    kind = index.get("_class_name")
    if not isinstance(kind, str) or kind not in PIPELINES:
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
    known = (*REQUIRED[family], NETWORKS[family][0], "vae", *OPTIONAL.get(family, ()))
    for name, part in parts.items():
        if family != "unconditional" and name not in known:
            raise ValueError(f"{folder} has a part {shown_name(name)}, which no {kind} here has")
        if name.startswith("text_encoder") and part not in TEXT_ENCODERS:
            raise ValueError(f"{folder} has a {part} as {name}, must be one of {', '.join(TEXT_ENCODERS)}")
    if family == "unconditional" and set(parts) != {"unet", "scheduler"}:
        raise ValueError(f"{folder} has the parts {', '.join(sorted(parts))}, must be a scheduler and a unet")
    return family, parts


def is_bare(folder: Path) -> bool:
    """Whether a folder holds an unconditional network and its scheduler alone, without the index of a pipeline."""
    if any((folder / name).exists() for name in ("model_index.json", "unet")):
        return False
    files = [folder / name for name in ("config.json", "scheduler_config.json")]
    return (
        all(file.is_file() for file in files)
        and read_json_object(files[0]).get("_class_name") == "UNet2DModel"
    )


def read_configs(folder: Path, family: str, index: Mapping[str, str]) -> dict[str, dict]:
    """Configurations of the network and the autoencoder of a pipeline folder."""
    part, kind, _ = NETWORKS[family]
    kinds = {part: kind, "vae": "AutoencoderKL"} if "vae" in index else {part: kind}
    configs = {name: read_json_object(part_folder(folder, name) / "config.json") for name in kinds}
    for name, expected in kinds.items():
        found = configs[name].get("_class_name")
        if found != expected:
            raise ValueError(f"{part_folder(folder, name)} is a {found}, must be a {expected}")
    for name in parts_with_weights(index):
        config = (
            configs[name] if name in configs else read_json_object(part_folder(folder, name) / "config.json")
        )
        if config.get("quantization_config"):
            raise ValueError(
                f"{folder / name} has a quantization_config, must be of weights as they were trained"
            )
    place = part_folder(folder, "scheduler")
    scheduler = read_json_object(place / "scheduler_config.json").get("_class_name")
    allowed = FLOW_SCHEDULERS.get(family, NOISE_SCHEDULES)
    if scheduler not in allowed:
        raise ValueError(f"{place} is a {scheduler}, must be one of {', '.join(allowed)}")
    return configs


def text_files(folder: Path, index: Mapping[str, str]) -> list[Path]:
    """The files of a pipeline folder that are no weights."""
    kept = (".json", ".txt", ".model")
    files = [] if is_bare(folder) else [folder / "model_index.json"]
    for name in index:
        if part_folder(folder, name) == folder:
            files.append(folder / ("scheduler_config.json" if name == "scheduler" else "config.json"))
            continue
        if not (folder / name).is_dir():
            raise ValueError(f"{folder} has no folder {name}, which its model_index.json names")
        found = sorted(path for path in (folder / name).iterdir() if path.suffix in kept)
        if not found:
            raise ValueError(f"{folder / name} has no configuration")
        for path in found:
            if path.name.startswith("adapter_"):  # which transformers would follow to another model
                raise ValueError(f"{path} belongs to an adapter, which nothing here reads: give it as a LoRA")
        words = {path.name for path in found} & {"tokenizer.json", "vocab.json", "spiece.model"}
        if name.startswith("tokenizer") and not words:
            raise ValueError(f"{folder / name} has no words: no tokenizer.json, vocab.json or spiece.model")
        files += [path for path in found if ".index." not in path.name]
    return files


def parts_with_weights(index: Mapping[str, str]) -> dict[str, str]:
    """The beginning of the name of its files of weights, of each part that has some."""
    # diffusers and transformers name their files of weights differently.
    return {
        name: "model" if name.startswith("text_encoder") else "diffusion_pytorch_model"
        for name in index
        if not name.startswith(("scheduler", "tokenizer"))
    }


def find_weights(folder: Path, parts: Mapping[str, str]) -> tuple[str | None, list[Path]]:
    """The variant to ask for, and the files of weights of each part."""
    plain = {name: _weight_files(part_folder(folder, name), stem, None) for name, stem in parts.items()}
    lacking = [name for name, files in plain.items() if not files]
    if not lacking:
        return None, [file for files in plain.values() for file in files]
    # Half precision first: where a folder has only variants, that is the one that others are made from.
    for variant in sorted(
        _variants(part_folder(folder, lacking[0]), parts[lacking[0]]), key=lambda name: name != "fp16"
    ):
        chosen = {
            name: _weight_files(part_folder(folder, name), stem, variant) or plain[name]
            for name, stem in parts.items()
        }
        if all(chosen.values()):
            return variant, [file for files in chosen.values() for file in files]
    for name in lacking:
        for file in sorted(part_folder(folder, name).iterdir()):
            if file.suffix in PICKLES:
                refuse_pickle(file)
    expected = " or ".join(
        f"{parts[name]}.safetensors in {part_folder(folder, name)}" for name in lacking[:1]
    )
    raise ValueError(f"{folder} has no weights of {', '.join(lacking)}: there is no {expected}")


def _weight_files(folder: Path, stem: str, variant: str | None) -> list[Path]:
    """The files of weights of a part: one file, or an index and its shards; empty if there are none."""
    single = folder / f"{stem}{f'.{variant}' if variant else ''}.safetensors"
    index = folder / f"{stem}.safetensors.index{f'.{variant}' if variant else ''}.json"
    if single.is_file():
        if index.is_file():  # libraries differ in which of them they read
            raise ValueError(f"{folder} holds both {single.name} and {index.name}, must hold one of them")
        return [single]
    if not index.is_file():
        return []
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise ValueError(f"{index} has no weight_map, must be the index of sharded safetensors")
    if not all(isinstance(name, str) and Path(name).name == name for name in weight_map.values()):
        raise ValueError(f"{index} names files elsewhere in its weight_map, must be names in the same folder")
    shards = [folder / name for name in sorted(set(weight_map.values()))]
    for shard in shards:
        if not shard.is_file():
            raise ValueError(f"{shard} is missing, which {index.name} names")
    return [index, *shards]


def _variants(folder: Path, stem: str) -> set[str]:
    patterns = (rf"{stem}\.([^.-]+)\.safetensors", rf"{stem}\.safetensors\.index\.([^.]+)\.json")
    names = [path.name for path in folder.iterdir()]
    return {match[1] for name in names for pattern in patterns if (match := re.fullmatch(pattern, name))}


def image_shapes(
    path: Path, family: str, configs: Mapping[str, dict], size: tuple[int, int] | None
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Shape (channels, height, width) of a latent and (height, width, channels) of an image."""
    part, _, patch = NETWORKS[family]
    network, vae = configs[part], configs.get("vae")
    _check_numbers(path, network, vae or {})
    _check_units(path, vae or {})
    try:
        if vae is None:
            _check_unconditional(path, network)
            channels, scale, step = network["in_channels"], 1, 2 ** (len(network["block_out_channels"]) - 1)
        else:
            channels, scale = vae["latent_channels"], 2 ** (len(vae["block_out_channels"]) - 1)
            step = patch * scale
            check_channels(path, family, network, channels)
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
    return latent, (height, width, channels if vae is None else vae.get("out_channels") or 3)


def _check_numbers(path: Path, *configs: Mapping[str, Any]) -> None:
    """Refuse sizes that are no whole numbers, as settings that are read from elsewhere may be."""
    for config in configs:
        for key in ("in_channels", "out_channels", "latent_channels", "sample_size", "block_out_channels"):
            value = config.get(key)
            numbers = value if isinstance(value, list) else [value]
            ok = all(type(number) is int and 0 < number < 2**24 for number in numbers)
            fits = not isinstance(value, list) or len(numbers) in LENGTHS.get(key, ())
            if value is not None and not (ok and fits):
                raise ValueError(
                    f"{path} has {key} {shown_name(str(value))}, must be whole numbers from 1 on"
                )


def _check_units(path: Path, vae: Mapping[str, Any]) -> None:
    """Refuse latents whose mean is no number, or whose scale is none above 0."""
    channels = vae.get("latent_channels")
    for key, least, count in (
        ("scaling_factor", 0.0, None),
        ("shift_factor", -math.inf, None),
        ("latents_mean", -math.inf, channels),
        ("latents_std", 0.0, channels),
    ):
        value = vae.get(key)
        if value is None and not (key == "scaling_factor" and key in vae):
            continue
        numbers: list[Any] = value if count and isinstance(value, list) else [value]
        ok = all(type(number) in (int, float) and least < number < math.inf for number in numbers)
        if not (ok and len(numbers) == (count or 1)):
            must = f"{count or 1} finite {'numbers' if count else 'number'}{' above 0' if least == 0 else ''}"
            raise ValueError(f"{path} has {key} {shown_name(str(value))}, must be {must}")


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


def check_channels(path: Path, family: str, network: Mapping[str, Any], latent: int) -> None:
    """Refuse a network that is conditional on more than a text."""
    # Flux packs patches of 2 x 2 latent pixels into channels.
    out = network.get("out_channels")
    if family not in ("flux", "stable-diffusion-3") and out not in (None, latent):
        raise ValueError(f"{path} predicts {out} channels, must be those of its latents ({latent})")
    found, expected = network["in_channels"], 4 * latent if family == "flux" else latent
    if found != expected:
        kind = "an inpainting model" if found == 2 * latent + 1 else "a model conditional on an image"
        raise ValueError(f"{path} is {kind} ({found} input channels), must be text to image ({expected})")
