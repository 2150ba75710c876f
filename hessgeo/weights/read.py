"""Weights of neural networks as files: safetensors are read, pickles are refused and can be converted.

``python -m hessgeo.weights IN OUT.safetensors`` converts a pickle or a TorchScript archive without running any code
in it.
"""

from __future__ import annotations

from pathlib import Path

from hessgeo.weights.files import open_file
from hessgeo.weights.headers import Header, read_header

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
