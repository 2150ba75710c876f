"""Weights in pickles and TorchScript archives made safetensors, without running any code in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hessgeo.weights.files import check_file
from hessgeo.weights.torch_files import is_torchscript, named_tensors, read_torch_file

if TYPE_CHECKING:
    from torch import Tensor

# Of several copies of a network an averaged one is what images are made with; then what most programs call theirs.
AVERAGED = "ema"
USUAL = (
    "state_dict", "model_state_dict", "params", "model", "net", "network", "generator", "netG_state_dict", "netG",
    "G", "g", "weights", "module",
)  # fmt: skip
# Tensors as well, of no network.
OTHERS = ("optim", "opt", "sched", "scaler", "lr_")
# Numbers that OpenAI keeps beside the weights of a CLIP, and that its own loader drops.
NUMBERS = ("input_resolution", "context_length", "vocab_size")


def convert_pickle(source: str | Path, target: str | Path, *, key: str | None = None) -> str:
    """Convert a pickle of tensors, or a TorchScript archive, to safetensors; code in it is not run.

    Training programs wrap weights in mappings, and keep several networks in one file. At each level these are taken:
    the tensors that lie there, unless mappings beside them hold as many; else the mapping whose name says that it is
    averaged (``ema``: ``params_ema``, ``g_ema``); else the first that is called by a usual name (``state_dict``,
    ``params``, ``model``, ``netG_state_dict``, ..); else the only one. ``key`` says it in their place. What is not a
    tensor is left out, and tensors that share memory are written one by one. A bare tensor is called ``tensor``. Of a
    TorchScript archive all tensors are taken that its modules hold, under their names.

    Args:
        source: the pickle, as ``torch.save`` writes it, or the archive, as ``torch.jit.save`` does.
        target: the safetensors file to write.
        key: way to the weights, such as ``generator.params``, joined by dots.

    Returns:
        What was taken, and what other weights there are; one line.

    Raises:
        ValueError: one line, if the source is missing, needs code to be read or holds no tensors, or several sets of
            them of which none is usual; or the target exists, does not end in ``.safetensors`` or cannot be written.
    """
    # Imported here: shapes are read from headers wherever settings are read, which need not wait for torch.
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    source, target = check_file(source, "a pickle of weights"), Path(target)
    if target.suffix != ".safetensors" or target.exists():
        raise ValueError(f"cannot write {target}: it must end in .safetensors and not exist yet")
    tensors, taken = _script_tensors(source) if is_torchscript(source) else _pickled_tensors(source, key)
    unfinished = target.with_name(f"{target.name}.unfinished")
    separate = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(separate, unfinished, metadata={"format": "pt"})
        os.replace(unfinished, target)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"cannot write {target}: {error}") from error
    return f"{target} holds {len(tensors)} tensors, {taken}"


def _script_tensors(source: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a TorchScript archive, whose code is not even looked at."""
    import torch

    tensors = {}
    for name, found in named_tensors(read_torch_file(source)).items():
        if name not in NUMBERS:
            # The numbers of bfloat16 come as float32, from which they go back as they were.
            tensors[name] = torch.from_numpy(found.read()).to(getattr(torch, found.dtype))
    if not tensors:
        raise ValueError(f"{source} is a TorchScript archive without tensors")
    return tensors, f"those of the modules of a TorchScript archive, {source}"


def _pickled_tensors(source: Path, key: str | None) -> tuple[dict[str, Tensor], str]:
    import pickle

    import torch

    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise ValueError(
            f"{source} cannot be read without running code, or is no pickle: {reason}"
        ) from error
    if isinstance(content, torch.Tensor):
        return {"tensor": content}, f"the only one of {source}"
    way, others = [] if key is None else key.split("."), []
    for name in way:
        content = content.get(name) if isinstance(content, Mapping) else None
    while isinstance(content, Mapping):
        tensors = {str(name): entry for name, entry in content.items() if isinstance(entry, torch.Tensor)}
        held = {name: count for name, entry in content.items() if (count := _weights(name, entry))}
        # Where tensors lie beside mappings of as many of them, they are numbers of the training.
        is_here = (
            sum(tensor.ndim > 0 for tensor in tensors.values()) > sum(held.values())
            if held
            else bool(tensors)
        )
        chosen = None if is_here else _choose([*held])
        others += [".".join([*way, str(name)]) for name in held if name != chosen]
        if is_here:
            rest = f" (not {', '.join(others)}, which --key would choose)" if others else ""
            return tensors, f"{'.'.join(way) or 'all'} of {source}{rest}"
        if chosen is None:
            names = ", ".join(".".join([*way, str(name)]) for name in held)
            problem = f"the weights {names}; choose with --key" if held else "no named tensors"
            raise ValueError(f"{source} holds {problem}{f' in {key}' if key and not held else ''}")
        way, content = [*way, str(chosen)], content[chosen]
    raise ValueError(f"{source} holds no named tensors{f' in {key}' if key else ''}")


def _weights(name: Any, entry: Any, depth: int = 0) -> int:
    """Number of named tensors of networks in an entry, if it is a mapping, at any depth."""
    import torch

    if not isinstance(entry, Mapping) or str(name).lower().startswith(OTHERS) or depth > 10:
        return 0
    here = sum(isinstance(value, torch.Tensor) and value.ndim > 0 for value in entry.values())
    return here + sum(_weights(inner, value, depth + 1) for inner, value in entry.items())


def _choose(names: list[Any]) -> Any | None:
    """Which of several mappings holds the weights; None if nothing says so."""
    averaged = [name for name in names if AVERAGED in str(name).lower().split("_")]
    among = averaged or names
    if len(among) == 1:
        return among[0]
    called = {name: re.sub(rf"_?{AVERAGED}_?", "", str(name)) if averaged else str(name) for name in among}
    return next((name for usual in USUAL for name in among if called[name] == usual), None)
