"""Networks on disk: weights as ``model.safetensors``, everything else as ``config.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hessgeo.store.files import StoreError, whole
from hessgeo.store.results import read_json, write_json
from hessgeo.store.vouchers import check

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, CONFIG = "model.safetensors", "config.json"

Built = TypeVar("Built")


def write_network(folder: str | Path, weights: Mapping[str, Tensor], config: Any) -> None:
    """Write weights and configuration, each whole or not at all."""
    from safetensors.torch import save_file

    with whole(Path(folder, WEIGHTS)) as partial:
        save_file({name: value.contiguous() for name, value in weights.items()}, partial)
    write_json(Path(folder, CONFIG), config)


def read_network(folder: str | Path) -> tuple[dict[str, Tensor], Any]:
    """Read weights and configuration that ``write_network`` wrote.

    Raises:
        FileNotFoundError: if there are none.
        SafetensorError: if the weights are none.
        ValueError: if the configuration is no JSON.
        StoreError: if a file is not what its voucher says.
    """
    from safetensors.torch import load_file

    config, weights = read_json(Path(folder, CONFIG)), Path(folder, WEIGHTS)
    check(weights)
    return load_file(weights), config


def load_network(folder: str | Path, build: Callable[[dict[str, Tensor], Any], Built], *, kind: str) -> Built:
    """What is built of the weights and the configuration that ``write_network`` wrote.

    Args:
        folder: where they are.
        build: makes the network of weights and configuration; what it cannot use it refuses by a ``ValueError``, a
            ``KeyError``, a ``TypeError`` or, as torch does, a ``RuntimeError``.
        kind: what is expected, for the message.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if configuration or weights are not of that kind.
        StoreError: if a file is not what its voucher says.
    """
    from safetensors import SafetensorError

    try:
        return build(*read_network(folder))
    except StoreError:
        raise
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{folder} does not hold a {kind}: {reason}") from error
