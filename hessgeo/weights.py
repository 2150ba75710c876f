"""Weights of neural networks as files: safetensors are read, pickles are refused and can be converted.

``python -m hessgeo.weights IN OUT.safetensors`` converts a pickle without running any code in it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hessgeo.files import open_file
from hessgeo.headers import Header, read_header

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")


def refuse_pickle(path: str | Path) -> None:
    """Refuse a file of weights that is missing, or a pickle by its name or its first bytes.

    Raises:
        ValueError: one line that says why, and the command that converts it.
    """
    path = Path(path)
    with open_file(path, "a file of weights in safetensors") as file:
        start = file.read(9)
    # A pickle starts with 0x80; torch wraps it in a zip archive (PK). So may the length of a header in safetensors,
    # but there a brace comes ninth.
    is_pickle = start[:1] == b"\x80" or start[:4] == b"PK\3\4"
    if path.suffix.lower() in PICKLES or (is_pickle and start[8:] != b"{"):
        raise ValueError(
            f"{path} is a pickle, which can run code when it is read; convert it with "
            f"`python -m hessgeo.weights {path} {path.with_suffix('.safetensors')}`"
        )


def tensor_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor in a safetensors file, from its header alone.

    Raises:
        ValueError: as ``refuse_pickle`` and ``read_header``.
    """
    return tensor_header(path).shapes


def tensor_header(path: str | Path) -> Header:
    """The header of a safetensors file: type, shape and place of each tensor, and what its writer says of it.

    Raises:
        ValueError: as ``refuse_pickle`` and ``read_header``.
    """
    refuse_pickle(path)
    return read_header(path)


def convert_pickle(source: str | Path, target: str | Path) -> None:
    """Convert a pickle of tensors to safetensors; code in it is not run.

    Tensors are taken from ``state_dict`` where there is one. What is not a tensor is left out, and tensors that
    share memory are written one by one.

    Args:
        source: the pickle, as ``torch.save`` writes it.
        target: the safetensors file to write.

    Raises:
        ValueError: if the source is missing, needs code to be read or holds no tensors, or the target exists or
            does not end in ``.safetensors``.
    """
    # Imported here: shapes are read from headers wherever settings are read, which need not wait for torch.
    import pickle

    import torch
    from safetensors.torch import save_file

    source, target = Path(source), Path(target)
    if not source.is_file():
        raise ValueError(f"{source} is missing, must be a pickle of weights")
    if target.suffix != ".safetensors" or target.exists():
        raise ValueError(f"cannot write {target}: it must end in .safetensors and not exist yet")
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{source} cannot be read without running code, or is no pickle: {reason}"
        ) from error
    while isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    entries = content.items() if isinstance(content, dict) else ()
    tensors = {str(name): tensor for name, tensor in entries if isinstance(tensor, torch.Tensor)}
    if not tensors:
        raise ValueError(f"{source} holds no named tensors")
    unfinished = target.with_name(f"{target.name}.unfinished")
    separate = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(separate, unfinished, metadata={"format": "pt"})
    os.replace(unfinished, target)


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m hessgeo.weights IN OUT.safetensors``."""
    parser = argparse.ArgumentParser(prog="python -m hessgeo.weights", description=convert_pickle.__doc__)
    parser.add_argument("source", type=Path, metavar="IN")
    parser.add_argument("target", type=Path, metavar="OUT.safetensors")
    options = parser.parse_args(arguments)
    try:
        convert_pickle(options.source, options.target)
    except ValueError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
