"""The networks of a diffusion checkpoint: each parameter is given by a file, and each tensor of a file is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from hessgeo.systems.diffusion.families import Checkpoint, part_folder
from hessgeo.systems.diffusion.folders import read_index
from hessgeo.systems.diffusion.tensor_names import NETWORK, PREFIXES, is_harmless, part_of, scales
from hessgeo.weights.files import read_json_object
from hessgeo.weights.read import tensor_header
from hessgeo.weights.tensor_kinds import EIGHT_BIT_ONLY
from hessgeo.weights.tracing import sources_of, traced

# The condition of Stable Diffusion 2 is the last layer but one, and no projection.
_SECOND_VERSION = r"cond_stage_model\.model\.(transformer\.resblocks\.{layers}\..+|text_projection)"
# A projection that a text encoder without one leaves.
_UNPROJECTED = (
    r"(cond_stage_model|conditioner\.embedders\.0|text_encoders\.clip_l)\.transformer\.text_projection\..+"
)


def load_file_parts(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype) -> dict[str, torch.nn.Module]:
    """The networks in a single file.

    Args:
        checkpoint: a checkpoint that is a single file.
        folder: the configurations of its parts.
        dtype: the precision to load them in.

    Raises:
        ValueError: one line that names a tensor that no network reads, or a parameter that the file does not give.
    """
    state, classes = _read(checkpoint.path), read_index(folder)[1]
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        part = part_of(name, checkpoint.family)
        if part is not None:
            found.setdefault(part, {})[name] = tensor
    parts = {}
    for part, tensors in found.items():
        if part not in classes:
            raise ValueError(f"{checkpoint.path} holds {next(iter(tensors))}, but {folder} has no {part}")
        network = _empty(classes[part], folder / part)
        left = "|".join((_UNPROJECTED, _SECOND_VERSION.replace("{layers}", str(_depth(network)))))
        if "text_projection.weight" not in dict(network.named_parameters()):
            tensors = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(left, name)}
        converted = _converted(
            checkpoint.family, part, network, tensors, read_json_object(folder / part / "config.json")
        )
        used = _fill(network, converted, dtype, f"{checkpoint.path} as {part}")
        for name in tensors:
            if name not in used:
                raise ValueError(f"{checkpoint.path} holds {name}, which its {part} has no place for")
        parts[part] = network
    return parts


def _read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a single file, weights in eight bits times their scales."""
    header = tensor_header(path)
    scaled = {weight: scale for scale, weight in scales(header).items()}
    state: dict[str, torch.Tensor] = {}
    with safe_open(path, framework="pt") as file:
        for name in header.tensors:
            if name in scaled.values() or is_harmless(name) or EIGHT_BIT_ONLY.fullmatch(name):
                continue
            tensor = file.get_tensor(name)
            if name in scaled:
                tensor = tensor.to(torch.float32) * file.get_tensor(scaled[name]).to(torch.float32).reshape(
                    ()
                )
            state[name] = traced(tensor, name)
    return state


def _empty(kind: str, folder: Path) -> Any:
    """A network of diffusers or transformers without memory for its parameters."""
    import diffusers
    import transformers
    from accelerate import init_empty_weights

    with init_empty_weights():
        if hasattr(diffusers, kind):
            return getattr(diffusers, kind).from_config(read_json_object(folder / "config.json"))
        network = getattr(transformers, kind)
        return network(network.config_class.from_pretrained(folder, local_files_only=True))


def _converted(
    family: str, part: str, network: Any, tensors: Mapping[str, torch.Tensor], config: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """Tensors of a single file by the names that diffusers and transformers give them."""
    from diffusers.loaders import single_file_utils as original

    state = dict(tensors)
    if part == "unet":
        return original.convert_ldm_unet_checkpoint(state, config)
    if part == "vae":
        return original.convert_ldm_vae_checkpoint(state, config)
    if part == "transformer":
        state = {name.removeprefix(NETWORK): tensor for name, tensor in state.items()}
        if family == "flux":
            return original.convert_flux_transformer_checkpoint_to_diffusers(state)
        return original.convert_sd3_transformer_checkpoint_to_diffusers(state)
    prefix = next(prefix for prefix in PREFIXES[family][part] if next(iter(state)).startswith(prefix))
    if prefix.endswith(".model."):
        result = original.convert_open_clip_checkpoint(network, state, prefix)
    else:
        result = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        expected = dict(network.named_parameters())
        if "text_projection.weight" in expected and "text_projection.weight" not in result:
            result["text_projection.weight"] = torch.eye(len(expected["text_projection.weight"]))
    # The class without a projection has lost this prefix in transformers 5.
    return (
        result
        if hasattr(network, "text_model")
        else {k.removeprefix("text_model."): result[k] for k in result}
    )


def _depth(network: Any) -> int:
    return getattr(network.config, "num_hidden_layers", -1)


def _fill(network: Any, state: Mapping[str, torch.Tensor], dtype: torch.dtype, place: str) -> set[str]:
    """Give a network its parameters, in place; the names of the tensors of the file that they come from."""
    exact = getattr(network, "_keep_in_fp32_modules", None) or ()
    exact = (exact,) if isinstance(exact, str) else tuple(exact)
    if dtype != torch.float16:
        exact = ()
    used, plain = set[str](), {}
    for name, tensor in state.items():
        used |= sources_of(tensor)
        kept = torch.float32 if any(part in name.split(".") for part in exact) else dtype
        plain[name] = tensor.as_subclass(torch.Tensor).to(kept)
    try:
        _, unexpected = network.load_state_dict(plain, strict=False, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{place} does not fit: {' '.join(str(error).split())[:300]}") from error
    if unexpected:
        found = min(sources_of(state[unexpected[0]]), default=unexpected[0])
        raise ValueError(f"{place} holds {found}, which the network has no place for")
    if hasattr(network, "tie_weights"):
        network.tie_weights()
    empty = [name for name, value in network.named_parameters() if value.is_meta]
    empty += [name for name, value in network.named_buffers() if value.is_meta]
    if empty:
        raise ValueError(f"{place} does not hold all weights: {empty[0]} is missing")
    return used


# --- the parts of a pipeline folder ---


def load_folder_part(checkpoint: Checkpoint, folder: Path, name: str, dtype: torch.dtype) -> torch.nn.Module:
    """One network of a pipeline folder.

    Args:
        checkpoint: the checkpoint, of whose files those of the part are read.
        folder: the pipeline folder.
        name: the part.
        dtype: the precision to load it in.

    Raises:
        ValueError: one line that names a tensor that the network has no place for, or a parameter that no file gives.
    """
    import diffusers
    import transformers

    kind = read_index(folder)[1][name]
    variant = checkpoint.variant
    if variant and not any(
        f".{variant}." in file.name for file in checkpoint.files if file.parent == part_folder(folder, name)
    ):
        variant = None
    library = diffusers if hasattr(diffusers, kind) else transformers
    network, report = getattr(library, kind).from_pretrained(
        part_folder(folder, name),
        variant=variant,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    if report.get("error_msgs"):
        raise ValueError(
            f"{part_folder(folder, name)} does not fit: {' '.join(map(str, report['error_msgs']))[:300]}"
        )
    for key, what in (
        ("missing_keys", "does not hold all weights of its network"),
        ("mismatched_keys", "holds weights of another shape"),
        ("unexpected_keys", "holds weights that nothing reads"),
    ):
        names = sorted(
            str(found) for found in report.get(key) or () if not str(found).endswith("position_ids")
        )
        if names:
            raise ValueError(f"{part_folder(folder, name)} {what}: {names[0]}")
    return network
