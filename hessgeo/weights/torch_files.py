"""What files of ``torch.save`` and ``torch.jit.save`` hold, read without torch and without running any code in them.

Such a file is a zip archive of a pickle and of the bytes that its tensors lie in; before torch 1.6 it was five pickles
one after another, and the bytes. The pickle is read by an unpickler that makes tensors, containers of Python and
modules without methods, and nothing else. No byte of a tensor is read before it is asked for.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import sys
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hessgeo.weights.files import open_file
from hessgeo.weights.headers import from_bfloat16

LARGEST_PICKLE = 8_000_000  # bytes; those of the largest networks have an eighth of it
MOST_ENTRIES = 1_000_000
MOST_NESTED = 50
# What a damaged archive or pickle ends in.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, struct.error, ValueError, TypeError, LookupError,
    AttributeError, ArithmeticError, AssertionError, EOFError, OSError, MemoryError, RuntimeError,
)  # fmt: skip
LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # what a file of the older layout begins with

# Names that torch gives to its types, and those of NumPy, which has no bfloat16.
TYPES = {
    "float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": "bf16", "int64": "i8", "int32": "i4",
    "int16": "i2", "int8": "i1", "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "bool": "?",
    "complex64": "c8", "complex128": "c16",
}  # fmt: skip
STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file, whose numbers have not been read.

    Attributes:
        dtype: its type, as torch calls it.
        shape: its shape.
        stride: how far each axis steps, in numbers.
        start: of its first number in its storage, in numbers.
        storage: reads the first bytes of its storage, as many as asked for.
    """

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    start: int
    storage: Callable[[int], bytes]

    def __setstate__(self, _: Any) -> None:
        raise ValueError("a tensor that is changed after it was made")

    @property
    def reach(self) -> int:
        """Bytes of its storage from the first to the last that it uses."""
        if min(self.shape, default=1) == 0:
            return 0
        last = self.start + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        return (last + 1) * _width(self.dtype)

    def read(self) -> np.ndarray:
        """Its numbers; those of bfloat16 as float32, which has all of them.

        Raises:
            ValueError: if its storage is shorter than its shape and strides ask.
        """
        content = self.storage(self.reach)
        if len(content) < self.reach:
            raise ValueError(
                f"a tensor of shape {self.shape} goes beyond the {len(content)} bytes of its storage"
            )
        stored = np.frombuffer(content, "<u2" if self.dtype == "bfloat16" else f"<{TYPES[self.dtype]}")
        steps = [stored.itemsize * step for step in self.stride]
        view = np.lib.stride_tricks.as_strided(stored[self.start :], self.shape, steps, writeable=False)
        if self.dtype == "bfloat16":
            return from_bfloat16(view)
        return np.array(view, dtype=stored.dtype.newbyteorder("="))


class Module:
    """What a TorchScript archive holds of a module, or of another object of a class in it: its attributes."""

    attributes: Any = None

    def __setstate__(self, attributes: Any) -> None:
        self.attributes = attributes


def is_torchscript(path: str | Path) -> bool:
    """Whether a file is what ``torch.jit.save`` writes: a zip archive with the code of its modules."""
    inner = {name.partition("/")[2] for name in member_names(path)}
    return "constants.pkl" in inner and any(name.startswith("code/") for name in inner)


def member_names(path: str | Path) -> list[str]:
    """Names in a zip archive; none if a file is no archive, or a damaged one."""
    with open_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return archive.namelist()
        except DAMAGE:
            return []


def read_torch_file(path: str | Path, *, largest: int = LARGEST_PICKLE) -> Any:
    """What a file holds: tensors, mappings, lists, numbers, texts and, of a TorchScript archive, modules.

    Args:
        path: the file.
        largest: most bytes of its pickle, a million of which may take a second.

    Raises:
        ValueError: one line, if it is no such file, is damaged, or holds what only code can make.
    """
    with open_file(path, "a file of torch.save") as file:
        try:
            is_zip = file.read(4) == b"PK\3\4"
            file.seek(0)
            return (_read_zip if is_zip else _read_legacy)(Path(path), file, largest)
        except _CannotError as error:
            raise ValueError(f"{path} cannot be read without running code: {error}") from None
        except DAMAGE as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ValueError(f"{path} is no file of torch.save, or damaged ({reason})") from error


def named_tensors(content: Any) -> dict[str, Tensor]:
    """Tensors in what a file holds, each named by the way to it, joined by dots; a bare one has no name.

    Raises:
        ValueError: if it is nested deeper than ``MOST_NESTED``, or holds more than ``MOST_ENTRIES``.
    """
    found = dict(_walk(content, (), [MOST_ENTRIES]))
    return {".".join(names): tensor for names, tensor in found.items()}


