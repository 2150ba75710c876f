"""What a network in a file declares of itself: its inputs and outputs, before anything of it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hessgeo.weights.files import check_file

FLOATS = ("float32", "float16", "float64", "bfloat16")
Read = TypeVar("Read")


def read_or_refuse(path: Path, what: str, read: Callable[[Path, int, int], Read | str]) -> Read:
    """What a reader finds in a file.

    Args:
        path: the file.
        what: what it must be, in words.
        read: the reader, of a path with size and time of change in ns, which a cache may know it by again; it returns
            in words what is wrong with the file, if anything is, so that a refusal is found once, too.

    Raises:
        ValueError: one line, if something is.
    """
    status = check_file(path, what).stat()
    found = read(path, status.st_size, status.st_mtime_ns)
    if isinstance(found, str):
        raise ValueError(f"{path} {found}")
    return found


@dataclass(frozen=True)
class Declared:
    """An input, an output or a tensor inside of a network.

    Attributes:
        name: its name.
        type: of its elements, as NumPy calls it; or what it is instead of an array; empty if the file does not say.
        shape: its lengths, None for one that is left open; None if the file says none.
    """

    name: str
    type: str = ""
    shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class NetworkFile:
    """A network in a file, of which nothing has been run.

    Attributes:
        path: the file.
        kind: ``onnx``, ``torchscript`` or ``exported``.
        inputs: those that must be given.
        optional: those that have a value of their own in the file.
        outputs: what it gives, in order; empty if the file does not say.
        inside: further tensors that it can give, by name.
        companions: the files beside it that hold weights of it.
        random: operators in it that draw noise.
    """

    path: Path
    kind: str
    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]
    optional: tuple[Declared, ...] = ()
    inside: Mapping[str, Declared] = field(default_factory=dict)
    companions: tuple[Path, ...] = ()
    random: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """Every file that the network is read from."""
        return [str(self.path), *map(str, self.companions)]

    def output(self, name: str | None, must: str) -> Declared:
        """The output of a name, or a tensor inside; the only output without one.

        Args:
            name: the name.
            must: what it gives, for the message where there are several.

        Raises:
            ValueError: one line with the names that there are.
        """
        if name is None:
            if len(self.outputs) == 1:
                return self.outputs[0]
            names = ", ".join(value.name for value in self.outputs) or "no array"
            raise ValueError(f"{self.path} gives {names}, must give {must} alone, or output must name one")
        for value in self.outputs:
            if value.name == name:
                return value
        if name in self.inside:
            return self.inside[name]
        names = ", ".join([value.name for value in self.outputs] + list(self.inside)[-20:])
        raise ValueError(f"{self.path} has no output {name!r}, must be one of {names}")


def shown_shape(shape: Sequence[int | None]) -> str:
    """A shape in a message, ``n`` for an axis that is open."""
    return f"({', '.join('n' if length is None else str(length) for length in shape)})"


def shapes_agree(shape: Sequence[int | None], declared: Sequence[int | None]) -> bool:
    """Whether two shapes can be one; an axis of None may have any length."""
    return len(shape) == len(declared) and all(
        None in (a, b) or a == b for a, b in zip(shape, declared, strict=True)
    )
