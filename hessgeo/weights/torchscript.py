"""What a TorchScript archive says of itself, and whether its code keeps to arithmetic: read, and not run.

TorchScript is no cage: its operators can write any file (``torch.save``), map one into memory (``torch.from_file``), or
load a library (``torch.classes.aoti``), and some of its code runs as soon as the archive is loaded. An archive holds
its code as text, in the syntax of Python, and every operator in it by name. So they are compared here with what
networks need, before torch sees the archive.

Not covered: faults of torch itself in reading an archive, and code that takes time or memory without bound.
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from hessgeo.weights.declared import Declared, NetworkFile, read_or_refuse
from hessgeo.weights.files import open_file
from hessgeo.weights.torch_files import DAMAGE

LARGEST_CODE = 4_000_000  # bytes of text; StyleGAN's has a tenth
LARGEST_PICKLES = 64_000_000  # bytes
# Operators of torch that reach outside.
OUTSIDE = ("save", "from_file")
# Other operators stand behind the name of their library; those of these compute.
LIBRARIES = ("prim", "quantized", "_quantized", "torchvision", "mkldnn_prepacked", "prepacked")
# Classes of C++ that hold packed weights.
CLASSES = ("quantized", "sparse", "xnnpack", "mkldnn")
ADVICE = "an ONNX file cannot; export the network to one"


def read_torchscript(path: Path) -> NetworkFile:
    """Read what an archive declares, and see that its code does no more than arithmetic.

    Raises:
        ValueError: one line that says what it does.
    """
    return read_or_refuse(path, "a TorchScript archive", _read)


@lru_cache(maxsize=16)
def _read(path: Path, size: int, changed: int) -> NetworkFile | str:
    """What an archive declares, or what is wrong with it; found once while it stays as long and as old as it is."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            code = _texts(archive, ".py", LARGEST_CODE)
            pickles = _texts(archive, ".pkl", LARGEST_PICKLES)
        trees = {name: ast.parse(text) for name, text in code.items()}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"holds code that cannot be checked before it is run ({' '.join(str(error).split())[:200]})"
    except DAMAGE as error:
        return f"is damaged ({' '.join(str(error).split())[:200]})"
    outside = [name for tree in trees.values() for name in _outside(tree)]
    for text in (*code.values(), *pickles.values()):
        for library in re.findall(rb"torch\.classes\.(\w+)", text):
            if library.decode() not in CLASSES:
                outside.append(f"torch.classes.{library.decode()}")
    if outside:
        return f"can reach outside itself: its code uses {', '.join(sorted({*outside}))}; {ADVICE}"
    forward = _forward(
        trees, next((text for name, text in pickles.items() if name.endswith("/data.pkl")), b"")
    )
    return "has no method forward" if forward is None else _signature(path, forward)


def _texts(archive: zipfile.ZipFile, suffix: str, largest: int) -> dict[str, bytes]:
    texts, left = {}, largest
    for name in archive.namelist():
        if name.endswith(suffix):
            with archive.open(name) as file:
                texts[name] = file.read(left + 1)
            left -= len(texts[name])
            if left < 0:
                raise ValueError(f"more than {largest:,} bytes")
    return texts


def _outside(tree: ast.Module) -> Iterator[str]:
    """Operators in code that do more than compute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = _chain(node)
            if node.attr in OUTSIDE:
                yield f"torch.{node.attr}"
            elif chain[:1] == ["ops"] and len(chain) == 3:
                _, library, operator = chain
                if library not in LIBRARIES or (library == "prim" and operator.startswith(("rpc", "Python"))):
                    yield ".".join(chain)
        # Which the compiler takes for the attribute.
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            names = [entry.value for entry in node.args if isinstance(entry, ast.Constant)]
            yield from (f"torch.{name}" for name in names if name in OUTSIDE)


def _chain(node: ast.expr) -> list[str]:
    """``["a", "b", "c"]`` of ``a.b.c``; empty if it begins with anything but a name, or has more than three."""
    names: list[str] = []
    while isinstance(node, ast.Attribute) and len(names) < 3:
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def _forward(trees: dict[str, ast.Module], root: bytes) -> ast.FunctionDef | None:
    """``forward`` of the class that the archive's first object has."""
    found = re.match(rb"\x80.c(__torch__[\w.]*)\n(\w+)\n", root, re.DOTALL)
    if found is None:
        return None
    module, name = (part.decode() for part in found.groups())
    place = f"/code/{module.replace('.', '/')}.py"
    for file, tree in trees.items():
        if file.endswith(place):
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                    return next((method for method in methods if method.name == "forward"), None)
    return None


def _signature(path: Path, forward: ast.FunctionDef) -> NetworkFile | str:
    """Inputs and outputs of a method; those of a tuple are called by their place, 0, 1, .."""
    inputs = [Declared(argument.arg, _type(argument.annotation)) for argument in forward.args.args[1:]]
    needed = len(inputs) - len(forward.args.defaults)
    gives = "Tensor" if forward.returns is None else ast.unparse(forward.returns)
    parts = [gives] if gives == "Tensor" else re.findall(r"\bTensor\b", gives)
    if gives != "Tensor" and not re.fullmatch(r"Tuple\[Tensor(, Tensor)*\]", gives):
        return f"gives {gives}, must give one tensor or a tuple of them"
    outputs = tuple(Declared(str(place)) for place in range(len(parts)))
    return NetworkFile(path, "torchscript", tuple(inputs[:needed]), outputs, tuple(inputs[needed:]))


def _type(annotation: ast.expr | None) -> str:
    """Type of an argument as ``Declared`` has it: empty for a tensor, whose elements the code does not say."""
    text = "Tensor" if annotation is None else ast.unparse(annotation)
    return "" if text == "Tensor" else text
