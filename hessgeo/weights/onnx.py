"""What an ONNX file says of itself: inputs, outputs, tensors inside and the files beside it that hold its weights.

Neither ``onnx`` nor its runtime is imported, and no weight is read: the file is walked through as what it is, nested
fields of a number, a kind and a value (https://protobuf.dev/programming-guides/encoding). The numbers of the fields
are those of ``onnx.proto``.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath

from hessgeo.weights.declared import Declared, NetworkFile
from hessgeo.weights.files import check_file, open_file

# Bounds on what a hostile file can make its reader do.
MOST_FIELDS = 500_000
MOST_NESTED = 16

# TensorProto.DataType: name and bits of an element.
TYPES = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16), 6: ("int32", 32),
    7: ("int64", 64), 8: ("text", 0), 9: ("bool", 8), 10: ("float16", 16), 11: ("float64", 64), 12: ("uint32", 32),
    13: ("uint64", 64), 14: ("complex64", 64), 15: ("complex128", 128), 16: ("bfloat16", 16),
}  # fmt: skip
# Operators that draw numbers of their own.
RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


def read_onnx(path: Path) -> NetworkFile:
    """Read what an ONNX file declares, and see that the files which it names are whole.

    Raises:
        ValueError: one line, if it is no ONNX file or cut short, or weights of it lie outside of its folder, in a
            file that is missing, or beyond the end of one.
    """
    found = check_file(path, "an ONNX file").stat()
    if found.st_size == 0:
        raise ValueError(f"{path} is not an ONNX file: it is empty")
    walk = _walked(path, found.st_size, found.st_mtime_ns)
    companions = {entry["location"]: _companion(path, entry) for entry in walk.external}
    given = {value.name for value in walk.outputs}
    return NetworkFile(
        path,
        "onnx",
        inputs=tuple(value for value in walk.inputs if value.name not in walk.initialisers),
        optional=tuple(value for value in walk.inputs if value.name in walk.initialisers),
        outputs=tuple(walk.outputs),
        inside={name: walk.known.get(name, Declared(name)) for name in walk.made if name not in given},
        companions=tuple(companions.values()),
        random=tuple(sorted(walk.operators & {*RANDOM})),
    )


@lru_cache(maxsize=16)
def _walked(path: Path, size: int, changed: int) -> _Walk:
    """The walk through a file, which is not repeated while the file stays as long and as old as it is."""
    walk, problem = _Walk(), ""
    with (
        open_file(path, "an ONNX file") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        try:
            walk.model(memoryview(content))
        # Said below: the frames that an error keeps hold on to the file.
        except _NotOnnx as error:
            problem = str(error)
    if problem:
        raise ValueError(f"{path} is not an ONNX file, or is cut short ({problem})")
    if not (walk.version and walk.has_opset and walk.outputs):
        raise ValueError(f"{path} is not an ONNX file, or is cut short (no version, operator set or output)")
    return walk


class _NotOnnx(Exception):
    """Bytes that are no fields of an ONNX file."""


class _Walk:
    """One walk through a file, which gathers what is asked of it."""

    def __init__(self) -> None:
        self.version, self.has_opset, self.left = 0, False, MOST_FIELDS
        self.inputs: list[Declared] = []
        self.outputs: list[Declared] = []
        self.known: dict[str, Declared] = {}
        self.made: list[str] = []
        self.initialisers: set[str] = set()
        self.operators: set[str] = set()
        self.external: list[dict[str, str]] = []

    def model(self, data: memoryview) -> None:
        """ModelProto."""
        for number, value in self.fields(data):
            if number == 1 and isinstance(value, int):
                self.version = value
            elif number == 7:
                self.graph(_bytes(value), 0)
            elif number == 8:
                self.has_opset = True
            elif number == 25:  # functions of the file's own
                for field, node in self.fields(_bytes(value)):
                    if field == 7:
                        self.node(_bytes(node), 1)

    def graph(self, data: memoryview, depth: int) -> None:
        """GraphProto; of one inside a node only what it holds."""
        for number, value in self.fields(data):
            if number == 1:
                self.node(_bytes(value), depth)
            elif number == 5:
                name = self.tensor(_bytes(value))
                if depth == 0:
                    self.initialisers.add(name)
            elif number == 15:
                self.sparse(_bytes(value))
            elif number in (11, 12) and depth == 0:
                (self.inputs if number == 11 else self.outputs).append(self.value(_bytes(value)))
            elif number == 13 and depth == 0:
                declared = self.value(_bytes(value))
                self.known[declared.name] = declared

    def node(self, data: memoryview, depth: int) -> None:
        """NodeProto."""
        if depth > MOST_NESTED:
            raise _NotOnnx(f"nested deeper than {MOST_NESTED}")
        for number, value in self.fields(data):
            if number == 2 and depth == 0:
                self.made += [name] if (name := _text(value)) else []
            elif number == 4:
                self.operators.add(_text(value))
            elif number == 5:
                for field, inner in self.fields(_bytes(value)):
                    if field in (5, 10):
                        self.tensor(_bytes(inner))
                    elif field in (6, 11):
                        self.graph(_bytes(inner), depth + 1)
                    elif field in (22, 23):
                        self.sparse(_bytes(inner))

    def sparse(self, data: memoryview) -> None:
        """SparseTensorProto: its values and its indices are tensors."""
        for number, value in self.fields(data):
            if number in (1, 2):
                self.tensor(_bytes(value))

    def tensor(self, data: memoryview) -> str:
        """TensorProto; its name."""
        name, kind, lengths, entries, is_external = "", 0, [], {}, False
        for number, value in self.fields(data):
            if number == 1:
                lengths += [value] if isinstance(value, int) else self.packed(value)
            elif number == 2 and isinstance(value, int):
                kind = value
            elif number == 8:
                name = _text(value)
            elif number == 13:
                pair = {field: _text(text) for field, text in self.fields(_bytes(value)) if field in (1, 2)}
                entries[pair.get(1, "")] = pair.get(2, "")
            elif number == 14:
                is_external = value == 1
        if is_external:
            bits = TYPES.get(kind, ("", 0))[1]
            size = {"needed": str(math.prod(lengths) * bits // 8)}
            self.external.append({"tensor": name, "location": "", **entries, **size})
        return name

    def value(self, data: memoryview) -> Declared:
        """ValueInfoProto."""
        name, kind, shape = "", "no array", None
        for number, value in self.fields(data):
            if number == 1:
                name = _text(value)
            elif number == 2:
                for field, inner in self.fields(_bytes(value)):
                    if field == 1:
                        kind, shape = self.array(_bytes(inner))
        return Declared(name, kind, shape)

    def array(self, data: memoryview) -> tuple[str, tuple[int | None, ...] | None]:
        """TypeProto.Tensor: type of an element, and shape."""
        kind, shape = "unknown type", None
        for number, value in self.fields(data):
            if number == 1 and isinstance(value, int):
                kind = TYPES.get(value, (f"type {value}", 0))[0]
            elif number == 2:
                axes = [
                    dict(self.fields(_bytes(axis)))
                    for field, axis in self.fields(_bytes(value))
                    if field == 1
                ]
                lengths = [axis.get(1) for axis in axes]
                shape = tuple(length if isinstance(length, int) else None for length in lengths)
        return kind, shape

    def packed(self, data: memoryview) -> list[int]:
        """Whole numbers one after another."""
        numbers, place = [], 0
        while place < len(data):
            number, place = _varint(data, place)
            numbers.append(number)
        return numbers

    def fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Number and value of each field of a message."""
        place = 0
        while place < len(data):
            self.left -= 1
            if self.left < 0:
                raise _NotOnnx(f"more than {MOST_FIELDS:,} fields")
            key, place = _varint(data, place)
            number, kind = key >> 3, key & 7
            if kind == 0:
                value, place = _varint(data, place)
                yield number, value
                continue
            if kind == 2:
                length, place = _varint(data, place)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise _NotOnnx(f"a field of kind {kind}")
            if length > len(data) - place:
                raise _NotOnnx(f"a field of {length} bytes where {len(data) - place} are left")
            yield number, data[place : place + length]
            place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A whole number, and where what follows it begins."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise _NotOnnx("it ends within a number")
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise _NotOnnx("a number of more than 64 bits")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _NotOnnx("a number where a message is expected")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return str(_bytes(value), "utf-8")
    except UnicodeDecodeError:
        raise _NotOnnx("a name that is no text") from None


def _companion(path: Path, entry: Mapping[str, str]) -> Path:
    """The file that holds a tensor, seen to be in the folder and to reach as far as the tensor does."""
    name, location = entry["tensor"], entry["location"]
    inner = PurePosixPath(location)
    if not inner.parts or inner.is_absolute() or ".." in inner.parts or "\0" in location:
        raise ValueError(
            f"{path} keeps {name} in {location!r}, must be a file in its own folder, named from there"
        )
    companion = path.parent / inner
    check_file(companion, f"a file of weights of {path}")
    if path.resolve().parent not in companion.resolve().parents:  # which the runtime refuses too
        raise ValueError(
            f"{path} keeps its weights in {companion}, a link out of the folder; put both files into one"
        )
    try:
        offset, needed = int(entry.get("offset") or 0), int(entry["needed"])
        length = int(entry.get("length") or needed)
    except ValueError:
        raise ValueError(f"{path} does not say where in {companion} {name} is") from None
    if offset < 0 or length < needed:
        raise ValueError(f"{path} keeps {name} in {length} bytes of {companion}, must be {needed}")
    size = companion.stat().st_size
    if offset + length > size:
        raise ValueError(f"{companion} is cut short: it has {size} bytes of {offset + length}")
    return companion
