"""Convert a pickle of weights: ``python -m hessgeo.weights IN OUT.safetensors``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hessgeo.weights.pickles import convert_pickle


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
