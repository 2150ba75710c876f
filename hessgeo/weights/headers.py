"""Headers of safetensors files: what they hold, checked against the format before anything is believed.

A file is eight bytes (the length of the header, little endian), the header (JSON: name to dtype, shape and
place), and the tensors one after another without gaps. Neither torch nor safetensors is imported: this runs
whenever settings are read.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped, UInt16

from hessgeo.weights.files import open_file

LARGEST_HEADER = 16_000_000  # bytes; the largest published models need some hundred thousand
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16,
    "U16": 16, "BOOL": 8, "I8": 8, "U8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of one number of each type that the format knows."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor in a header.

    Attributes:
        dtype: one of ``BITS``.
        shape: its shape.
        start: its first byte in the file.
        stop: the byte after its last.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file.

    Attributes:
        path: the file.
        tensors: its tensors by name.
        metadata: what its writer says of it, text by text.
    """

    path: Path
    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor."""
        return {name: entry.shape for name, entry in self.tensors.items()}


def read_header(path: str | Path) -> Header:
    """The header of a safetensors file.

    Raises:
        ValueError: one line that names the file, if it is none, is cut short or goes on after its tensors, or if the
            header is too large or nested, holds a name twice, or gives a tensor an unknown type, a place that is not
            as long as its shape asks, or one that overlaps with another's.
    """
    path = Path(path)
    with open_file(path, "a safetensors file") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            raise ValueError(f"{path} is not a safetensors file, or is cut short")
        if length > LARGEST_HEADER:
            raise ValueError(f"{path} has a header of {length} bytes, must be at most {LARGEST_HEADER}")
        text = file.read(length)
    problem = f"{path} is not a safetensors file: its header"
    try:
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError:
        raise ValueError(f"{problem} is nested too deeply") from None
    except _Twice as error:
        raise ValueError(f"{problem} holds {error} twice") from None
    except ValueError as error:
        raise ValueError(f"{problem} cannot be read") from error
    if not isinstance(content, dict):
        raise ValueError(f"{problem} is no mapping")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{problem} has a __metadata__ that is no mapping of texts")
    first = 8 + length
    tensors = {name: _entry(name, entry, first, problem) for name, entry in content.items()}
    _check_places(tensors, first, size, path)
    return Header(path, tensors, metadata)


NUMBERS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "<u1", "BF16": "<u2",
}  # fmt: skip
"""Types that NumPy has too, and the bits of bfloat16."""


def read_tensor(path: str | Path, entry: TensorEntry) -> Shaped[np.ndarray, "*shape"]:
    """The numbers of a tensor in a safetensors file, of one of the types ``NUMBERS``; bfloat16 comes as float32."""
    with open_file(path) as file:
        file.seek(entry.start)
        content = file.read(entry.stop - entry.start)
    numbers = np.frombuffer(content, NUMBERS[entry.dtype]).reshape(entry.shape)
    return from_bfloat16(numbers) if entry.dtype == "BF16" else numbers


def from_bfloat16(bits: UInt16[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The numbers whose upper halves, as float32, are given."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def shown_name(name: str) -> str:
    """A name in a message of one line."""
    return repr(name if len(name) <= 100 else f"{name[:100]}...")[1:-1]


class _Twice(Exception):
    """A name stands twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise _Twice(shown_name(next(name for name, count in counts.items() if count > 1)))
    return result


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _entry(name: str, entry: Any, first: int, problem: str) -> TensorEntry:
    wrong = f"{problem} has a wrong entry {shown_name(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{wrong}, must have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"{wrong} of type {shown_name(str(dtype))}, must be one of {', '.join(BITS)}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise ValueError(f"{wrong}, whose shape and two data_offsets must be whole numbers from 0 on")
    start, stop = offsets
    if stop - start != (length := -(-prod(shape) * BITS[dtype] // 8)):
        raise ValueError(f"{wrong}, with {stop - start} bytes where its shape {shape} needs {length}")
    return TensorEntry(dtype, tuple(shape), first + start, first + stop)


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_places(tensors: Mapping[str, TensorEntry], first: int, size: int, path: Path) -> None:
    end = first
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != end:
            what = "overlaps with another" if entry.start < end else "leaves a gap before it"
            raise ValueError(f"{path} is not a safetensors file: its tensor {shown_name(name)} {what}")
        end = entry.stop
    if size < end:
        raise ValueError(f"{path} is cut short: it has {size} bytes of {end}")
    if size > end:
        raise ValueError(f"{path} is not a safetensors file: it goes on {size - end} bytes after its tensors")