def _walk(content: Any, names: tuple[str, ...], left: list[int]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    left[0] -= 1
    if left[0] < 0 or len(names) > MOST_NESTED:
        raise ValueError("it is nested too deeply, or holds too much")
    if isinstance(content, Module):
        content = content.attributes
    if isinstance(content, Tensor):
        yield names, content
    elif isinstance(content, dict):
        for name, entry in content.items():
            yield from _walk(entry, (*names, str(name)), left)
    elif isinstance(content, list | tuple):
        for place, entry in enumerate(content):
            yield from _walk(entry, (*names, str(place)), left)


# --- the two layouts ---


def _read_zip(path: Path, file: BinaryIO, largest: int) -> Any:
    with zipfile.ZipFile(file) as archive:
        members = {name.partition("/")[2]: name for name in archive.namelist()}
        if "data.pkl" not in members:
            raise ValueError("an archive without data.pkl")
        if "byteorder" in members:
            with archive.open(members["byteorder"]) as inner:
                if inner.read(6) != b"little":
                    raise ValueError("its numbers are big-endian")
        with archive.open(members["data.pkl"]) as inner:
            content = inner.read(largest + 1)
        sizes = {key: archive.getinfo(name).file_size for key, name in members.items()}
    if len(content) > largest:
        raise ValueError(f"its pickle has more than {largest:,} bytes")

    def storage(key: str, size: int) -> Callable[[int], bytes]:
        member = f"data/{key}"
        if member not in sizes or sizes[member] < size:
            raise ValueError(f"{member} is missing or cut short")
        return lambda reach: _read_member(path, members[member], min(size, reach))

    return _Unpickler(io.BytesIO(content), storage).load()


def member_reader(path: Path, member: str) -> Callable[[int], bytes]:
    """What reads the first bytes of a member of an archive, as many as asked for; see ``Tensor.storage``."""
    return lambda reach: _read_member(path, member, reach)


def _read_member(path: Path, member: str, size: int) -> bytes:
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive, archive.open(member) as inner:
            content = inner.read(size)
    except DAMAGE as error:
        raise ValueError(
            f"{path} is damaged: {member} cannot be read ({' '.join(str(error).split())})"
        ) from error
    if len(content) < size:
        raise ValueError(f"{path} is damaged: {member} is cut short")
    return content


def _read_legacy(path: Path, file: BinaryIO, largest: int) -> Any:
    wanted: dict[str, int] = {}
    places: dict[str, tuple[int, int]] = {}

    def storage(key: str, size: int) -> Callable[[int], bytes]:
        wanted[key] = max(size, wanted.get(key, 0))
        return lambda reach: _read_place(path, places[key][0], min(places[key][1], reach))

    if file.read(len(LEGACY)) != LEGACY:
        raise ValueError("neither layout begins so")
    pickles = io.BytesIO(file.read(largest))
    # One reads no further than its pickle goes.
    version, system, content, keys = (_Unpickler(pickles, storage).load() for _ in range(4))
    if version != 1001 or not system.get("little_endian", True):
        raise ValueError("another version, or numbers that are big-endian")
    place = len(LEGACY) + pickles.tell()
    end = file.seek(0, io.SEEK_END)
    for key in keys:
        # Before its bytes each storage has its length, in numbers.
        places[key] = (place + 8, wanted[key])
        place += 8 + wanted[key]
    if place > end:
        raise ValueError(f"it has {end} bytes of {place}")
    return content


def _read_place(path: Path, place: int, size: int) -> bytes:
    with open_file(path) as file:
        file.seek(place)
        return file.read(size)


# --- the unpickler ---


class _CannotError(Exception):
    """What the pickle asks for is made by code."""


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined] # the one in C takes memory for any place that is named
    """Makes tensors, containers and modules; whatever else a pickle names is refused.

    Args:
        file: the pickle.
        storage: of a key and a number of bytes, what reads them.
    """

    def __init__(self, file: Any, storage: Callable[[str, int], Callable[[int], bytes]]) -> None:
        super().__init__(file, encoding="utf-8")
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name: one of a few functions of our own, or a class for this once."""
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Module", (Module,), {})
        if module == "torch" and name in TYPES:
            return name
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor"): _tensor,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_tensor_v3"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _first,
            ("torch._utils", "_rebuild_parameter_with_state"): _first,
            ("torch.jit._pickle", "restore_type_tag"): _first,
            ("torch.jit._pickle", "build_intlist"): _first,
            ("torch.jit._pickle", "build_doublelist"): _first,
            ("torch.jit._pickle", "build_boollist"): _first,
            ("torch.jit._pickle", "build_tensorlist"): _first,
            ("torch", "Size"): _first,
            ("torch", "device"): lambda *place: place,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in known:
            raise _CannotError(f"it needs {f'{module}.{name}'[:100]!r}")
        # A function of its own, for a pickle may set attributes of what it was given.
        make = known[module, name]
        return lambda *arguments: make(*arguments)

    def persistent_load(self, saved: Any) -> tuple[str, Callable[[int], bytes]]:
        """A storage: its type and what reads it."""
        kind, dtype, key, _, count = saved[:5]
        if kind != "storage" or dtype not in TYPES:
            raise _CannotError("it holds something else than tensors")
        if len(saved) > 5 and saved[5] is not None:
            raise ValueError("a storage that is part of another")
        return dtype, self.storage(key, _count(count) * _width(dtype))


def _tensor(
    storage: tuple[str, Callable[[int], bytes]], start: int, shape: Any, stride: Any, *more: Any
) -> Tensor:
    dtype, read = storage
    # The third version of the function has the type of the tensor after its gradient and its hooks.
    dtype = more[2] if len(more) > 2 and more[2] in TYPES else dtype
    lengths, steps = tuple(map(_count, shape)), tuple(map(_count, stride))
    if len(lengths) != len(steps) or math.prod(lengths) > sys.maxsize:
        raise ValueError("a tensor whose strides do not fit its shape")
    return Tensor(dtype, lengths, steps, _count(start), read)


def _width(dtype: str) -> int:
    """Bytes of a number."""
    return 2 if dtype == "bfloat16" else np.dtype(TYPES[dtype]).itemsize


def _first(content: Any, *_: Any) -> Any:
    return content


def _count(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"{number!r:.50} where a whole number is expected")
    return number
