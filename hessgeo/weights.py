"""Weights of neural networks as files: safetensors are read, pickles are refused and can be converted.

``python -m hessgeo.weights IN OUT.safetensors`` converts a pickle or a TorchScript archive without running any code in
it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hessgeo.conversion import convert_pickle
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


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m hessgeo.weights IN OUT.safetensors [--key NAME]``."""
    parser = argparse.ArgumentParser(prog="python -m hessgeo.weights", description=convert_pickle.__doc__)
    parser.add_argument("source", type=Path, metavar="IN")
    parser.add_argument("target", type=Path, metavar="OUT.safetensors")
    parser.add_argument(
        "--key", metavar="NAME", help="which of several networks, such as params_ema or netG.params"
    )
    options = parser.parse_args(arguments)
    try:
        sys.stdout.write(f"{convert_pickle(options.source, options.target, key=options.key)}\n")
    except ValueError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
